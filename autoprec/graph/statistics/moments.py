"""Second moments of what weighted ops multiply: how errors of weights turn into errors of outputs.

For an output w x, an error e of the weights costs e E[x x^T] e^T: all that learned rounding needs of the
data, in memory that does not grow with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from autoprec import kept
from autoprec.graph.ops.matrices import is_weighted, matrices

Array = NDArray[np.float32]

_KIND = "moments 1"
_POSITIONS = 256
"""Positions taken from each sample, evenly spread."""
_THREADS = 1
"""Of BLAS, for each node: nodes are worked on in parallel. By default it takes every core, and its threads
spin beside the engine's: 7 s on 13 of 16 cores for products that cost 3 s of one (ViT-S, 16 samples)."""
_BYTES = 1 << 30
"""All matrices together may be so large; ops beyond that are rounded to nearest."""


class Moments(NamedTuple):
    """Moments of one op's input rows x, whose k numbers are in the order of `matrices` (inputs, then taps).

    Attributes:
        second: mean of x x^T, float32 [groups, k, k].
        mean: mean of x, float32 [groups, k].
    """

    second: Array
    mean: Array


class MomentSums:
    """Adds up the moments of some nodes, sample by sample."""

    def __init__(self, nodes: Iterable[ir.Node]) -> None:
        self._nodes, left = [], _BYTES
        for node in nodes:
            size = _size(node)
            # In graph order, and a large op does not keep smaller ones behind it from fitting.
            if size is not None and 4 * size <= left:
                left -= 4 * size
                self._nodes.append(node)
        self._blas, self.samples = ThreadpoolController(), 0
        self._second: dict[str, Array] = {}
        self._mean: dict[str, Array] = {}
        self._rows: dict[str, int] = {}

    @property
    def inputs(self) -> frozenset[str]:
        """Names of the values to observe."""
        return frozenset(str(value.name) for node in self._nodes if (value := node.inputs[0]) is not None)

    def observe(
        self,
        values: Mapping[str, NDArray[Any]],
        each: Callable[[Callable[[ir.Node], None], Iterable[ir.Node]], Iterable[None]] = map,
    ) -> None:
        """Add one sample: the values of `inputs` by name; `each` may work on several nodes in parallel."""
        self.samples += 1
        with self._blas.limit(limits=_THREADS, user_api="blas"):
            for _ in each(partial(self._add, values), self._nodes):
                pass  # raises what adding raised

    def _add(self, values: Mapping[str, NDArray[Any]], node: ir.Node) -> None:
        assert node.inputs[0] is not None
        rows = _rows(node, values[str(node.inputs[0].name)])
        name = str(node.name)
        second, mean = np.matmul(rows.transpose(0, 2, 1), rows), rows.sum(axis=1)
        if name in self._second:
            self._second[name] += second
            self._mean[name] += mean
        else:
            self._second[name], self._mean[name] = second, mean
        self._rows[name] = self._rows.get(name, 0) + rows.shape[1]

    def result(self) -> dict[str, Moments]:
        """The means of all rows seen so far, by node name."""
        names = (str(node.name) for node in self._nodes if str(node.name) in self._rows)
        return {
            name: Moments(
                self._second[name] / np.float32(self._rows[name]),
                self._mean[name] / np.float32(self._rows[name]),
            )
            for name in names
        }


def save_moments(moments: Mapping[str, Moments], path: Path, of: str = "") -> None:
    """Write moments as a kept file of plain arrays; `of` is what they were made from. Raises OSError."""
    arrays: dict[str, Any] = {"names": np.array(list(moments), dtype=str)}
    for number, moment in enumerate(moments.values()):
        arrays |= {f"second{number}": moment.second, f"mean{number}": moment.mean}
    kept.keep(path, _KIND, of, lambda stream: np.savez(stream, **arrays))


def load_moments(
    path: Path, of: str = "", say: Callable[[str], None] = lambda _: None
) -> dict[str, Moments] | None:
    """The moments that `save_moments` wrote for the same `of`; None and `say` as in `Histograms.load`."""
    return kept.load(path, _KIND, of, _read, say)


def _read(stream: IO[bytes]) -> dict[str, Moments]:
    with np.load(stream, allow_pickle=False) as file:
        return {
            name: Moments(file[f"second{number}"], file[f"mean{number}"])
            for number, name in enumerate(file["names"].tolist())
        }


def _size(node: ir.Node) -> int | None:
    """Numbers in an op's second moments; None for an op whose rows are not read here."""
    if not is_weighted(node) or node.op_type == "ConvTranspose":
        return None
    padding = node.attributes.get("auto_pad")
    # `_rows` pads by the attribute alone; SAME_UPPER and the like would need the arithmetic of each side.
    if padding is not None and padding.as_string() not in ("NOTSET", ""):
        return None
    assert node.inputs[1] is not None
    assert node.inputs[1].const_value is not None
    form = matrices(node, node.inputs[1].const_value.numpy())
    return int(form.shape[0] * (form.shape[2] * form.shape[3]) ** 2)


def _rows(node: ir.Node, array: NDArray[Any]) -> Array:
    """Rows that an op multiplies, at evenly spread places: [groups, places, k]."""
    if node.op_type != "Conv":
        rows = array.reshape(-1, array.shape[-1])
        return np.ascontiguousarray(rows[:: max(1, len(rows) // _POSITIONS)], np.float32)[None]
    rank = array.ndim - 2
    weight = node.inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    kernel = weight.const_value.shape.numpy()[2:]
    strides = node.attributes.get_ints("strides", [1] * rank)
    dilations = node.attributes.get_ints("dilations", [1] * rank)
    pads = node.attributes.get_ints("pads", [0] * (2 * rank))
    padded = np.pad(array, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    # Views all the way to `picked`: unfolding a whole image would copy it once for each tap of the kernel.
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, tuple(range(2, 2 + rank)))
    steps = (slice(None), slice(None), *(slice(None, None, s) for s in strides))
    everything: tuple[Any, ...] = (*steps, *(slice(None, None, d) for d in dilations))
    windows = windows[everything]
    groups, places = node.attributes.get_int("group", 1), windows.shape[2 : 2 + rank]
    total = int(np.prod(places))
    picked = np.unravel_index(np.arange(0, total, max(1, total // _POSITIONS)), places)
    places_of: tuple[Any, ...] = (slice(None), slice(None), *picked)
    taken = np.moveaxis(windows[places_of], 2, 1)
    taken = taken.reshape(-1, groups, int(np.prod(taken.shape[2:])) // groups)
    return np.ascontiguousarray(taken.transpose(1, 0, 2), np.float32)
