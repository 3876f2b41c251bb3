"""Figures as people read them, in plain text, so that nothing in the data can be taken for markup."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rich.text import Text

from autoprec.precisions import CURES, PRECISIONS
from autoprec.records import Assignment, Interval, Latency, Quality, Reference, TrialRecord

NOTHING = "-"
_FEW, _ENOUGH = 0.05, 8
"""Share of samples that counts as few, and the number of samples from which it does."""


def milliseconds(value: float) -> str:
    """About four significant digits: `0.8123`, `7.310`, `27.31`, `123.4`."""
    decimals = next((d for limit, d in ((1, 4), (10, 3), (100, 2)) if value < limit), 1)
    return f"{value:.{decimals}f}"


def loss(value: float) -> str:
    """Four decimals; a loss that is not 0 never reads as 0."""
    return "<0.0001" if 0 < value < 0.00005 else f"{value:.4f}"


def between(low: str, high: str) -> str:
    """An interval behind its figure."""
    return f"({low} to {high})"


def share(value: float | None) -> str:
    """A score from 0 to 1; a dash where a metric has none."""
    return NOTHING if value is None else f"{value:.3f}"


def loss_between(quality: Quality) -> str:
    """The interval of a loss; nothing for one sample, which has none."""
    if quality.samples == 1:
        return ""
    return between(loss(quality.loss_interval.low), loss(quality.loss_interval.high))


def carried(quality: Quality) -> str:
    """A warning if few samples carry half of the loss, which then says little about the rest; else empty."""
    # Of fewer than eight samples each carries much.
    few = max(1, round(_FEW * quality.samples))
    if not quality.carriers or quality.samples < _ENOUGH or quality.carriers > few:
        return ""
    return f"half of the loss is in {quality.carriers} of {quality.samples} samples"


def speedup(latency: Latency) -> float:
    """How many times as fast as the reference."""
    return 1 / latency.ratio


def speedup_interval(latency: Latency) -> Interval:
    """The interval of `speedup`."""
    # Turned over: the low end of the ratio is the high end of the speed-up.
    ratio = latency.ratio_interval
    return Interval(low=1 / ratio.high, high=1 / ratio.low, level=ratio.level)


def megabytes(size: int) -> str:
    """Bytes as MB."""
    return f"{size / 1e6:.1f}"


def count(value: int) -> str:
    """A large number with its unit prefix: `30.8 M`."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.1f} {unit}"
    return str(value)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def summary(assignment: Assignment) -> str:
    """The number of blocks in each precision, most frequent first: `bf16×14 int8×9 fp32×1`."""
    # Ties in the order of the table; stored studies may name precisions that it no longer has.
    order = list(PRECISIONS)
    counts = Counter(precision for _, precision in assignment.choices)
    names = sorted(
        counts, key=lambda name: (-counts[name], order.index(name) if name in order else len(order))
    )
    return " ".join(f"{short(name)}×{counts[name]}" for name in names)


def short(precision: str) -> str:
    """A precision, or an anchor's label, with the initials of its cures: `int8+p99.9+sfab`."""
    plain, *parts = precision.split("+")
    # A full name with four cures fills a line of a terminal.
    letters = "".join(part[0] for part in parts if part in CURES)
    return "+".join((plain, *(part for part in parts if part not in CURES), *([letters] if letters else [])))


def legend(precisions: Iterable[str]) -> list[str]:
    """What shortened names stand for, one line each."""
    return [f"{short(name)}: {name}" for name in dict.fromkeys(precisions) if short(name) != name]


def which(blocks: Sequence[str], total: int) -> str:
    """The names of some blocks, or "every block" if they are all of more than three."""
    return "every block" if len(blocks) == total > 3 else ", ".join(blocks)


def named(record: TrialRecord) -> Text:
    """The summary of an assignment; for an anchor its label, alone if the label says it all."""
    text = Text(summary(record.assignment))
    if not record.label:
        return text
    label = short(record.label)
    uniform = {name for _, name in record.assignment.choices} == {record.label.removeprefix("all-")}
    return Text(label, "bold") if uniform else Text.assemble((label, "bold"), " ", text)


def is_slower(record: TrialRecord, reference: Reference | None) -> bool:
    """Whether a trial is slower than the reference beyond noise, and so never to be recommended."""
    assert record.measurement is not None
    noise = reference.latency_noise if reference else 0.0
    return record.measurement.latency.ratio > 1 + noise


def ties(trials: Sequence[TrialRecord], reference: Reference | None) -> tuple[tuple[bool, bool], ...]:
    """For each trial of a front, whether its latency and its loss are within the noise of the one before."""
    if reference is None:
        return ((False, False),) * len(trials)
    # The first has none before it.
    pairs = zip((None, *trials), trials, strict=False)
    return tuple(
        (
            previous is not None
            and abs(trial.latency_ms / previous.latency_ms - 1) <= reference.latency_noise,
            previous is not None and abs(trial.loss - previous.loss) <= reference.loss_floor,
        )
        for previous, trial in pairs
    )


def marks(picks: Mapping[str, TrialRecord], accepted_loss: float) -> dict[int, str]:
    """What a trial is picked as, by number: `knee`, `fastest within 0.01`."""
    words = {"knee": "knee", "fastest": f"fastest within {accepted_loss:g}"}
    # One trial may be both.
    words_of: dict[int, list[str]] = {}
    for name, trial in picks.items():
        words_of.setdefault(trial.number, []).append(words[name])
    return {number: ", ".join(names) for number, names in words_of.items()}


def is_no_faster(record: TrialRecord, reference: Reference) -> bool:
    """Whether a trial gains nothing: it is the reference, or as fast within noise."""
    assert record.measurement is not None
    return record.measurement.latency.ratio >= 1 - reference.latency_noise
