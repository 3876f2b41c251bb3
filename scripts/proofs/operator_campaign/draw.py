"""What a random case is drawn with: numbers from one seed, and the model that grows by them."""

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
    """One node: names of its inputs ("" for none), its attributes, how many outputs it has."""

    inputs: Sequence[str]
    attributes: Mapping[str, Any] = MappingProxyType({})
    outputs: int = 1


class Draw:
    """One case in the making.

    Args:
        seed: draws the same case again.
        op: the operator's name.
        opset: of the model; the schema is what the operator is in it.
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
        """Go on with another operator, to be fed by a float value of so many numbers."""
        self.op, self.carried = op, (name, count)
        self.schema = onnx.defs.get_schema(op, self.opset)

    def mark(self) -> tuple[int, int, int]:
        """How much there is by now, for `back`."""
        return len(self.nodes), len(self.constants), len(self.feeds)

    def back(self, mark: tuple[int, int, int]) -> None:
        """Take away what came since a mark."""
        nodes, constants, feeds = mark
        self.carried = None
        del self.nodes[nodes:], self.constants[constants:]
        self.feeds = dict(list(self.feeds.items())[:feeds])

    def has(self, attribute: str) -> bool:
        """Whether the operator has an attribute in this opset."""
        return attribute in self.schema.attributes

    def takes(self, count: int) -> bool:
        """Whether the operator has so many inputs in this opset."""
        return len(self.schema.inputs) >= count

    def some(self, **attributes: Any) -> dict[str, Any]:
        """Those of these attributes that the operator has, each with an even chance."""
        return {k: v for k, v in attributes.items() if self.has(k) and v is not None and self.chance(0.5)}

    def chance(self, share: float) -> bool:
        """True so often."""
        return bool(self.random.random() < share)

    def one(self, *choices: T) -> T:
        """One of these."""
        return choices[int(self.random.integers(len(choices)))]

    def number(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        return int(self.random.integers(low, high + 1))

    def shape(self, low: int = 1, high: int = 4) -> Shape:
        """Sizes of so many axes."""
        return tuple(self.number(1, 5) for _ in range(self.number(low, high)))

    def floats(self, *shape: int) -> Array:
        """Numbers around 0."""
        return self.random.standard_normal(shape).astype(np.float32)

    def data(self, array: Array) -> str:
        """An input of the model, or once what is carried, brought to this shape."""
        if self.carried is not None and array.dtype == np.float32 and array.size:
            return self._brought(*self.carried, array.shape)
        name = f"x{len(self.feeds)}"
        self.feeds[name] = array
        return name

    def _brought(self, name: str, count: int, shape: Shape) -> str:
        """A value as another shape: repeated and cut to as many numbers."""
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
        """A node in front of the operator; returns the name of what it makes."""
        output = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, array: Any) -> str:
        """An initializer, or what a Constant node gives."""
        name = f"c{len(self.constants) + len(self.nodes)}"
        tensor = numpy_helper.from_array(np.asarray(array), name)
        if self.chance(0.3):
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.constants.append(tensor)
        return name

    def either(self, array: Array) -> str:
        """A constant or an input of the model."""
        return self.constant(array) if self.chance(0.6) else self.data(array)

    def ints(self, *values: int) -> str:
        """A constant of whole numbers."""
        return self.constant(np.array(values, np.int64))

    def axis(self, rank: int) -> int:
        """An axis, counted from the front or, where the schema allows it, from the end."""
        return self.number(-rank if self.opset >= 11 else 0, rank - 1)

    def axes(self, rank: int) -> list[int]:
        """Some axes, each once."""
        chosen = [axis for axis in range(rank) if self.chance(0.5)] or [self.number(0, rank - 1)]
        return [axis - rank if self.opset >= 11 and self.chance(0.3) else axis for axis in chosen]
