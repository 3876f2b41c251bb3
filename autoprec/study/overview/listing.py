"""Listing the studies of a folder, with a few figures each."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from autoprec.errors import UserError
from autoprec.records import StudySummary
from autoprec.spec import StudySpec, load_spec
from autoprec.store import Store
from autoprec.study.definition import FOLDER
from autoprec.study.following import is_searched
from autoprec.study.shipping.picks import picks


def list_studies(folder: Path = FOLDER) -> tuple[StudySummary, ...]:
    """All definitions of a folder, by file name; the state of an unreadable one is the reason."""
    return tuple(_summary(path) for path in sorted(folder.glob("*.toml")))


def _summary(path: Path) -> StudySummary:
    try:
        spec = load_spec(path)
    # A definition that cannot be read is a row like the others, which are wanted all the same.
    except UserError as error:
        return StudySummary(name=path.stem, path=str(path), state=str(error))
    summary = StudySummary(
        name=spec.name, path=str(path), engine=spec.backend.name, is_default=spec.default, state="begun"
    )
    if isinstance(spec.database, Path) and not spec.database.exists():
        return replace(summary, state="not searched yet")
    try:
        return _measured(spec, summary)
    except UserError as error:
        return replace(summary, state=str(error))


def _measured(spec: StudySpec, summary: StudySummary) -> StudySummary:
    name = spec.name
    with Store.open(spec.database, read_only=True) as store:
        if name not in store.studies():
            return summary
        trials, front, reference = store.trials(name), store.front(name), store.reference(name)
        marks = picks(front, reference, spec.search.accepted_loss) if reference is not None else {}
        best = marks["fastest"].measurement if "fastest" in marks else None
        return replace(
            summary,
            state="being searched" if is_searched(spec) else "",
            trials=len(trials),
            front=len(front),
            nights=len(store.runs(name)),
            speedup=1 / best.latency.ratio if best is not None else None,
            last=max((trial.end for trial in trials), default=""),
        )
