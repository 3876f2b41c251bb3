"""Exporting one point: choose it, rewrite its model, write examples, hand all to the exporters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from autoprec.backends import KeepsTimings, KernelTimings, ShipsEngines, TellsLayers, create_backend
from autoprec.backends.clocks import clock_of
from autoprec.errors import StudyError, TrialError
from autoprec.exporters import write_export
from autoprec.files import scratch
from autoprec.graph.model.load import model_digest
from autoprec.measurement import Bench, WriteExamples
from autoprec.quality import scoring_file
from autoprec.records import Examples, Export, Preprocessing, Recipe, Told, TrialRecord, as_counted
from autoprec.spec import StudySpec
from autoprec.store import Store, exclusive, searching
from autoprec.study.preparation import Prepared, prepare
from autoprec.study.preparation.fidelity import departures
from autoprec.study.shipping.picks import choose


def export_point(
    spec: StudySpec,
    store: Store,
    folder: Path | None,
    *,
    pick: str,
    max_loss: float | None,
    trial: int | None,
    targets: Sequence[str] | None,
    examples: int,
) -> tuple[Path, ...]:
    """Write one point for build tools; returns the files. See `Study.export`.

    Args:
        spec: the study's definition.
        store: its database.
        folder: receives the export; None is one of the study's own.
        pick: `knee` or `fastest`, without a `trial`.
        max_loss: the largest mask loss; None for `accepted_loss` with `fastest`, else for any.
        trial: number of the trial; None to pick one.
        targets: names of exporters; None for all.
        examples: number of samples to include.
    """
    name = spec.name
    reference, identity = store.reference(name), store.identity(name)
    if reference is None:
        raise StudyError(f"study {name!r} has no reference yet: run `autoprec search` first")
    if trial is None:
        limit = spec.search.accepted_loss if pick == "fastest" and max_loss is None else max_loss
        record = choose(store.front(name), reference, pick=pick, max_loss=limit)
    else:
        record = _measured(as_counted(store.trial(name, trial), store.trials(name)))
    study_folder = Path(spec.folder)
    with _workshop(study_folder) as work:
        prepared = prepare(spec, basis=store.basis(name), work=work)
        store.check(name, prepared.identity, prepared.blocks)
        candidate = prepared.rewrite(record.assignment, work / "candidate.onnx")
        there = _made_there(spec, candidate.model_path, work)
        decoder = spec.pipeline.decoder or ""
        export = Export(
            trial=record,
            reference=reference,
            identity=identity,
            blocks=prepared.blocks,
            model_path=candidate.model_path,
            model_digest=model_digest(Path(candidate.model_path)),
            input_shapes=tuple(prepared.shapes.items()),
            model_name=Path(spec.model.path).name,
            decoder_path=decoder,
            decoder_digest=model_digest(Path(decoder)) if decoder else "",
            implicit=prepared.implicit(record.assignment, work / "implicit.onnx"),
            reference_path=prepared.reference_candidate.model_path,
            recipe=_recipe(spec),
            **there._asdict(),
            metric_path=str(scoring_file(spec.quality.metric) or ""),
            fidelity=departures(store, name),
            clock=clock_of(identity.fingerprint),
            examples=_examples(prepared, candidate.model_path, work / "examples", examples),
        )
        return write_export(export, folder or study_folder / "exports" / f"trial-{record.number}", targets)


def _measured(record: TrialRecord) -> TrialRecord:
    """The trial itself. Raises `StudyError` if it is not complete."""
    if record.measurement is None:
        failure = record.failure
        why = "is running" if failure is None else f"failed ({failure.kind}: {failure.message})"
        raise StudyError(f"trial {record.number} {why}: there is nothing to export; choose a complete one")
    return record


@contextmanager
def _workshop(study_folder: Path) -> Iterator[Path]:
    """A temporary folder for an export, which may be made while a search is running."""
    with ExitStack() as stack:
        # Inside the study's folder, leftovers of a kill are removed by the next search. While a search
        # holds that folder, the system's temporary folder has to do.
        if searching(study_folder) is None:
            stack.enter_context(exclusive(study_folder))
            yield stack.enter_context(scratch(".export-", study_folder))
        else:
            yield stack.enter_context(scratch("autoprec-export-"))


def _examples(prepared: Prepared, candidate: str, folder: Path, count: int) -> Examples | None:
    """Write samples with both engines' logits, and score them; None for no samples.

    Raises `StudyError` if the candidate cannot be run, or the disk is full.
    """
    if not count:
        return None
    request = WriteExamples(
        setup=prepared.setup,
        candidate_path=candidate,
        count=count,
        folder=str(folder),
        original=prepared.spec.model.path,
        exactly=True,
    )
    try:
        with Bench(prepared.work / "worker.log") as bench:
            written = bench.write_examples(request)
    except TrialError as error:
        raise StudyError(f"nothing was exported ({error.kind}: {error}); pick another trial") from error
    return Examples(
        folder=str(folder),
        count=written.quality.samples,
        loss=written.quality.loss,
        loss_interval=written.quality.loss_interval,
        original_loss=None if written.faithful is None else written.faithful.loss,
        original_loss_interval=None if written.faithful is None else written.faithful.loss_interval,
    )


class _MadeThere(NamedTuple):
    """Paths of what only the study's engine can make: the engine and its kernel timings, "" if there are
    none; and what the builder was told, if it does not keep to a model's types."""

    engine_path: str
    timing_cache_path: str
    told: Told | None


def _made_there(spec: StudySpec, candidate: str, folder: Path) -> _MadeThere:
    """Make what only the study's engine can make of a candidate.

    Raises `StudyError` where the engine cannot be built.
    """
    backend = create_backend(spec.backend.name, spec.backend.options)
    try:
        plan = backend.plan(Path(candidate)) if isinstance(backend, ShipsEngines) else b""
        timings = backend.timings() if isinstance(backend, KeepsTimings) else KernelTimings("", b"")
        told = (
            backend.told(Path(candidate), folder / "told.onnx") if isinstance(backend, TellsLayers) else None
        )
    except TrialError as error:
        raise StudyError(f"nothing was exported ({error.kind}: {error}); pick another trial") from error
    for written, content in (("engine", plan), timings):
        if content:
            (folder / written).write_bytes(content)
    engine = str(folder / "engine") if plan else ""
    return _MadeThere(engine, str(folder / timings.name) if timings.content else "", told)


def _recipe(spec: StudySpec) -> Recipe:
    timing, samples = spec.timing, spec.samples
    return Recipe(
        backend=spec.backend.name,
        # Not where a target is: whoever verifies the export names a device of their own.
        options={key: value for key, value in spec.backend.options.items() if not key.startswith("target")},
        output=spec.pipeline.output,
        metric=spec.quality.metric,
        threshold=spec.quality.threshold,
        small_mask=spec.quality.small_share,
        layout=spec.pipeline.layout,
        preprocessing=Preprocessing(
            input=samples.input,
            size=samples.size,
            resize=samples.resize,
            mean=samples.mean,
            std=samples.std,
            white=samples.white,
        ),
        interval=timing.interval,
        seconds=timing.seconds,
        minimum_rounds=timing.minimum_rounds,
        warmup=timing.warmup,
        trial_seconds=spec.backend.trial_seconds,
    )
