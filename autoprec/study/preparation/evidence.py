"""The results of calibration on disk: made once, reused by every later run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TypeVar

import onnx_ir as ir

from autoprec.backends import Arrays, Backend
from autoprec.backends.timing import Deadline, Pace
from autoprec.calibration import MOMENT_SAMPLES, Each, calibrate, measure_moments, quantizable
from autoprec.errors import ModelError, SamplesError, StudyError, TrialError, cannot
from autoprec.files import own_folder
from autoprec.graph.statistics.moments import Moments, MomentSums, load_moments, save_moments
from autoprec.graph.statistics.ranges import Histograms
from autoprec.precisions import PRECISIONS
from autoprec.samples import Samples, ahead, ensure_same
from autoprec.store import Artifacts

T = TypeVar("T")
_SAVE_SECONDS = 60.0
"""How much work a killed calibration may lose."""


class Evidence:
    """Statistics of one model over one calibration set.

    Args:
        model: the float model, loaded.
        backend: runs it in FP32.
        engine: digest of the engine, which the files record.
        samples: the calibration set.
        folder: holds the statistics.
        digest: of model and samples; names the files.
        say: receives a line about each slow step.
        artifacts: files shared with other hosts; None for a study of one host.
        at_once: samples that `backend` runs in parallel.

    Attributes:
        path, moments_path: files of the histograms and the moments.
        of: what they are made of, as they record it.

    Methods raise `ModelError` if the model cannot be run, `SamplesError` for values that are not finite.
    """

    def __init__(
        self, model: ir.Model, backend: Backend, engine: str, samples: Samples, folder: Path, digest: str,
        say: Callable[[str], None], artifacts: Artifacts | None = None,
        at_once: int = 1,
    ) -> None:  # fmt: skip
        self._model, self._backend, self._samples = model, backend, samples
        self._folder, self._digest, self._say = folder, digest, say
        self.path, self.moments_path = folder / f"{digest}.npz", folder / f"{digest}-moments.npz"
        self.of = f"{digest} {engine}"
        self._artifacts, self._at_once = artifacts, at_once
        self._moments: dict[str, Moments] | None = None
        """As measured here: those of a large model take long to be read again."""

    def histograms(
        self, precisions: Iterable[str] = (), seen: Callable[[Histograms, float], None] = lambda *_: None
    ) -> Histograms:
        """Histograms of every activation that may be quantised. An interrupted calibration is resumed.

        Unless it is resumed, the same pass also measures the moments that `precisions` need. `seen` is called
        after each sample with what there is so far, and the seconds that the others will take.
        """
        path, part = self.path, self._folder / f"{self._digest}-part.npz"
        self._fetch(path)
        histograms = Histograms.load(path, self.of, self._say)
        if histograms is not None:
            return histograms
        total, earlier = len(self._samples), Histograms.load(part, self.of, self._say)
        done = earlier.samples if earlier else 0
        self._say(f"calibrating on {total} samples (once)" + (f", {done} are done" if done else ""))
        pace, saved = Pace(total, done), Deadline(_SAVE_SECONDS)
        is_first = True
        # Sums of a resumed pass would lack the samples of the first part, which keeps only histograms.
        sums = self._sums() if not done and wants_moments(precisions) else None

        def progress(so_far: Histograms) -> None:
            nonlocal saved, pace, is_first
            if is_first:  # the time that the engine took to build is no sample's
                pace, is_first = Pace(total, so_far.samples), False
            if line := pace.line(so_far.samples):
                self._say(f"calibrating: {line}")
            seen(so_far, pace.left(so_far.samples))
            if saved.is_over:
                self._keep(so_far.save, part)
                saved = Deadline(_SAVE_SECONDS)

        def also(values: Arrays, each: Each) -> None:
            if sums is not None and sums.samples < MOMENT_SAMPLES:
                sums.observe(values, each)

        count = partial(calibrate, progress=progress, earlier=earlier, also=also, at_once=self._at_once)
        histograms = self._run(count, done)
        try:
            ensure_same(self._samples, self._samples.digest, "calibration")
        except SamplesError:
            part.unlink(missing_ok=True)
            raise
        if sums is not None:
            self._keep_moments(sums.result())
        # After the moments: once there are histograms, no later run makes this pass again.
        self._keep(histograms.save, path)
        self._put(path)
        part.unlink(missing_ok=True)
        return histograms

    def moments(self, precisions: Iterable[str]) -> dict[str, Moments]:
        """Moments of the inputs of weighted operators; empty if none of the precisions needs them."""
        if not wants_moments(precisions):
            return {}
        if self._moments is not None:
            return self._moments
        self._fetch(self.moments_path)
        moments = load_moments(self.moments_path, self.of, self._say)
        if moments is None:
            self._say("measuring the moments that adaptive rounding needs (once)")
            moments = self._run(measure_moments)
            ensure_same(self._samples, self._samples.digest, "calibration")
            self._keep_moments(moments)
        return moments

    def _sums(self) -> MomentSums | None:
        """Sums to fill during calibration; None if some of their values are not observed there."""
        sums = MomentSums(self._model.graph)
        inputs = {str(value.name) for value in self._model.graph.inputs}
        return sums if sums.inputs <= quantizable(self._model) | inputs else None

    def _keep_moments(self, moments: dict[str, Moments]) -> None:
        self._moments = moments
        self._keep(partial(save_moments, moments), self.moments_path)
        self._put(self.moments_path)

    def _keep(self, save: Callable[[Path, str], None], path: Path) -> None:
        """Save a file. Raises `StudyError` if it cannot be written."""
        try:
            save(path, self.of)
        except OSError as error:
            raise StudyError(cannot(path, error)) from error

    def _fetch(self, path: Path) -> None:
        if self._artifacts is not None:
            self._artifacts.fetch(path)

    def _put(self, path: Path) -> None:
        if self._artifacts is not None:
            self._artifacts.put(path)

    def _run(self, measure: Callable[..., T], start: int = 0) -> T:
        own_folder(self._folder.parent, self._folder.name)
        feeds = (sample.inputs for sample in ahead(self._samples, start))
        try:
            return measure(self._model, self._backend, feeds, self._folder / "instrumented.onnx")
        except TrialError as error:
            raise ModelError(f"calibration failed in FP32: {error}") from error


def wants_moments(precisions: Iterable[str]) -> bool:
    """Whether one of the precisions needs moments."""
    return any(PRECISIONS[name].needs_moments for name in precisions)
