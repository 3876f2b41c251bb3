"""What calibration leaves on disk: made once, found again by every later night."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import onnx_ir as ir

from autoprec.backends import Backend
from autoprec.calibration import calibrate, measure_moments
from autoprec.errors import ModelError, TrialError
from autoprec.graph.moments import Moments, load_moments, save_moments
from autoprec.graph.ranges import Histograms
from autoprec.graph.toolbox import learns
from autoprec.precisions import PRECISIONS
from autoprec.samples import Samples

T = TypeVar("T")


class Evidence:
    """Statistics of one model over one calibration set.

    Args:
        model: the float model, loaded.
        backend: runs it in FP32.
        samples: the calibration set.
        folder: where statistics are kept.
        digest: of model and samples; names the files.
        say: is told what takes time.

    Methods raise `ModelError` if the model cannot be run, `SamplesError` for values that are not finite.
    """

    def __init__(
        self, model: ir.Model, backend: Backend, samples: Samples, folder: Path, digest: str,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._model, self._backend, self._samples = model, backend, samples
        self._folder, self._digest, self._say = folder, digest, say

    def histograms(self) -> Histograms:
        """Of every activation that may be quantised."""
        path = self._folder / f"{self._digest}.npz"
        found = Histograms.load(path)
        if found is None:
            self._say(f"calibrating on {len(self._samples)} samples (once)")
            found = self._run(calibrate)
            found.save(path)
        return found

    def moments(self, precisions: Iterable[str]) -> dict[str, Moments]:
        """Of what weighted ops multiply; empty if none of the precisions learns from them."""
        if not any(learns(PRECISIONS[name]) for name in precisions):
            return {}
        path = self._folder / f"{self._digest}-moments.npz"
        found = load_moments(path)
        if found is None:
            self._say("measuring what the rounding of weights learns from (once)")
            found = self._run(measure_moments)
            save_moments(found, path)
        return found

    def _run(self, measure: Callable[..., T]) -> T:
        self._folder.mkdir(parents=True, exist_ok=True)
        feeds = (sample.inputs for sample in self._samples)
        try:
            return measure(self._model, self._backend, feeds, self._folder / "instrumented.onnx")
        except TrialError as error:
            raise ModelError(f"calibration failed in FP32: {error}") from error
