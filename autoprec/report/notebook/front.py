"""The Pareto front as Python and notebooks show it: short as text, a table as HTML with escaped names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

import jinja2

from autoprec.records import Reference, TrialRecord
from autoprec.report import _figures as figures

_TEMPLATE = jinja2.Environment(
    autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
).from_string("""\
<div>
{% if title %}
<p><b>{{ title }}</b>{% if note %}: {{ note }}{% endif %}</p>
{% endif %}
{% if rows %}
<table>
<thead><tr><th>trial</th><th>latency, ms</th><th>speed-up</th><th>mask loss</th><th>mIoU</th>\
<th>precisions</th></tr></thead>
<tbody>
{% for row in rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
{% endif %}
</div>
""")


class Front(tuple[TrialRecord, ...]):
    """The trials that no other beats in both latency and loss, fastest first.

    A tuple of trials; `reference` is the engine that they are compared with, None before it is measured.
    """

    reference: Reference | None

    def __new__(cls, trials: Iterable[TrialRecord] = (), reference: Reference | None = None) -> Self:
        """A front of trials in this order."""
        # In `__new__`: a tuple is filled before `__init__` could run.
        front = super().__new__(cls, trials)
        front.reference = reference
        return front

    def __repr__(self) -> str:
        if not self:
            return "Front(no trial)"
        lines = [f"  {trial!r}" for trial in self]
        return "\n".join((f"Front({len(self)} trials, fastest first:", *lines)) + ")"

    def _repr_html_(self) -> str:
        """A table, a row for each trial."""
        return _TEMPLATE.render(title="", note="", rows=_rows(self))


def study_html(
    name: str, trials: Sequence[TrialRecord], front: Sequence[TrialRecord], *, note: str = ""
) -> str:
    """A study's name, how much of it is measured, and its front.

    Args:
        name: name of the study.
        trials: all of its trials.
        front: those on the front, fastest first.
        note: shown in place of their numbers.
    """
    told = note or f"{len(trials)} trials, {len(front)} on the front"
    return _TEMPLATE.render(title=f"Study {name}", note=told, rows=_rows(front))


def _rows(trials: Iterable[TrialRecord]) -> list[tuple[str, ...]]:
    return [
        (
            str(trial.number),
            figures.milliseconds(trial.latency_ms),
            f"{figures.speedup(trial.measurement.latency):.2f}x",
            figures.loss(trial.loss),
            figures.share(trial.measurement.quality.miou),
            figures.named(trial).plain,
        )
        for trial in trials
        if trial.measurement is not None
    ]
