"""Refining one point of a study by training; the result is measured as a trial, marked as refined."""

from __future__ import annotations

import importlib
import os
from typing import Any

import msgspec

from autoprec.errors import BackendError, StudyError, how_to_install
from autoprec.graph.grids.given import given_precisions
from autoprec.precisions import PRECISIONS
from autoprec.records import Assignment, TrialRecord
from autoprec.samples import load_samples
from autoprec.study.events import Watcher
from autoprec.study.preparation import Prepared


def refined(prepared: Prepared, record: TrialRecord, seconds: float, watcher: Watcher) -> Assignment:
    """Train a trial's candidate for `seconds`; returns its assignment with the learned weights.

    Args:
        prepared: model, samples and rewriter.
        record: a complete trial.
        seconds: time to train.
        watcher: receives the progress.

    Raises `StudyError` for a trial that cannot be refined, `BackendError` without PyTorch, `ModelError` for
    an operator that training does not support.
    """
    ensure_trainable(record)
    if given_precisions(prepared.model.graph):
        raise StudyError(
            "the model is already quantised: refine it where it was trained, and search the new ONNX"
        )
    distil = _training().distil
    samples = load_samples(prepared.spec.samples, "calibration", prepared.shapes)
    source, typed = prepared.student(record.assignment)
    watcher.say(
        f"refining trial {record.number} on {len(samples)} calibration samples for {seconds / 60:.0f} min"
    )
    edits = distil(prepared.model, source, typed, samples, seconds, watcher.say)
    return msgspec.structs.replace(record.assignment, weights=prepared.keep(edits))


def ensure_trainable(record: TrialRecord) -> None:
    """Raises `StudyError` for a trial that cannot be refined, with the reason."""
    where = f"trial {record.number}"
    if record.measurement is None:
        raise StudyError(f"{where} has no measurement ({record.state}); refine a complete one")
    if record.assignment.weights:
        raise StudyError(f"{where} is already refined; refine the trial it came from, for longer")
    if not any(PRECISIONS[name].is_quantized for _, name in record.assignment.choices):
        raise StudyError(f"{where} has no quantised block: there is nothing to refine")
    for block, name in record.assignment.choices:
        if PRECISIONS[name].scale_type is not None:
            raise StudyError(
                f"{where} has {block!r} in {name}, which training does not support; refine another"
            )


def _training() -> Any:
    """The training package, which imports PyTorch."""
    # Else OpenMP's threads wait in busy loops: beside other busy processes a step takes 40 times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        # Not at the top: PyTorch takes seconds to import, and need not be installed.
        return importlib.import_module("autoprec.refinement")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise BackendError(f"refining needs PyTorch: {how_to_install('qat')}") from error
