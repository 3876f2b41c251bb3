"""What a running search shows: a live view in a terminal, one line per finished trial elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from autoprec.records import Reference, RunStart, TrialRecord, pareto
from autoprec.report import _figures as figures
from autoprec.report.plot import front_plot
from autoprec.report.terminal.harmless import HarmlessConsole
from autoprec.report.terminal.tables import front_table

REFRESHES_PER_SECOND = 2
"""Few, since the view runs while engines are being timed."""
ROWS_BESIDE_PLOT = 18
"""Rows of the terminal that are left to the heading, the running trials and the table."""
_STOPPING = "stopping after the trials in progress; press Ctrl-C again to stop at once"
USEFUL_LOSS = 0.05
"""The best points shown are within this mask loss, if any are: beyond it masks are of little use."""


class LiveProgress:
    """A watcher that shows a run: live in a terminal, a line for each trial elsewhere, such as in notebooks.

    `with LiveProgress() as progress: study.search(50, progress)`

    Args:
        console: where to print; standard output by default.
        study: name of the study, shown above the live view.
    """

    # `starts` may come late, or, in a refinement, never: all other methods do without it.

    def __init__(self, console: Console | None = None, study: str = "") -> None:
        self._console = console = console or HarmlessConsole()
        self._study = study
        self._live: Live | None = None
        self._began = console.get_time()
        self._trials: int | None = None
        self._seconds: float | None = None
        self._reference: Reference | None = None
        self._measured: dict[int, TrialRecord] = {}
        self._front: Sequence[TrialRecord] = ()
        self._failures: Counter[str] = Counter()
        self._before = self._done = 0
        self._is_stopping = False
        self._current: dict[int, TrialRecord] = {}
        self._stages: dict[int | None, str] = {}
        self._stage = Spinner("dots", Text("preparing"))
        self._results: RenderableType = Text("")

    def starts(self, start: RunStart) -> None:
        """Take in the budget, and earlier trials."""
        self._began = self._console.get_time()
        self._trials, self._seconds, self._reference = start.trials, start.seconds, start.reference
        self._before = start.done
        self._measured |= {record.number: record for record in start.earlier}
        self._front = pareto(self._measured.values())
        self._refresh()

    def refers(self, reference: Reference) -> None:
        """Take in what trials are compared with; what led to it takes none of the run's time."""
        self._reference = reference
        if self._seconds is not None:
            self._seconds += self._console.get_time() - self._began
        self._refresh()

    def say(self, message: str) -> None:
        """Print a line, which stays above the view."""
        self._print(Text(message))

    def begins(self, record: TrialRecord) -> None:
        """Show a trial as running."""
        self._current[record.number] = record
        self.stage("rewrite", record.number)

    def stage(self, name: str, trial: int | None = None) -> None:
        """Show a running trial's current step."""
        self._stages[trial] = name
        if trial is None or len(self._current) < 2:
            self._stage.update(text=Text(name))
        else:
            self._stage.update(text=Text(f"{len(self._current)} trials in progress"))

    def ends(self, record: TrialRecord, front: Sequence[TrialRecord]) -> None:
        """Show the outcome of a trial, and the new front."""
        self._done += record.counts
        self._measured[record.number] = record
        self._front = front
        self._current.pop(record.number, None)
        self._stages.pop(record.number, None)
        if record.failure is not None:
            self._failures[record.failure.kind] += 1
        # A failure stays above the live view, whose table shows only successes.
        if self._live is None or record.failure is not None:
            self._print(self._line(record))
        self._refresh()

    def stops(self) -> None:
        """Show that the run ends after the trials in progress."""
        self._is_stopping = True
        if self._live is None:
            self.say(_STOPPING)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(
                console=self._console,
                get_renderable=self._view,
                refresh_per_second=REFRESHES_PER_SECOND,
                # Erased at the end: whoever started the search prints its results below.
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if self._is_stopping and kind is None and self._done != self._trials:
            self.say(f"stopped after {self._budget()}; the same command resumes")

    def _print(self, text: Text) -> None:
        """Print a line; in a file or a pipe it stays one line, however long, for `grep`."""
        self._console.print(text, soft_wrap=not self._console.is_terminal)

    def _refresh(self) -> None:
        """Draw plot and table anew, which costs too much to do for every refresh."""
        if self._live is None or not self._measured:
            return
        height = min(12, self._console.height - ROWS_BESIDE_PLOT)
        best = [trial for trial in self._front if trial.loss <= USEFUL_LOSS] or self._front
        shown: list[RenderableType] = [front_table(best[:5], self._reference)]
        if height >= 5:
            records = list(self._measured.values())
            shown.insert(0, front_plot(records, self._reference, self._console.width, height))
        self._results = Group(*shown)

    def _view(self) -> RenderableType:
        head = Text.assemble((self._study, "bold"), "  ", self._budget())
        if self._failures:
            failed = ", ".join(f"{kind} {number}" for kind, number in self._failures.most_common())
            head.append(f"  failed: {failed}", "red")
        parts: list[RenderableType] = [head]
        if self._is_stopping:
            parts.append(Text(_STOPPING, "bold yellow"))
        # A copy: the view is drawn by a thread of its own, while trials begin and end in another.
        for number, record in list(self._current.items()):
            line = Text.assemble(f"trial {number}  ", figures.named(record))
            if len(self._current) > 1:
                line.append(f"  {self._stages.get(number, '')}", "dim")
            parts.append(line)
        return Group(*parts, self._stage, self._results)

    def _budget(self) -> str:
        """How far the run has come, and how long it will take."""
        spent = self._console.get_time() - self._began
        passed = figures.duration(spent)
        if self._seconds is not None:
            left = max(self._seconds - spent, 0.0)
            return f"{self._done} trials in {passed}, {figures.duration(left)} left"
        if self._trials is None:
            return f"{self._done} trials in {passed}"
        done = f"{self._before + self._done} of {self._before + self._trials} trials in {passed}"
        if not self._done:
            return done
        return f"{done}, about {figures.duration(spent / self._done * (self._trials - self._done))} left"

    def _line(self, record: TrialRecord) -> Text:
        """One finished trial."""
        text = Text.assemble(f"trial {record.number}: ", figures.named(record), ": ")
        if record.failure is not None:
            return text.append(f"failed ({record.failure.kind}): {record.failure.message}", "red")
        measured = record.measurement
        assert measured is not None
        text.append(
            f"{figures.milliseconds(measured.latency_ms)} ms, {figures.speedup(measured.latency):.2f}x, "
            f"loss {figures.loss(measured.quality.loss)}"
        )
        if record.reused_from is not None:
            text.append(f", reused from trial {record.reused_from}")
        if any(record.number == other.number for other in self._front):
            text.append(", on the front", "green")
        return text
