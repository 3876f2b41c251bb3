"""The report's document: what goes where. Words and figures only; the layout is in `template/`.

Jinja escapes every value, chart data are JSON with `<` escaped, and the document's Content-Security-Policy
lets nothing be fetched.
"""

from __future__ import annotations

import base64
import functools
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import msgspec
from markupsafe import Markup

from autoprec.records import Findings, Picture, TrialRecord, counting
from autoprec.report import _figures as figures
from autoprec.report.fidelity import fidelity_lines
from autoprec.report.page.axes import by_precision
from autoprec.report.page.block_charts import heat_map, sensitivity_chart, time_chart
from autoprec.report.page.charts import front_chart, progress_chart
from autoprec.report.page.costs import cost_curves
from autoprec.report.page.graph import block_graph
from autoprec.report.terminal import story
from autoprec.report.terminal.workers import shares, shares_line
from autoprec.report.vega import vega

_TEMPLATES = Path(__file__).parent / "template"
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_TEMPLATES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(findings: Findings) -> str:
    """The report as one HTML document that contains its pictures and scripts."""
    shown = {
        "front": front_chart(findings) if findings.volumes else None,
        "progress": progress_chart(findings) if findings.volumes else None,
        "heat": heat_map(findings) if findings.front else None,
        "time": time_chart(findings),
        "sensitivity": sensitivity_chart(findings),
    }
    specs = {name: spec for name, spec in shown.items() if spec is not None}
    return _ENVIRONMENT.get_template("page.html").render(
        found=findings,
        reference=findings.reference,
        figures=figures,
        charts=specs,
        graph=block_graph(findings),
        costs=cost_curves(findings),
        specs=_inert(specs),
        library=_library(),
        style=Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8")),  # noqa: S704
        script=Markup((_TEMPLATES / "page.js").read_text(encoding="utf-8")),  # noqa: S704
        summary=_summary(findings),
        points=list(_points(findings)),
        ties=figures.ties(findings.front, findings.reference),
        failures=_failures(findings.trials),
        wrong=_mismatches(findings.front),
        unsaid=sum(row.matches is None for record in findings.front for row in _audit(record)),
        commands=_commands(findings),
        date=_date,
        story=story,
        fidelity=fidelity_lines(findings.fidelity),
        workers=shares_line(shares(findings.trials)),
    )


@functools.cache
def _library() -> Markup:
    """Vega, Vega-Lite and Vega-Embed as one script, cached because bundling takes a second."""
    script = vega("javascript_bundle", "window.vegaEmbed = vegaEmbed;").decode()
    # A `</script` inside a string of the library would end the script element.
    return Markup(script.replace("</script", "<\\/script"))  # noqa: S704 - their own code


def _inert(value: Any) -> Markup:
    """JSON that cannot be taken for markup inside a script element."""
    text = msgspec.json.encode(value).decode()
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028"))  # noqa: S704


def _summary(findings: Findings) -> list[tuple[str, str]]:
    """The tiles at the head of the report: (figure, what it is)."""
    measured = counting(findings.trials)
    tiles = []
    for title, limit in (("within a loss of 0.01", 0.01), ("within a loss of 0.05", 0.05)):
        fit = [t for t in measured if t.loss <= limit and not figures.is_slower(t, findings.reference)]
        if fit and (best := min(fit, key=lambda t: t.latency_ms)).measurement is not None:
            speedup = figures.speedup(best.measurement.latency)
            tiles.append((f"{speedup:.2f}x", f"fastest {title} (trial {best.number})"))
    nights = "1 night" if len(findings.nights) == 1 else f"{len(findings.nights)} nights"
    tiles.append((str(len(measured)), f"trials measured in {nights}"))
    tiles.append((str(len(findings.front)), "points on the front"))
    if findings.reference is not None:
        tiles.append(
            (f"{100 * findings.reference.latency_noise:.1f} %", "noise of the latency: closer is a tie")
        )
    return tiles


def _points(findings: Findings) -> Iterator[dict[str, Any]]:
    """The front's points that are shown in full."""
    for record in findings.front:
        explanation = findings.explanations.get(record.number)
        if explanation is None or record.measurement is None or findings.reference is None:
            continue
        inspection = findings.inspections.get(record.number)
        yield {
            "record": record,
            "measured": record.measurement,
            "is_picked": record.number == findings.picked,
            "headline": list(story.headline(explanation, findings.reference)),
            "explanation": explanation,
            "assignment": by_precision(record.assignment),
            "pictures": [_embedded(picture) for picture in inspection.pictures] if inspection else [],
        }


def _embedded(picture: Picture) -> dict[str, Any]:
    """A picture with its layers as data URLs; missing files are left out."""
    layers = {
        # Within the page: it is one file, that is mailed, and read without the study.
        name: f"data:image/webp;base64,{base64.b64encode(Path(path).read_bytes()).decode()}"
        for name in ("image", "reference", "candidate", "difference")
        if (path := getattr(picture, name)) and Path(path).is_file()
    }
    return {"picture": picture, "layers": layers}


class _Failures(NamedTuple):
    """How often trials failed in one way, and the message of the last one."""

    kind: str
    times: int
    message: str


def _failures(trials: Sequence[TrialRecord]) -> list[_Failures]:
    """The ways in which trials failed, most frequent first."""
    failures = [record.failure for record in trials if record.failure is not None]
    last = {failure.kind: failure.message for failure in failures}
    return [
        _Failures(kind, count, last[kind])
        for kind, count in Counter(failure.kind for failure in failures).most_common()
    ]


def _audit(record: TrialRecord) -> Sequence[Any]:
    return record.measurement.audit if record.measurement else ()


class _Mismatch(NamedTuple):
    """What a block was asked to run in and what it ran in instead, in these trials."""

    asked: str
    ran: str
    block: str
    trials: str


def _mismatches(front: Sequence[TrialRecord]) -> list[_Mismatch]:
    """A row for each block and kind, sorted."""
    trials: dict[tuple[str, str, str], list[int]] = {}
    for record in front:
        for row in _audit(record):
            if row.matches is False:
                trials.setdefault((row.asked, row.ran, row.block), []).append(record.number)
    return [_Mismatch(*key, ", ".join(map(str, numbers))) for key, numbers in sorted(trials.items())]


def _date(text: str) -> str:
    """An ISO 8601 date in UTC, to the minute: `2026-01-01 00:00 UTC`."""
    return f"{text[:10]} {text[11:16]} UTC" if text else "not ended"


def _commands(findings: Findings) -> list[str]:
    """Commands to continue the search, and to reproduce the report's contents."""
    study = shlex.quote(findings.study)
    commands = [f"autoprec search --study {study} --budget 8h", f"autoprec report --study {study}"]
    if findings.picked is not None:
        commands += [
            f"autoprec explain {findings.picked} --study {study}",
            f"autoprec export --study {study} --trial {findings.picked}",
            f"autoprec verify studies/{study}/exports/trial-{findings.picked}",
        ]
    return commands
