"""Exporting one point: choose it, rewrite its model, hand both to the exporters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoprec.errors import StudyError
from autoprec.exporters import write_export
from autoprec.graph.load import model_digest
from autoprec.records import Export
from autoprec.spec import StudySpec
from autoprec.store import Store
from autoprec.study.picks import choose
from autoprec.study.preparation import Prepared


def export_point(
    spec: StudySpec,
    store: Store,
    folder: Path | None,
    *,
    pick: str,
    max_loss: float | None,
    trial: int | None,
    targets: Sequence[str] | None,
) -> tuple[Path, ...]:
    """Write one point for build tools; returns the files. See `Study.export`."""
    name = spec.name
    reference, identity = store.reference(name), store.identity(name)
    if reference is None:
        raise StudyError(f"study {name!r} has no reference yet: run `autoprec search` first")
    record = (
        choose(store.front(name), reference, pick=pick, max_loss=max_loss)
        if trial is None
        else store.trial(name, trial)
    )
    prepared = Prepared(spec)
    with prepared.scratch() as path, prepared.scratch("implicit.onnx") as plain:
        candidate = prepared.rewrite(record.assignment, path)
        decoder = spec.pipeline.decoder or ""
        export = Export(
            trial=record,
            reference=reference,
            identity=identity,
            blocks=prepared.blocks,
            model_path=candidate.model_path,
            model_digest=candidate.model_digest,
            input_shapes=tuple(prepared.shapes.items()),
            decoder_path=decoder,
            decoder_digest=model_digest(Path(decoder)) if decoder else "",
            implicit=prepared.implicit(record.assignment, plain),
        )
        target = folder or Path(spec.folder) / "exports" / f"trial-{record.number}"
        return write_export(export, target, targets)
