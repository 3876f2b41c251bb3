"""Listings of trials and of studies: tables for people, rows for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from autoprec.errors import BackendError, SpecError, how_to_install
from autoprec.records import StudySummary, TrialRecord
from autoprec.report import _figures as figures
from autoprec.report.files import write_file
from autoprec.report.json_text import as_json
from autoprec.report.notebook.frame import row_of, trials_dataframe
from autoprec.report.terminal._columns import Column, Columns

_STYLES = {"complete": "", "failed": "red", "running": "yellow"}


def trials_table(trials: Sequence[TrialRecord], front: Collection[int] = ()) -> RenderableType:
    """A row for each trial; those on the front are marked."""
    if not trials:
        return Text("no trial matches")
    ms, loss, nothing = figures.milliseconds, figures.loss, figures.NOTHING
    measurements = [trial.measurement for trial in trials]
    columns = (
        Column("trial", [str(trial.number) for trial in trials]),
        Column("state", [_state(trial, front) for trial in trials], right=False),
        Column("origin", [trial.origin for trial in trials], 3, right=False),
        Column("latency ms", [nothing if m is None else ms(m.latency_ms) for m in measurements]),
        Column(
            "speed-up", [nothing if m is None else f"{figures.speedup(m.latency):.2f}x" for m in measurements]
        ),
        Column("loss", [nothing if m is None else loss(m.quality.loss) for m in measurements]),
        Column("ran on", [trial.worker for trial in trials], 5, right=False),
        Column("ended", [trial.end[:16].replace("T", " ") for trial in trials], 4, right=False),
        Column("precisions", [_what(trial) for trial in trials], right=False),
    )
    used = (name for trial in trials for _, name in trial.assignment.choices)
    notes = figures.legend(used)
    measured = [trial.assignment for trial in trials if trial.measurement is not None]
    if len(set(measured)) < len(measured):
        notes.append("each row is one measurement; `autoprec front` pools those of one assignment")
    count = "1 trial" if len(trials) == 1 else f"{len(trials)} trials"
    return Group(Columns(columns), Text(), Text(count), *map(Text, notes))


def trials_csv(trials: Sequence[TrialRecord], front: Collection[int] = ()) -> str:
    """The trials as CSV with a header (RFC 4180); a column for each block follows the figures."""
    rows = [row_of(trial, is_best=trial.number in front) for trial in trials]
    # Of all rows, not of the first, which may be of a failed trial: those have no figures.
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def studies_table(studies: Sequence[StudySummary]) -> RenderableType:
    """A row for each study definition of a folder."""
    if not studies:
        return Text("no study definition in studies/: `autoprec init MODEL.onnx` writes one")
    columns = (
        Column("study", [Text(one.name, "bold") for one in studies], right=False),
        Column("", ["default" if one.is_default else "" for one in studies], right=False),
        Column("trials", [str(one.trials) for one in studies]),
        Column("front", [str(one.front) for one in studies], 2),
        Column("nights", [str(one.nights) for one in studies], 3),
        Column("fastest", [f"{one.speedup:.2f}x" if one.speedup else figures.NOTHING for one in studies]),
        Column("engine", [one.engine for one in studies], 4, right=False),
        Column("last trial", [one.last[:16].replace("T", " ") for one in studies], 5, right=False),
        Column("state", [one.state for one in studies], 0, right=False),
    )
    return Group(Columns(columns), Text(), Text("fastest: within the accepted loss of each"))


def _state(trial: TrialRecord, front: Collection[int]) -> Text:
    if trial.number in front:
        return Text("on front", "green")
    return Text(trial.state, _STYLES[trial.state])


def _what(trial: TrialRecord) -> Text:
    """The assignment, and for a failed trial the reason."""
    if trial.failure is None:
        return figures.named(trial)
    return Text.assemble(
        figures.named(trial), "  ", (f"{trial.failure.kind}: {trial.failure.message}", "red")
    )


def write_trials(path: Path, trials: Sequence[TrialRecord], front: Collection[int] = ()) -> Path:
    """Write the trials as `.csv`, `.json` or `.parquet` (needs pandas and pyarrow), by the suffix of `path`.

    Raises `SpecError` for another suffix, `BackendError` for a missing package, `StudyError` if the file
    cannot be written.
    """
    if path.suffix == ".csv":
        return write_file(path, trials_csv(trials, front))
    if path.suffix == ".json":
        return write_file(path, as_json(trials))
    if path.suffix != ".parquet":
        raise SpecError(f"{path}: name a file that ends in .csv, .parquet or .json")
    table = trials_dataframe(trials, [trial for trial in trials if trial.number in front])
    file = io.BytesIO()
    try:
        # Into memory: given the path, pyarrow would follow a link that lies there, and leave half a table
        # where the disk is full.
        table.to_parquet(file, engine="pyarrow", index=False)
    except ImportError as error:
        raise BackendError(f"Parquet needs pyarrow: {how_to_install('tables')}") from error
    return write_file(path, file.getvalue())
