"""Measuring an export again on this machine, with the engine that it was measured with.

The export's `verify.py` does the same without autoprec, for OpenVINO; the rules are documented there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from autoprec.backends import create_backend
from autoprec.errors import StudyError, TrialError
from autoprec.exporters import Manifest, read_manifest
from autoprec.exporters.manifest import EXAMPLES, described
from autoprec.exporters.onnx import DECODER, MODEL, REFERENCE
from autoprec.files import is_inside, scratch
from autoprec.graph.model.load import open_model
from autoprec.measurement import Bench, Job, Setup, WriteExamples
from autoprec.quality import METRICS
from autoprec.records import Check, Examples, Measurement, Quality, Recipe, Verification
from autoprec.report.fidelity import departure_words
from autoprec.spec import (
    BackendSection,
    PipelineSection,
    QualitySection,
    SamplesSection,
    TargetSection,
    TimingSection,
)

_LONGEST_SECONDS, _LONGEST_TIMING, _MOST_ROUNDS = 3600.0, 60.0, 1000
"""Limits of what a recipe may demand, since an export may come from anybody."""
SMALLEST_LOSS = 0.001
"""Losses closer than this count as equal, whatever noise was recorded."""


def verify(
    folder: Path | str,
    say: Callable[[str], None] = lambda _: None,
    *,
    trusted_metric: str = "",
    target: TargetSection | None = None,
) -> Verification:
    """Check an export's files, build both models, time them in turn, and score the examples.

    An export may come from anybody: nothing that it names is executed, and nothing outside its folder is
    read.

    Args:
        folder: the export.
        say: receives a line about what differs here.
        trusted_metric: a metric `module:function` that may be run if the export names it.
        target: where to build and measure; None is this machine.

    Raises `StudyError` if there is no export, or it cannot be measured; `BackendError` if its engine is not
    installed here.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    files = _files(manifest, folder)
    if not files.is_same:
        return Verification(checks=(files,))
    if manifest.recipe is None or manifest.examples is None:
        raise StudyError(
            f"{folder}: holds no examples to measure on; export it again, with `--examples 4` or more"
        )
    recipe = msgspec.structs.replace(manifest.recipe, options=_options(manifest.recipe, target))
    _refuse_strangers(manifest, recipe, trusted_metric, folder)
    note = _note(manifest, recipe)
    if note:
        say(note)
    measured, faithful = _measure(manifest, recipe, folder)
    checks = [files, _latency(manifest, measured), _loss(manifest, manifest.examples, measured)]
    if faithful is not None:
        checks.append(_faithful(manifest, manifest.examples, faithful))
    return Verification(checks=tuple(checks), note=note)


def _files(manifest: Manifest, folder: Path) -> Check:
    """Check that every file is as it was written, and that there are no links."""
    wrong = [
        file.name
        for file in manifest.files
        if not is_inside(folder, file.name)
        # The size first: a sparse file would be read for hours.
        or (folder / file.name).stat().st_size != file.bytes
        or described(folder / file.name, folder) != file
    ]
    wrong += [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_symlink()]
    words = f"changed or missing: {', '.join(wrong)}" if wrong else f"{len(manifest.files)} intact"
    return Check(name="files", is_same=not wrong, words=words)


def _refuse_strangers(manifest: Manifest, recipe: Recipe, trusted_metric: str, folder: Path) -> None:
    """Raises `StudyError` for a metric that would run code, and for samples or models that the manifest does
    not list; `ModelError` for models with data outside the folder."""
    if recipe.metric not in METRICS and recipe.metric != trusted_metric:
        raise StudyError(
            f"{folder}: its metric {recipe.metric!r} is code of its own; if you trust it, "
            "add `--trust-metric MODULE:FUNCTION` with that name"
        )
    listed = {file.name for file in manifest.files}
    there = {path.relative_to(folder).as_posix() for path in (folder / EXAMPLES).rglob("*.npz")}
    if strange := sorted(there - listed):
        raise StudyError(f"{folder}: {strange[0]} is not in its manifest; export it again")
    for name in (MODEL, REFERENCE, *(name for name in (DECODER,) if (folder / name).exists())):
        if name not in listed:
            raise StudyError(f"{folder}: {name} is not in its manifest; export it again")
        open_model(folder / name)


def _note(manifest: Manifest, recipe: Recipe) -> str:
    """What differs from where the export was measured; empty if nothing does."""
    there, here = (
        manifest.identity.fingerprint,
        create_backend(recipe.backend, recipe.options).fingerprint(),
    )
    departed = [departure_words(one) for one in manifest.fidelity if one.is_beyond]
    if departed:
        return f"exported although {'; '.join(departed)}"
    if (there.version, there.device) == (here.version, here.device):  # a target spells options differently
        return ""
    return (
        f"measured with {there.backend} {there.version} on {there.device}, here with {here.version} on "
        f"{here.device}: the ratio may well differ"
    )


def _measure(manifest: Manifest, recipe: Recipe, folder: Path) -> tuple[Measurement, Quality | None]:
    """Measure the export's model against its reference, and score its masks against the original model's.

    Both in a worker, which may die. Raises `StudyError`.
    """
    samples = str((folder / EXAMPLES).absolute())
    setup = Setup(
        backend=BackendSection(
            name=recipe.backend,
            options=recipe.options,
            trial_seconds=min(recipe.trial_seconds, _LONGEST_SECONDS),
        ),
        pipeline=PipelineSection(
            decoder=str((folder / DECODER).absolute()) if (folder / DECODER).is_file() else None,
            output=recipe.output,
            layout=recipe.layout,
        ),
        samples=SamplesSection(calibration="", evaluation=samples),
        quality=QualitySection(
            metric=recipe.metric, threshold=recipe.threshold, small_mask=recipe.small_mask
        ),
        timing=_timing(recipe, folder),
        shapes=dict(manifest.input_shapes),
        reference_path=str((folder / REFERENCE).absolute()),
        reference_digest=manifest.reference.model_digest,
        is_whole=False,
    )
    job = Job(
        setup=setup,
        candidate_path=str((folder / MODEL).absolute()),
        assignment=manifest.trial.assignment,
        # No audit: kernels of another machine may well be of other precisions.
        blocks=(),
        heavy=(),
    )
    with (
        scratch("autoprec-verify-") as work,
        Bench(work / "worker.log") as bench,
    ):
        again = WriteExamples(
            setup=setup,
            candidate_path=job.candidate_path,
            count=manifest.examples.count if manifest.examples else 1,
            folder=str(work / EXAMPLES),
            originals=str((folder / EXAMPLES / "outputs").absolute()),
        )
        try:
            return bench.measure(job), bench.write_examples(again).faithful
        except TrialError as error:
            raise StudyError(f"{folder}: cannot be measured here ({error.kind}: {error})") from error


def _options(recipe: Recipe, target: TargetSection | None) -> dict[str, str | int | float | bool]:
    """The options of the engine, without folders and targets of the export's."""
    # Folders of caches belong to this machine. An address that an export names could run anything: only the
    # user says where to measure.
    kept = {k: v for k, v in recipe.options.items() if "folder" not in k and not k.startswith("target")}
    return kept | (target.options if target is not None and target.address else {})


def _timing(recipe: Recipe, folder: Path) -> TimingSection:
    """How to time, within the limits of a definition and of `_LONGEST_TIMING`.

    Raises `StudyError`.
    """
    wanted = {
        "interval": recipe.interval,
        "seconds": min(recipe.seconds, _LONGEST_TIMING),
        "minimum_rounds": min(recipe.minimum_rounds, _MOST_ROUNDS),
        "warmup": min(recipe.warmup, _MOST_ROUNDS),
    }
    try:
        return msgspec.convert(wanted, TimingSection)
    except msgspec.ValidationError as error:
        raise StudyError(f"{folder}: its recipe cannot be used ({error}); export it again") from error


def _latency(manifest: Manifest, measured: Measurement) -> Check:
    """Check the paired ratio against the recorded one; a faster one passes."""
    assert manifest.trial.measurement is not None
    recorded, here = manifest.trial.measurement.latency, measured.latency
    noise = manifest.reference.latency_noise
    interval = here.ratio_interval
    words = (
        f"{1 / here.ratio:.3f}x the reference ({1 / interval.high:.3f} to {1 / interval.low:.3f}), recorded "
        f"{1 / recorded.ratio:.3f}x with a noise of {100 * noise:.1f} %"
    )
    is_same = interval.low <= recorded.ratio_interval.high * (1 + noise)
    return Check(name="latency", is_same=is_same, words=words, found=interval)


def _loss(manifest: Manifest, examples: Examples, measured: Measurement) -> Check:
    """Check the mask loss on the examples against the recorded one; a smaller one passes."""
    loss, widened = measured.quality.loss, max(manifest.reference.loss_noise, SMALLEST_LOSS)
    count = "1 example" if examples.count == 1 else f"{examples.count} examples"
    return Check(
        name="mask loss",
        is_same=loss <= examples.loss_interval.high + widened,
        words=f"{loss:.4f} on {count}, recorded {examples.loss:.4f}",
        found=measured.quality.loss_interval,
    )


def _faithful(manifest: Manifest, examples: Examples, quality: Quality) -> Check:
    """Check the candidate's masks against those of the original model."""
    widened = max(manifest.reference.loss_noise, SMALLEST_LOSS)
    # An engine that computes both models wrongly shows here alone: candidate and reference would agree.
    recorded, interval = examples.original_loss, examples.original_loss_interval
    if recorded is None or interval is None:
        return Check(name="original", is_same=True, words="not recorded", found=quality.loss_interval)
    return Check(
        name="original",
        is_same=quality.loss <= interval.high + widened,
        words=f"mask loss {quality.loss:.4f} against the original model, recorded {recorded:.4f}",
        found=quality.loss_interval,
    )
