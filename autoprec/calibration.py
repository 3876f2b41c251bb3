"""Calibration: one pass over the samples, in bounded memory, that serves every trial and every method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from autoprec.backends import Arrays, Backend, run
from autoprec.errors import SamplesError
from autoprec.graph.files import write_model
from autoprec.graph.incoming import given
from autoprec.graph.matrices import activation_axis, is_weighted
from autoprec.graph.moments import Moments, MomentSums
from autoprec.graph.placement import quantized_inputs
from autoprec.graph.ranges import Histograms
from autoprec.precisions import PRECISIONS
from autoprec.records import Block

_LARGEST = "autoprec/largest/"
MOMENT_SAMPLES = 32
"""So many samples serve learned rounding and corrected biases."""


def calibrate(
    model: ir.Model,
    backend: Backend,
    feeds: Iterable[Arrays],
    scratch: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> Histograms:
    """Histograms of every activation that may be quantised, and the largest magnitude of every float value.

    Args:
        model: the float model, loaded.
        backend: runs it in FP32.
        feeds: model inputs by name, one sample at a time; memory does not grow with their number.
        scratch: where the instrumented model is written, and removed.
        progress: called with the number of samples so far.

    Raises `SamplesError` without samples or for values that are not finite, `TrialError` if the engine fails.
    """
    observed, channels = quantizable(model), channel_axes(model)
    instrumented = _instrumented(model, observed)
    histograms, count = Histograms(), 0
    try:
        write_model(instrumented, scratch)
        with backend.build(scratch) as engine:
            for count, feed in enumerate(feeds, 1):
                for name, array in run(engine, feed).items():
                    if name.startswith(_LARGEST):
                        histograms.observe_largest(name.removeprefix(_LARGEST), float(array))
                    elif name in observed:
                        _observe(histograms, name, array, channels)
                for name in observed & feed.keys():
                    _observe(histograms, name, feed[name], channels)
                progress(count)
    finally:
        scratch.unlink(missing_ok=True)
    if not count:
        raise SamplesError("samples.calibration is empty; put some images there")
    return histograms


def measure_moments(
    model: ir.Model, backend: Backend, feeds: Iterable[Arrays], scratch: Path
) -> dict[str, Moments]:
    """Second moments of what each weighted op multiplies, by node name; arguments as in `calibrate`.

    A few dozen samples do: each gives hundreds of rows.
    """
    sums = MomentSums(model.graph)
    copy = model.clone()
    values = [v for node in copy.graph for v in node.outputs if v.name in sums.inputs]
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(values)
    try:
        write_model(copy, scratch)
        with backend.build(scratch) as engine:
            for feed in islice(feeds, MOMENT_SAMPLES):
                sums.observe({**feed, **run(engine, feed)})
    finally:
        scratch.unlink(missing_ok=True)
    return sums.result()


def quantizable(model: ir.Model) -> frozenset[str]:
    """Names of the activations that some quantised precision would put behind Q/DQ of our own."""
    ranges = {str(value.name): 1.0 for node in model.graph for value in node.inputs if value is not None}
    return frozenset(
        str(value.name)
        for node in model.graph
        if not given(node)
        for place in quantized_inputs(node, ranges)
        if (value := node.inputs[place]) is not None and value.const_value is None
    )


def channel_axes(model: ir.Model) -> dict[str, int]:
    """The axis that holds channels of each activation that constant weights multiply."""
    return {
        str(node.inputs[0].name): activation_axis(node)
        for node in model.graph
        if is_weighted(node) and node.inputs[0] is not None
    }


def _observe(histograms: Histograms, name: str, array: NDArray[Any], channels: Mapping[str, int]) -> None:
    histograms.observe(name, array)
    if name in channels:
        histograms.observe_channels(name, array, channels[name])


def overflowing(histograms: Histograms, blocks: Sequence[Block], model: ir.Model) -> dict[str, str]:
    """Block name to the reason, for blocks that make values above FP16's largest."""
    limit = PRECISIONS["fp16"].largest
    values = {str(node.name): [str(v.name) for v in node.outputs] for node in model.graph}
    found = {}
    for block in blocks:
        made = (name for node in block.nodes for name in values[node])
        largest = max((histograms.largest.get(name, 0.0) for name in made), default=0.0)
        if largest > limit:
            found[block.name] = f"its values reach {largest:.3g}, above FP16's {limit:.0f}"
    return found


def _instrumented(model: ir.Model, observed: frozenset[str]) -> ir.Model:
    """A copy whose outputs are the observed activations and, for all others, the largest magnitude alone."""
    copy = model.clone()
    graph = copy.graph
    made = [v for node in list(graph) for v in node.outputs if v.dtype == ir.DataType.FLOAT]
    outputs = [value for value in made if value.name in observed]
    for value in made:
        if value.name in observed:
            continue
        name = f"{_LARGEST}{value.name}"
        magnitude = ir.Value(name=f"{name}/abs", type=ir.TensorType(ir.DataType.FLOAT), shape=value.shape)
        largest = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([]))
        graph.append(ir.Node("", "Abs", [value], outputs=[magnitude], name=f"{name}/Abs"))
        keep = [ir.AttrInt64("keepdims", 0)]
        graph.append(ir.Node("", "ReduceMax", [magnitude], keep, outputs=[largest], name=f"{name}/ReduceMax"))
        outputs.append(largest)
    graph.outputs.clear()
    graph.outputs.extend(outputs)
    return copy
