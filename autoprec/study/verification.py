"""Measuring an export again, here, with whatever engine it was measured with.

The export's `verify.py` does the same without autoprec, for OpenVINO; the rules are told there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from autoprec.backends import create_backend
from autoprec.errors import StudyError, TrialError
from autoprec.exporters import Manifest, read_manifest
from autoprec.exporters.manifest import described
from autoprec.exporters.onnx import DECODER, MODEL, REFERENCE
from autoprec.measurement import Bench, Job, Setup
from autoprec.records import Check, Examples, Measurement, Recipe, Verification
from autoprec.spec import BackendSection, PipelineSection, QualitySection, SamplesSection, TimingSection

SMALLEST_LOSS = 0.001
"""Losses closer than this are the same, whatever was recorded."""


def verify(folder: Path, say: Callable[[str], None] = lambda _: None) -> Verification:
    """Check an export's files, build both models, time them in turn, and score the examples.

    Raises `StudyError` if there is no export, or it cannot be measured; `BackendError` if its engine is not
    installed here.
    """
    manifest = read_manifest(folder)
    files = _files(manifest, folder)
    if not files.is_same:
        return Verification(checks=(files,))
    if manifest.recipe is None or manifest.examples is None:
        raise StudyError(
            f"{folder}: holds no examples to measure on; export it again, with `--examples 4` or more"
        )
    note = _note(manifest, manifest.recipe)
    if note:
        say(note)
    measured = _measure(manifest, manifest.recipe, manifest.examples, folder)
    checks = (files, _latency(manifest, measured), _loss(manifest, manifest.examples, measured))
    return Verification(checks=checks, note=note)


def _files(manifest: Manifest, folder: Path) -> Check:
    """Whether every file is there, as it was written."""
    wrong = [
        file.name
        for file in manifest.files
        if not (folder / file.name).is_file() or described(folder / file.name, folder) != file
    ]
    words = f"changed or gone: {', '.join(wrong)}" if wrong else f"{len(manifest.files)} intact"
    return Check(name="files", is_same=not wrong, words=words)


def _note(manifest: Manifest, recipe: Recipe) -> str:
    """What is not as it was where the export was measured."""
    there, here = (
        manifest.identity.fingerprint,
        create_backend(recipe.backend, recipe.options).fingerprint(),
    )
    if there == here:
        return ""
    return (
        f"measured with {there.backend} {there.version} on {there.device}, here with {here.version} on "
        f"{here.device}: the ratio may well be another"
    )


def _measure(manifest: Manifest, recipe: Recipe, examples: Examples, folder: Path) -> Measurement:
    """The export's model against its reference, in a worker that can die. Raises `StudyError`."""
    samples = str((folder / examples.folder).absolute())
    setup = Setup(
        backend=BackendSection(
            name=recipe.backend, options=recipe.options, trial_seconds=recipe.trial_seconds
        ),
        pipeline=PipelineSection(
            decoder=str((folder / DECODER).absolute()) if (folder / DECODER).is_file() else None,
            output=recipe.output,
        ),
        samples=SamplesSection(calibration="", evaluation=samples),
        quality=QualitySection(metric=recipe.metric, threshold=recipe.threshold),
        timing=TimingSection(
            interval=recipe.interval,
            seconds=recipe.seconds,
            minimum_rounds=recipe.minimum_rounds,
            warmup=recipe.warmup,
        ),
        shapes=dict(manifest.input_shapes),
        reference_path=str((folder / REFERENCE).absolute()),
        reference_digest=manifest.reference.model_digest,
    )
    job = Job(
        setup=setup,
        candidate_path=str((folder / MODEL).absolute()),
        assignment=manifest.trial.assignment,
        blocks=(),
        heavy=(),
    )
    with (
        TemporaryDirectory(prefix="autoprec-verify-") as scratch,
        Bench(Path(scratch) / "worker.log") as bench,
    ):
        try:
            return bench.measure(job)
        except TrialError as error:
            raise StudyError(f"{folder}: cannot be measured here ({error.kind}: {error})") from error


def _latency(manifest: Manifest, measured: Measurement) -> Check:
    """The paired ratio against the recorded one; faster is as good."""
    assert manifest.trial.measurement is not None
    recorded, found = manifest.trial.measurement.latency, measured.latency
    noise = manifest.reference.latency_noise
    interval = found.ratio_interval
    words = (
        f"{1 / found.ratio:.3f}x the reference ({1 / interval.high:.3f} to {1 / interval.low:.3f}), recorded "
        f"{1 / recorded.ratio:.3f}x with a noise of {100 * noise:.1f} %"
    )
    is_same = interval.low <= recorded.ratio_interval.high * (1 + noise)
    return Check(name="latency", is_same=is_same, words=words, found=interval)


def _loss(manifest: Manifest, examples: Examples, measured: Measurement) -> Check:
    """The mask loss on the examples against the recorded one; less is as good."""
    found, widened = measured.quality.loss, max(manifest.reference.loss_noise, SMALLEST_LOSS)
    return Check(
        name="mask loss",
        is_same=found <= examples.loss_interval.high + widened,
        words=f"{found:.4f} on {examples.count} examples, recorded {examples.loss:.4f} there",
        found=measured.quality.loss_interval,
    )
