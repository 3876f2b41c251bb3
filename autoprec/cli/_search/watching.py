"""How a search reports its progress: live, as JSON lines, as a log, or silently; and always to a log file."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from autoprec.cli import _parts as parts
from autoprec.cli._app import tell
from autoprec.errors import UserError
from autoprec.files import own_folder

if TYPE_CHECKING:
    from autoprec.records import Reference, RunStart, TrialRecord
    from autoprec.study import Study, Watcher

View = Literal["live", "verbose", "quiet", "json", "json-lines"]
_FORMAT = "%(asctime)s %(levelname)s %(message)s"


class JsonLines:
    """A watcher that prints every event as one line of JSON, with the kind under `event`."""

    def _print(self, event: str, **fields: object) -> None:
        # Not by the console, which breaks lines where the terminal ends.
        typer.echo(parts.to_json({"event": event, **fields}))

    def say(self, message: str) -> None:
        """Print a message."""
        self._print("message", text=message)

    def starts(self, start: RunStart) -> None:
        """Print the start of the run."""
        earlier = len(start.earlier)
        self._print(
            "start", trials=start.trials, seconds=start.seconds, reference=start.reference, earlier=earlier
        )

    def refers(self, reference: Reference) -> None:
        """Print the reference."""
        self._print("reference", reference=reference)

    def begins(self, record: TrialRecord) -> None:
        """Print the start of a trial."""
        self._print("begin", number=record.number, origin=record.origin, label=record.label)

    def stage(self, name: str, trial: int | None = None) -> None:
        """Print a trial's next step."""
        self._print("stage", number=trial, name=name)

    def ends(self, record: TrialRecord, front: Sequence[TrialRecord]) -> None:
        """Print the end of a trial."""
        self._print("end", trial=record, front=[point.number for point in front])

    def stops(self) -> None:
        """Print that the run was asked to stop."""
        self._print("stop")


@contextmanager
def watching(chosen: Study, view: View) -> Iterator[Watcher]:
    """Report a search in a view, and log it to a file of its own in the study's folder."""
    with _logging(chosen.folder / "logs", is_shown=view == "verbose"):
        if view == "json-lines":
            yield JsonLines()
        elif view == "live":
            with parts.LiveProgress(parts.console, chosen.spec.name) as progress:
                yield progress
        else:
            yield parts.Quiet()


@contextmanager
def _logging(folder: Path, *, is_shown: bool) -> Iterator[None]:
    """Add handlers to the logger `autoprec` for one run; without a file if the folder cannot be written."""
    logger, handlers = logging.getLogger("autoprec"), list[logging.Handler]()
    level = logger.level
    with suppress(OSError):
        own_folder(folder.parent, folder.name)
        # With the process ID: several searches of a study may start within one second.
        name = f"search-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}.log"
        # `delay`: a search that ends before it says anything leaves no empty file.
        handlers.append(logging.FileHandler(folder / name, encoding="utf-8", delay=True))
    if is_shown:
        handlers.append(logging.StreamHandler())
    for handler in handlers:
        handler.setFormatter(logging.Formatter(_FORMAT))
        logger.addHandler(handler)
    # Restored at the end: in a notebook or a program, the logger is the application's.
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(level)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


@contextmanager
def notifying(command: str, chosen: Study) -> Iterator[None]:
    """Run the user's command at the end of the block, however it ends; AUTOPREC_END says how."""
    ended = "failed"
    try:
        yield
        ended = "done"
    # A run that Ctrl-C ended at once leaves the block so.
    except typer.Exit:
        ended = "stopped"
        raise
    finally:
        if command:
            _notify(command, chosen, ended)


def _notify(command: str, chosen: Study, ended: str) -> None:
    """Run the user's command without a shell, with figures in its environment. What it prints goes to stderr,
    so that stdout stays the JSON that was asked for."""
    figures = {"AUTOPREC_STUDY": chosen.spec.name, "AUTOPREC_END": ended}
    # A search that failed before its first trial has no figures; the command runs all the same.
    with suppress(UserError):
        front, reference = chosen.front(), chosen.reference()
        picks = parts.picks(front, reference, chosen.spec.search.accepted_loss) if reference else {}
        best = picks["fastest"].measurement if "fastest" in picks else None
        figures["AUTOPREC_TRIALS"] = str(len(chosen.trials()))
        figures["AUTOPREC_SPEEDUP"] = f"{1 / best.latency.ratio:.2f}" if best is not None else ""
    try:
        ran = subprocess.run(shlex.split(command), env=os.environ | figures, stdout=2, check=False)  # noqa: S603
    except (OSError, ValueError) as error:
        tell(f"--notify could not run {command!r}: {error}")
    else:
        if ran.returncode:
            tell(f"--notify {command!r} ended with {ran.returncode}")
