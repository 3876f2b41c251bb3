"""The worker's side of judging a step against the original model.

The given file runs exactly (see `backends/exact.py`) on a few samples, once; each step then runs on the same
ones. What rounding alone explains is found by rounding: the given model on inputs that are off by as little
as an engine's own arithmetic is, and the exact run of a file in low precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from autoprec.backends import Arrays, Builder, run
from autoprec.backends.exact import Deviation, Exact, deviation
from autoprec.backends.timing import Deadline
from autoprec.errors import SamplesError, TrialError
from autoprec.graph.model.unrounded import float_types, write_unrounded
from autoprec.measurement.fidelity.departing import first_departing
from autoprec.measurement.fidelity.nudges import LEVELS, ROUNDING, nudged
from autoprec.measurement.fidelity.raising import write_raised
from autoprec.measurement.messages import Compare, Original
from autoprec.measurement.pipeline import Pipeline
from autoprec.measurement.reaching import reach
from autoprec.quality import create_metric
from autoprec.records import UNLIKE, Departure, Step
from autoprec.samples import Sample, load_samples

_SECONDS = 10.0
"""No further sample is begun after this many seconds: one of a slow model says enough."""
_PLAIN, _TF32 = 1e-6, 5e-4
"""How far off the inputs are that show what rounding does: FP32 sums in another order, and TF32, which GPUs
compute FP32 products in."""
_AMPLIFIED = 10.0
"""A difference up to this multiple of what rounded inputs cause is explained by rounding everywhere."""
_EXACTLY = 3.0
"""A difference up to this multiple of an exact run's loss in the same low precision is that precision's."""
_COARSE = {ir.DataType.FLOAT16: 0.02, ir.DataType.BFLOAT16: 0.05}
"""The error that the rounding of a file in these is; it is raised to FP32 when it is loaded."""
_EXACT: dict[Step, str] = {
    "loading": "autoprec's loading",
    "given": "autoprec's writing of the pairs that it came with",
}
"""Steps that run exactly, without the engine, and who is to blame for them."""
_WRITTEN = "written.onnx"
_CLIPPED = 0.05
"""The error of a float model behind Q/DQ pairs that is no other function: half a step where pairs clip."""
Logits = NDArray[np.float32]


@dataclass
class _Ran:
    """The outputs of a model by sample, in its own order, and the mask logits; None where there are none."""

    values: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    logits: list[Logits] = field(default_factory=list)
    implementation: str = ""


class Judge:
    """The original model, on a few samples; `compare` runs a step on the same ones.

    Raises `TrialError` where nothing independent runs it, `UserError` for samples that cannot be read.
    """

    def __init__(self, original: Original, say: Callable[[str], None] = lambda _: None) -> None:
        self.original = original
        every = load_samples(original.samples, "evaluation", original.shapes)
        count = min(original.count, len(every))
        self._samples = [every[number * len(every) // count] for number in range(count)]
        self._folder = Path(original.folder)
        self._write = partial(write_raised, rounds=True) if original.keeps_rounding else write_unrounded
        self._is_written = self._write(Path(original.path), self._folder / _WRITTEN)
        self._floats = float_types(Path(original.path))
        self._backend = reach(original.backend, say)
        self._given = self._run(Exact(), self._path, self._samples)
        # Those that were not reached in time: steps run on the same ones.
        del self._samples[len(self._given.values) :]

    def compare(self, request: Compare) -> Departure:
        """How far a step departs from the original model. Raises `TrialError` where it cannot be run."""
        path = Path(request.path)
        builder: Builder = Exact() if request.step in _EXACT else self._backend
        ran = self._run(builder, path, self._samples)
        worst, tolerance = self._worst(ran), request.tolerance
        is_clipped = self._is_written and not self.original.keeps_rounding
        rounded = [_COARSE[kind] for kind in self._floats if kind in _COARSE]
        tolerance = max([tolerance, *rounded, *([_CLIPPED] if is_clipped else [])])
        if worst.error > tolerance:
            tolerance = max(tolerance, self._explained(request))
        departure = Departure(
            step=request.step,
            error=min(worst.error, UNLIKE),
            value=worst.value,
            tolerance=tolerance,
            loss=self._loss(ran),
            samples=len(self._given.values),
            implementation=self._given.implementation,
        )
        return self._blamed(departure, path) if departure.is_beyond else departure

    @property
    def _path(self) -> Path:
        """The original model, without the rounding of its pairs, or of FP16 around them; the folder may have
        been cleared in between."""
        given, written = Path(self.original.path), self._folder / _WRITTEN
        if not self._is_written:
            return given
        if not written.is_file():
            self._write(given, written)
        return written

    def _run(self, builder: Builder, path: Path, samples: Sequence[Sample]) -> _Ran:
        """Run a model, and the decoder behind it, on samples."""
        ran, pipeline = _Ran(), Pipeline.of(builder, self.original)
        deadline = Deadline(_SECONDS)
        with builder.build(path) as engine:
            for sample in samples:
                values = run(engine, sample.inputs)
                ran.values.append(values)
                ran.logits.append(pipeline.masks(values, sample))
                if deadline.is_over:
                    break
            ran.implementation = getattr(engine, "implementation", "")
        return ran

    def _worst(self, ran: _Ran) -> Deviation:
        """The worst of outputs and masks over the samples that were run."""
        given = self._given
        # Time may have cut either run short; both began with the same samples.
        outputs = zip(ran.values, given.values, strict=False)
        masks = zip(ran.logits, given.logits, strict=False)
        deviations = [deviation(_renamed(ours, theirs), theirs) for ours, theirs in outputs]
        deviations += [deviation({self._output: ours}, {self._output: theirs}) for ours, theirs in masks]
        return max(deviations, key=lambda one: one.error)

    @property
    def _output(self) -> str:
        return self.original.pipeline.output

    def _loss(self, ran: _Ran) -> float | None:
        """Mask loss against the given model's masks."""
        metric = create_metric(self.original.quality)
        try:
            for sample, wanted, logits in zip(
                self._samples,
                self._given.logits,
                ran.logits,
                strict=False,  # time may have cut one short
            ):
                metric.update(sample.name, wanted, logits, None)
            return metric.result().loss
        except (SamplesError, TrialError):
            return None

    def _explained(self, request: Compare) -> float:
        """The error that rounding explains, in a model that amplifies it or a step in low precision."""
        is_coarse = self._backend.uses_tf32 and request.step not in _EXACT
        floats = self._floats | (float_types(Path(request.path)) if request.step == "reference" else set())
        least = LEVELS if request.step == "given" else _TF32 if is_coarse else _PLAIN
        spread = max([least, *(ROUNDING[kind] for kind in floats if kind in ROUNDING)])
        explained = _AMPLIFIED * self._noise(spread)
        if request.step != "reference" or not floats & _COARSE.keys():
            return explained  # a file in FP32 has no rounding that could excuse it
        try:
            return max(explained, _EXACTLY * self._exact_error(Path(request.path)))
        except TrialError:  # nothing independent runs it: the FP32 step has to do
            return max(explained, UNLIKE)

    def _exact_error(self, path: Path) -> float:
        """How far an exact run of a step's own file is from the original model."""
        return self._worst(self._run(Exact(), path, self._samples)).error

    def _noise(self, spread: float) -> float:
        """How far outputs move for inputs that are off by `spread`, relative to each element."""
        first = self._samples[0]
        ran = self._run(Exact(), self._path, [first._replace(inputs=nudged(first.inputs, spread))])
        return self._worst(ran).error

    def _blamed(self, departure: Departure, path: Path) -> Departure:
        """Say what differs, and where it begins."""
        inputs = self._samples[0].inputs
        exact, theirs, culprit = Exact(), self._path, _EXACT.get(departure.step, "")
        ours: Builder = exact
        if not culprit:
            # The step's own file, run exactly, departs as well: then no engine is at fault.
            if self._exact_error(path) > departure.tolerance:
                culprit = f"autoprec's rewriting ({departure.step})"
            else:
                ours, theirs = self._backend, path
                culprit = f"the engine ({self._backend.name}) in FP32"
                if departure.step == "reference":
                    culprit = f"the engine ({self._backend.name}) in the reference's precision"
        node = first_departing(
            ours, path, exact, theirs, inputs, tolerance=departure.tolerance, folder=self._folder
        )
        if not node and self.original.pipeline.decoder and departure.value == self._output:
            culprit = f"the engine ({self._backend.name}) in the decoder"
        return msgspec.structs.replace(departure, culprit=culprit, node=node)


def _renamed(ours: Arrays, theirs: Arrays) -> Arrays:
    """Outputs by the other model's names: loading keeps their order, and their names where it can."""
    return ours if set(ours) >= set(theirs) else dict(zip(theirs, ours.values(), strict=False))
