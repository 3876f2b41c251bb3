"""Calibration: one pass over the samples, in bounded memory, that serves every trial and every method."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import psutil
from numpy.typing import NDArray

from autoprec.backends import Arrays, Builder, Engine, run
from autoprec.errors import SamplesError
from autoprec.graph.grids.given import given
from autoprec.graph.model.files import remove_model, write_model
from autoprec.graph.ops.costs import COSTLY_OPS
from autoprec.graph.ops.matrices import activation_axis, is_weighted
from autoprec.graph.ops.placement import quantized_inputs
from autoprec.graph.ops.scores import MASKED
from autoprec.graph.statistics.instruments import LARGEST, PLACES, STEP, observing, sampling, views
from autoprec.graph.statistics.moments import Moments, MomentSums
from autoprec.graph.statistics.ranges import Histograms
from autoprec.samples import behind

WHOLE_SAMPLES = 128
"""Samples observed whole; later ones are observed at a few positions, which costs next to nothing."""
MOMENT_SAMPLES = 32
"""Samples that learned rounding and corrected biases use."""
_THREADS_OF_A_SAMPLE = 2
"""More hardly compute one sample sooner: a ViT-S took 0.7 s with 2 threads as with 8."""
_MOST_AT_ONCE = 4
"""Samples in parallel: counting their values takes a quarter of the time of computing one."""
Each = Callable[[Callable[..., None], Iterable[Any]], Iterable[None]]
"""Does the same with every item, as `map` does."""


def calibrate(
    model: ir.Model,
    backend: Builder,
    feeds: Iterable[Arrays],
    scratch: Path,
    progress: Callable[[Histograms], None] = lambda _: None,
    earlier: Histograms | None = None,
    also: Callable[[Arrays, Each], None] = lambda *_: None,
    at_once: int = 1,
) -> Histograms:
    """Histograms of every activation that may be quantised, and the largest magnitude of every float value.

    Args:
        model: the float model, loaded.
        backend: runs it in FP32.
        feeds: model inputs by name, one sample at a time; memory does not grow with their number.
        scratch: where the instrumented model is written, and removed.
        progress: called after each sample with what there is so far, while nothing is added to it.
        earlier: what an interrupted calibration left; `feeds` continue behind its samples.
        also: receives each sample's values, which hold all that is `quantizable`, of the first
            `WHOLE_SAMPLES`, and what works on several of them in parallel.
        at_once: samples that are run in parallel; they are counted in their order all the same.

    Raises `SamplesError` without samples or for values that are not finite where they are multiplied or are
    the model's outputs; `TrialError` if the engine fails.
    """
    observed, channels, multiplied = quantizable(model), channel_axes(model), _multiplied(model)
    # One iterator for both loops below: the second continues where the first stopped.
    histograms, left = earlier or Histograms(), iter(feeds)
    with _threads() as each:
        observe = partial(_observe_all, histograms, observed, channels, multiplied, each)
        derived = views(model, observed)

        def observe_whole(values: Arrays) -> None:
            observe(values)
            for name, source in derived.items():
                histograms.observe_largest(name, histograms.largest[source])
            also(values, each)

        whole = islice(left, max(0, WHOLE_SAMPLES - histograms.samples))
        with _results(backend, observing(model, observed), scratch, whole, at_once) as results:
            for _ in behind(({**feed, **outputs} for feed, outputs in results), observe_whole):
                progress(histograms)
        if histograms.samples >= WHOLE_SAMPLES:
            # Copying every activation out costs more than computing them: of further samples a few places do.
            few = sampling(model, {name: channels.get(name, 1) for name in observed})
            with _results(backend, few, scratch, left, at_once) as results:
                for _ in behind((outputs for _, outputs in results), observe):
                    progress(histograms)
    if not histograms.samples:
        raise SamplesError("samples.calibration is empty; put some images there")
    return histograms


def measure_moments(
    model: ir.Model, backend: Builder, feeds: Iterable[Arrays], scratch: Path
) -> dict[str, Moments]:
    """Second moments of what each weighted op multiplies, by node name; arguments as in `calibrate`.

    A few dozen samples do: each gives hundreds of rows.

    Args:
        model: in FP32; it is not changed.
        backend: builds and runs the instrumented model.
        feeds: inputs by name, one mapping for each sample.
        scratch: where the instrumented model is written for a moment.
    """
    sums = MomentSums(model.graph)
    copy = model.clone()
    values = [v for node in copy.graph for v in node.outputs if v.name in sums.inputs]
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(values)
    with _engines(backend, copy, scratch) as (engine,), _threads() as each:
        for feed in islice(feeds, MOMENT_SAMPLES):
            # With the feed: a weighted op may read an input of the model itself.
            sums.observe({**feed, **run(engine, feed)}, each)
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


@contextmanager
def _threads() -> Iterator[Each]:
    """A `map` over some of the processors: counting one sample's values takes longer than computing them."""
    with ThreadPoolExecutor(max(2, len(os.sched_getaffinity(0)) // 4), "statistics") as pool:
        yield pool.map


def samples_at_once(model: ir.Model, threads: int) -> int:
    """How many samples of a model the processors had best run in parallel: few enough for free memory.

    Args:
        model: loaded.
        threads: that there are for all of them.
    """
    observed = quantizable(model)
    shapes = [v.shape for node in model.graph for v in node.outputs if v.name in observed]
    sizes = [[size for size in shape if isinstance(size, int)] for shape in shapes if shape is not None]
    held = sum(map(math.prod, sizes)) * np.dtype(np.float32).itemsize
    # An engine has a sample's values, others wait or are counted: a quarter of what is free is for them all.
    room = psutil.virtual_memory().available // (4 * 3 * max(1, held))
    return int(max(1, min(_MOST_AT_ONCE, threads // _THREADS_OF_A_SAMPLE, room)))


@contextmanager
def _engines(builder: Builder, model: ir.Model, scratch: Path, count: int = 1) -> Iterator[list[Engine]]:
    """Engines of a model that is written for them alone."""
    with ExitStack() as stack:
        try:
            write_model(model, scratch)
            if count == 1:
                engines = [stack.enter_context(builder.build(scratch))]
            else:
                with ThreadPoolExecutor(count, "calibration") as pool:
                    engines = [*map(stack.enter_context, pool.map(builder.build, [scratch] * count))]
            remove_model(scratch)
            yield engines
        finally:
            remove_model(scratch)


@contextmanager
def _results(
    builder: Builder, model: ir.Model, scratch: Path, feeds: Iterable[Arrays], at_once: int
) -> Iterator[Iterator[tuple[Arrays, Arrays]]]:
    """Each of `feeds` with a model's outputs, in order, as `at_once` engines of it compute them."""
    # Closed before the engines are: whoever stops at an error leaves some of them running.
    with _engines(builder, model, scratch, at_once) as engines, closing(_in_order(engines, feeds)) as results:
        yield results


def _in_order(engines: Sequence[Engine], feeds: Iterable[Arrays]) -> Generator[tuple[Arrays, Arrays]]:
    """Each of `feeds` with its outputs, in order; every engine runs one at a time."""
    if len(engines) == 1:
        yield from ((feed, run(engines[0], feed)) for feed in feeds)
        return
    waiting: deque[tuple[Arrays, Engine, Future[Arrays]]] = deque()
    with ThreadPoolExecutor(len(engines), "calibration") as pool:
        free = deque(engines)
        for feed in feeds:
            done = []
            if not free:
                earlier, engine, future = waiting.popleft()
                done.append((earlier, future.result()))
                free.append(engine)
            engine = free.popleft()
            waiting.append((feed, engine, pool.submit(run, engine, feed)))
            yield from done
        for earlier, _, future in waiting:
            yield earlier, future.result()


def _multiplied(model: ir.Model) -> frozenset[str]:
    """Names of the activations that a product or a convolution reads: not those that are only added."""
    return frozenset(
        str(value.name)
        for node in model.graph
        if node.op_type in COSTLY_OPS
        for value in node.inputs[:3]  # what comes behind is a mask of attention
        if value is not None and value.const_value is None
    )


def _observe_all(
    histograms: Histograms,
    observed: Container[str],
    channels: Mapping[str, int],
    multiplied: Container[str],
    each: Each,
    values: Arrays,
) -> None:
    """Add one sample's values, whole or at a few places, several values in parallel."""
    whole: list[tuple[str, NDArray[Any], int]] = []
    for name, array in values.items():
        if name.startswith(LARGEST):
            histograms.observe_largest(name.removeprefix(LARGEST), float(array))
        elif name.startswith(PLACES):
            # Each place stands for as many as were skipped, so samples
            # seen whole and in places weigh the same.
            whole.append((name.removeprefix(PLACES), array, STEP ** max(0, array.ndim - 2)))
        elif name in observed:
            whole.append((name, array, 1))
    for name, _, _ in whole:  # here, so that their order in a file is no accident
        histograms.expect(name)

    def observe(one: tuple[str, NDArray[Any], int]) -> None:
        name, array, weight = one
        # A value that is added and never multiplied may be a mask of
        # minus infinity: its range would mean nothing.
        if name not in multiplied and not (np.abs(array) < MASKED).all():
            histograms.leave_out(name)
            return
        histograms.observe(name, array, weight)
        if name in channels:
            histograms.observe_channels(name, array, channels[name])

    for _ in each(observe, whole):
        pass  # raises what observing raised
    histograms.samples += 1
