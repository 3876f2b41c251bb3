"""Models of thousands of nodes are grouped in a time that grows no faster than they do."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import pytest

from autoprec.graph.blocks.segments import by_structure


@pytest.mark.parametrize("costly", [lambda i: True, lambda i: i == 1999, lambda i: False])
def test_costs_are_looked_up_a_few_times_for_each_node_however_many_there_are(
    costly: Callable[[int], bool],
) -> None:
    class Counting(dict[ir.Node, int]):
        count = 0

        def __getitem__(self, node: ir.Node) -> int:
            self.count += 1
            return super().__getitem__(node)

    nodes, value = [], ir.Value(name="x")
    for _ in range(2000):
        nodes.append(ir.Node("", "Relu", [value]))
        value = nodes[-1].outputs[0]
    costs = Counting({node: int(costly(number)) for number, node in enumerate(nodes)})
    assert 1 <= len(set(by_structure(nodes, costs).values())) <= 24
    assert costs.count < 20 * len(nodes)
