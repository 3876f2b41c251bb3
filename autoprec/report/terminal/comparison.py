"""Two studies side by side, in tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from autoprec.records import Comparison, Interval, Match, Movement, Side
from autoprec.report import _figures as figures
from autoprec.report.terminal._columns import Column, Columns

STYLES: dict[Movement, Text] = {
    "same": Text("same", "dim"),
    "better": Text("better", "green"),
    "worse": Text("worse", "red"),
}
_SHOWN = 12


def comparison_view(comparison: Comparison) -> RenderableType:
    """Both sides, then the fastest points within some losses, then what was measured on both."""
    parts: list[RenderableType] = [_sides(comparison.first, comparison.second, comparison.loss_limit)]
    if comparison.differs:
        parts.append(Text(f"not the same in both: {'; '.join(comparison.differs)}"))
    if comparison.fastest:
        parts.append(
            _matches("fastest within", [match.what for match in comparison.fastest], comparison.fastest)
        )
    else:
        parts.append(Text("no loss limit has a point on both sides"))
    if comparison.repeated:
        # All are counted below, in `_moved`: two long studies share hundreds.
        shown = comparison.repeated[:_SHOWN]
        parts.append(_matches("measured in both", [match.what for match in shown], shown))
        parts.append(Text(_moved(comparison.repeated)))
    else:
        studies = {side.name.partition("@")[0] for side in (comparison.first, comparison.second)}
        how = "in both" if len(studies) == 2 else "again"
        parts.append(Text(f"no assignment was measured {how}"))
    return Group(*parts)


def _workers(side: Side) -> str:
    """Number of workers, and the sum of their rates."""
    rates = [share.trials_an_hour for share in side.workers if share.trials_an_hour is not None]
    return f"{len(side.workers)}, {sum(rates):.0f} trials an hour" if side.workers else "unknown"


def _sides(first: Side, second: Side, limit: float) -> Columns:
    both = (first, second)
    return Columns(
        (
            Column("study", [Text(side.name, "bold") for side in both], right=False),
            Column("trials", [str(side.trials) for side in both]),
            Column(
                "reference ms",
                [f"{side.reference} {figures.milliseconds(side.reference_ms)}" for side in both],
            ),
            Column("noise", [f"{100 * side.latency_noise:.1f} %" for side in both], 1),
            Column(f"area to {limit:g}", [f"{100 * side.area:.1f} %" for side in both]),
            Column(
                "engine", [f"{side.engine.backend} {side.engine.version}" for side in both], 2, right=False
            ),
            Column("device", [side.engine.device for side in both], 3, right=False),
            Column("workers", [_workers(side) for side in both], 4, right=False),
        )
    )


def _matches(title: str, names: Sequence[str], matches: Sequence[Match]) -> Columns:
    return Columns(
        (
            Column(title, list(names), right=False),
            Column("trials", [f"{match.first.number}, {match.second.number}" for match in matches]),
            Column("speed-up", [f"{match.first.speedup:.2f}x" for match in matches]),
            Column("interval", [_between(match.first.interval) for match in matches], 3),
            Column("then", [f"{match.second.speedup:.2f}x" for match in matches]),
            Column("interval", [_between(match.second.interval) for match in matches], 4),
            Column("speed", [STYLES[match.speed] for match in matches], right=False),
            Column("loss", [figures.loss(match.first.loss) for match in matches]),
            Column("then", [figures.loss(match.second.loss) for match in matches]),
            Column("masks", [STYLES[match.masks] for match in matches], right=False),
        )
    )


def _moved(matches: Sequence[Match]) -> str:
    """A sentence on how many of the repeated assignments moved."""
    speed, masks = (Counter(getattr(match, name) for match in matches) for name in ("speed", "masks"))
    return (
        f"of {len(matches)} assignments measured in both: speed {speed['better']} better, "
        f"{speed['worse']} worse, {speed['same']} within noise; masks {masks['better']} better, "
        f"{masks['worse']} worse, {masks['same']} within noise"
    )


def _between(interval: Interval) -> str:
    return figures.between(f"{interval.low:.2f}", f"{interval.high:.2f}")
