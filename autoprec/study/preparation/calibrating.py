"""The step between loading and judging: one pass over the calibration set."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from autoprec.backends import EMBEDDED, Backend, create_backend
from autoprec.calibration import samples_at_once
from autoprec.errors import ModelError
from autoprec.graph.ops.costs import macs
from autoprec.graph.statistics.ranges import Histograms
from autoprec.legality.overflow import overflowing
from autoprec.store import Artifacts
from autoprec.study.preparation.evidence import Evidence
from autoprec.study.preparation.stages import Calibrated, Loaded, Say

_CPU_MACS = 2e12
"""Multiply-accumulates that a CPU with a few cores does in half a minute."""
_FORESEEN = 8
"""Samples that say which blocks overflow FP16, for the time being: where all of them say otherwise, what was
begun is measured anew."""
Foresee = Callable[[Mapping[str, str], float], None]
"""Told which blocks overflow FP16 as far as is known, with the reasons, and the seconds that are left."""


def calibrate(
    loaded: Loaded, say: Say, artifacts: Artifacts | None = None, foresee: Foresee = lambda *_: None
) -> Calibrated:
    """Run the calibration set through the model, unless an earlier run did.

    Args:
        loaded: model and samples.
        say: receives a line about each slow step.
        artifacts: files shared with other hosts; None for a study of one host.
        foresee: called after each sample, from the eighth on.

    Raises `ModelError` if the model cannot be run.
    """

    def seen(so_far: Histograms, seconds_left: float) -> None:
        if so_far.samples >= _FORESEEN:
            foresee(overflowing(so_far, loaded.blocks, loaded.model), seconds_left)

    *preferred, last = _calibrators(loaded)
    for calibrator in preferred:
        try:
            return _calibrated(loaded, calibrator, say, artifacts, seen)
        except ModelError as error:
            say(f"{error}; calibrating on the engine instead")
    return _calibrated(loaded, last, say, artifacts, seen)


def disturbs_timing(loaded: Loaded) -> bool:
    """Whether a calibration computes where the engine is timed: on processors, or on the GPU itself."""
    return not loaded.backend.has_own_device or _calibrators(loaded)[0].backend is loaded.backend


class _Calibrator(NamedTuple):
    """What runs the calibration set in FP32, so many samples in parallel, and the digest by which its
    statistics are kept."""

    backend: Backend
    digest: str
    at_once: int = 1


def _calibrators(loaded: Loaded) -> tuple[_Calibrator, ...]:
    """Engines to calibrate on, best first: the study's own, or the embedded one."""
    # A GPU's workers build, compare and time meanwhile: half of the processors are theirs.
    processors = len(os.sched_getaffinity(0))
    share = max(1, processors // 2) if loaded.backend.has_own_device else processors
    at_once = samples_at_once(loaded.model, share)
    cores = create_backend(EMBEDDED, {"threads": share // at_once})
    # The digest leaves out the number of cores, so that hosts of one study share statistics.
    here = _Calibrator(cores, create_backend(EMBEDDED, {}).fingerprint().digest, at_once)
    # Whole activations are too much to send from a target.
    if loaded.spec.target.address:
        return (here,)
    # With every core, however many engines will be timed with.
    takes_all = loaded.backend.name == EMBEDDED and not loaded.backend.has_own_device
    own = _Calibrator(loaded.backend, loaded.backend.fingerprint().digest)
    if takes_all:
        own = here._replace(digest=own.digest)
    work = len(loaded.calibration) * sum(map(macs, loaded.model.graph))
    # A GPU needs its kernels first: an instrumented ViT-S of 24 M parameters took 30 s before its first
    # sample (H100, TensorRT-RTX 1.6.1), longer than a small calibration takes on the CPU.
    is_small = loaded.backend.has_own_device and work <= _CPU_MACS
    return (here, own) if is_small else (own,)


def _calibrated(
    loaded: Loaded,
    calibrator: _Calibrator,
    say: Say,
    artifacts: Artifacts | None,
    seen: Callable[[Histograms, float], None],
) -> Calibrated:
    """The statistics by one of the engines.

    Args:
        loaded, say, artifacts: as those of `calibrate`.
        calibrator: the engine.
        seen: called after each sample, with what there is so far and the seconds that are left.
    """
    spec, digest = loaded.spec, "-".join(loaded.digests[:2])
    folder = Path(spec.folder) / "calibration"
    backend, engine, at_once = calibrator
    evidence = Evidence(
        loaded.model, backend, engine, loaded.calibration, folder, digest, say, artifacts, at_once
    )
    wanted = (*spec.search.precisions, *spec.blocks.pin.values())
    histograms = evidence.histograms(wanted, seen)
    overflow = overflowing(histograms, loaded.blocks, loaded.model)
    moments = evidence.moments(wanted)
    files = str(evidence.path), str(evidence.moments_path) if moments else ""
    return Calibrated(histograms, moments, overflow, files, evidence.of)
