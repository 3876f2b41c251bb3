"""The state of a random case: numbers drawn from one seed, and the model that grows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]
Shape = tuple[int, ...]
T = TypeVar("T")


class Wanted(NamedTuple):
    """A node to add: names of its inputs ("" for an omitted one), its attributes, its number of outputs."""

    inputs: Sequence[str]
    attributes: Mapping[str, Any] = MappingProxyType({})
    outputs: int = 1


class Draw:
    """A case in the making.

    Args:
        seed: the same seed gives the same case.
        op: the operator's name.
        opset: of the model; it determines the operator's schema.
    """

    def __init__(self, seed: int, op: str, opset: int) -> None:
        self.random = np.random.default_rng(seed)
        self.op, self.opset = op, opset
        self.schema = onnx.defs.get_schema(op, opset)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.feeds: dict[str, Array] = {}
        self.carried: tuple[str, int] | None = None

    def then(self, op: str, name: str, count: int) -> None:
        """Continue with another operator.

        Args:
            op: its name.
            name: the float value that feeds it.
            count: the number of elements of that value.
        """
        self.op, self.carried = op, (name, count)
        self.schema = onnx.defs.get_schema(op, self.opset)

    def mark(self) -> tuple[int, int, int]:
        """The current sizes of the model, for `back`."""
        return len(self.nodes), len(self.constants), len(self.feeds)

    def back(self, mark: tuple[int, int, int]) -> None:
        """Remove everything added since a mark."""
        nodes, constants, feeds = mark
        self.carried = None
        del self.nodes[nodes:], self.constants[constants:]
        self.feeds = dict(list(self.feeds.items())[:feeds])

    def has(self, attribute: str) -> bool:
        """Whether the operator has an attribute in this opset."""
        return attribute in self.schema.attributes

    def takes(self, count: int) -> bool:
        """Whether the operator has at least `count` inputs in this opset."""
        return len(self.schema.inputs) >= count

    def some(self, **attributes: Any) -> dict[str, Any]:
        """Pick from the given attributes those that the operator has, each with an even chance."""
        return {k: v for k, v in attributes.items() if self.has(k) and v is not None and self.chance(0.5)}

    def chance(self, share: float) -> bool:
        """True with probability `share`."""
        return bool(self.random.random() < share)

    def one(self, *choices: T) -> T:
        """One of the choices at random."""
        return choices[int(self.random.integers(len(choices)))]

    def number(self, low: int, high: int) -> int:
        """A random integer from `low` to `high`, both included."""
        return int(self.random.integers(low, high + 1))

    def shape(self, low: int = 1, high: int = 4) -> Shape:
        """Random sizes from 1 to 5 of `low` to `high` axes."""
        return tuple(self.number(1, 5) for _ in range(self.number(low, high)))

    def floats(self, *shape: int) -> Array:
        """Normally distributed FP32 numbers of a shape."""
        return self.random.standard_normal(shape).astype(np.float32)

    def data(self, array: Array) -> str:
        """Add a model input with these values, or once the carried value in this shape; returns the name."""
        if self.carried is not None and array.dtype == np.float32 and array.size:
            return self._brought(*self.carried, array.shape)
        name = f"x{len(self.feeds)}"
        self.feeds[name] = array
        return name

    def _brought(self, name: str, count: int, shape: Shape) -> str:
        """Reshape a value of `count` elements to `shape`, repeating or cutting it; returns the new name."""
        self.carried = None
        wanted = int(np.prod(shape, dtype=np.int64))
        flat = self.put("Reshape", [name, self.ints(-1)], {})
        if count < wanted:
            flat = self.put("Tile", [flat, self.ints(-(-wanted // count))], {})
        if count != wanted:
            places = self.constant(np.arange(wanted, dtype=np.int64))
            flat = self.put("Gather", [flat, places], {})
        return self.put("Reshape", [flat, self.ints(*shape)], {})

    def put(self, op: str, inputs: Sequence[str], attributes: Mapping[str, Any]) -> str:
        """Add a node in front of the operator; returns the name of its output."""
        output = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, array: Any) -> str:
        """Add a constant, as an initializer or by a Constant node; returns its name."""
        name = f"c{len(self.constants) + len(self.nodes)}"
        tensor = numpy_helper.from_array(np.asarray(array), name)
        if self.chance(0.3):
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.constants.append(tensor)
        return name

    def either(self, array: Array) -> str:
        """Add the values as a constant or as a model input; returns the name."""
        return self.constant(array) if self.chance(0.6) else self.data(array)

    def ints(self, *values: int) -> str:
        """Add a constant of int64 numbers; returns its name."""
        return self.constant(np.array(values, np.int64))

    def axis(self, rank: int) -> int:
        """A random axis. From opset 11 on it may be negative; earlier schemas forbid that."""
        return self.number(-rank if self.opset >= 11 else 0, rank - 1)

    def axes(self, rank: int) -> list[int]:
        """Random axes, each once, at least one; negative ones from opset 11 on."""
        chosen = [axis for axis in range(rank) if self.chance(0.5)] or [self.number(0, rank - 1)]
        return [axis - rank if self.opset >= 11 and self.chance(0.3) else axis for axis in chosen]
