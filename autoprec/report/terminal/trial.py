"""Everything that is known about one trial."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autoprec.records import (
    Block,
    BlockAudit,
    Clocks,
    Departure,
    Latency,
    Measurement,
    Quality,
    Reference,
    TrialRecord,
)
from autoprec.report import _figures as figures
from autoprec.report.fidelity import exactness_words, fidelity_lines
from autoprec.report.terminal._columns import Column, Columns

STATES = {"complete": "green", "failed": "red", "running": "yellow"}
NOT_SEEN = BlockAudit(block="", asked="", ran="", matches=None, time_ms=0.0)
VERDICTS = {True: Text("yes", "green"), False: Text("NO", "bold red"), None: Text("?", "dim")}


def trial_view(
    record: TrialRecord,
    blocks: Sequence[Block],
    reference: Reference | None = None,
    fidelity: Sequence[Departure] = (),
    clock: str = "",
) -> RenderableType:
    """One trial: what was requested, all figures with intervals, and what each block ran in.

    Args:
        record: the trial.
        blocks: of its study.
        reference: what it is compared with.
        fidelity: how far the study's steps depart from the original model.
        clock: what its latency measures, as from `backends.clocks`.
    """
    facts = [
        ("trial", Text.assemble((str(record.number), "bold"), f" of {record.study}, {_origin(record)}")),
        ("state", Text(record.state, STATES[record.state])),
        ("precisions", figures.named(record)),
        ("measured", Text(f"{record.start} to {record.end or 'now'}")),
    ]
    if record.worker:
        facts.append(("ran on", Text(record.worker)))
    if record.failure is not None:
        facts.append(("failure", Text(f"{record.failure.kind}: {record.failure.message}", "red")))
    if record.measurement is not None:
        facts += [(name, Text(value)) for name, value in _figures_of(record.measurement, reference, clock)]
        if record.excess_mb > 0:
            facts.append(("over limit", Text(f"by {record.excess_mb:.1f} MB of memory: on no front", "red")))
    facts += [
        ("" if place else "original", Text(line)) for place, line in enumerate(fidelity_lines(fidelity))
    ]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    # Folded, not cut: messages of failures are copied from here.
    grid.add_column(overflow="fold")
    for name, value in facts:
        grid.add_row(name, value)
    used = (precision for _, precision in record.assignment.choices)
    below = (*figures.legend(used), *_profiled(record))
    return Group(grid, Text(), _blocks(record, blocks), *map(Text, below))


def _profiled(record: TrialRecord) -> list[str]:
    """What the times of blocks are, which do not add up to the trial's latency; empty without any."""
    audit = record.measurement.audit if record.measurement is not None else ()
    if not (total := sum(block.time_ms for block in audit)):
        return []
    whole = f"{figures.milliseconds(total)} ms together"
    return [f"ms: of a separate, profiled run, {whole}; profiling adds time, so compare shares, not sums"]


def _origin(record: TrialRecord) -> str:
    if record.reused_from is not None:
        return f"reused from trial {record.reused_from}"
    return record.origin


def _figures_of(measured: Measurement, reference: Reference | None, clock: str) -> list[tuple[str, str]]:
    """(name, figure) lines of a measurement."""
    quality, seconds = measured.quality, measured.seconds
    lines = [
        ("latency", _latency(measured, clock)),
        ("speed-up", _speedup(measured.latency)),
        ("mask loss", _loss(quality, reference)),
        ("masks", _masks(quality)),
        ("worst 5%", f"loss {figures.loss(quality.worst_loss)}"),
        *_logits(quality),
    ]
    truth, against_truth = (
        ("score", quality.truth_score) if quality.miou is None else ("mIoU", quality.truth_miou)
    )
    if against_truth is not None:
        lines.append(("ground truth", f"{truth} {against_truth:.4f}"))
    # Compared for those alone that may be recommended: it takes seconds.
    if measured.exactness is not None:
        lines.append(("exactness", exactness_words(measured.exactness)))
    if words := figures.carried(quality):
        lines.append(("few samples", f"{words}: look at those first"))
    if quality.worst:
        # Three to look at first; `--json` has them all.
        worst = (f"{score.sample} mask {score.mask}: {score.score:.3f}" for score in quality.worst[:3])
        lines.append(("worst masks", ", ".join(worst)))
    engine, memory = figures.megabytes(measured.engine_bytes), figures.megabytes(measured.peak_memory_bytes)
    stages = (f"{stage} {spent:.2f}" for stage, spent in msgspec.structs.asdict(seconds).items())
    lines += [("engine", f"{engine} MB, peak memory {memory} MB"), ("seconds", ", ".join(stages))]
    if clocks := _clocks(measured.latency.before, measured.latency.after):
        lines.append(("device", clocks))
    return lines


def _logits(quality: Quality) -> list[tuple[str, str]]:
    """The error of logits; empty without them, since a target may send only masks."""
    if quality.logit_error is None:
        return []
    return [("logits", f"error {quality.logit_error:.4f} of their standard deviation")]


def _latency(measured: Measurement, clock: str) -> str:
    ms, latency = figures.milliseconds, measured.latency
    spread = figures.between(ms(latency.p10_ms), ms(latency.p90_ms))
    what = f" of {clock}" if clock else ""
    # The figure is the ratio times the study's reference; the median of the rounds drifts with the machine.
    rounds = f"{ms(latency.median_ms)} ms {spread} in the {latency.rounds} rounds themselves"
    return f"{ms(measured.latency_ms)} ms{what}, by the paired ratio; {rounds}"


def _speedup(latency: Latency) -> str:
    fast = figures.speedup_interval(latency)
    spread = figures.between(f"{fast.low:.3f}", f"{fast.high:.3f}")
    reference = figures.milliseconds(latency.reference_median_ms)
    return f"{figures.speedup(latency):.3f}x {spread}; the reference took {reference} ms in these rounds"


def _loss(quality: Quality, reference: Reference | None) -> str:
    """The loss, what it was computed on, and how much of it is noise."""
    figure = f"{figures.loss(quality.loss)} {figures.loss_between(quality)}".strip()
    small = f", {quality.small_masks} of them nearly empty and counted less" if quality.small_masks else ""
    if quality.carriers:
        small += f"; half of it is in {quality.carriers} of these"
    # What another order of float operations changes, in a model that computes the same.
    noise = (
        "" if reference is None else f"; {figures.loss(reference.loss_floor)} of it may be noise of floats"
    )
    return f"{figure}; {quality.masks} masks of {quality.samples} samples{small}{noise}"


def _masks(quality: Quality) -> str:
    """The scores that the metric has, and what was compared."""
    scores = {"mIoU": quality.miou, "boundary IoU": quality.boundary_iou}
    parts = [f"{name} {score:.4f}" for name, score in scores.items() if score is not None]
    return ", ".join([*parts, *([quality.scored_as] if quality.scored_as else [])])


def _clocks(before: Clocks, after: Clocks) -> str:
    """Readings of the device before and after the rounds."""
    units = {
        "sm_mhz": "SM MHz",
        "memory_mhz": "memory MHz",
        "power_watts": "W",
        "temperature_celsius": "C",
        "cpu_mhz": "CPU MHz",
        "load_average": "load",
    }
    parts = [
        f"{unit} {first:.4g} to {last:.4g}"
        for field, unit in units.items()
        if (first := getattr(before, field)) is not None and (last := getattr(after, field)) is not None
    ]
    reasons = sorted({*before.throttle_reasons, *after.throttle_reasons})
    parts += [f"throttled: {reason}" for reason in reasons]
    parts += [f"power mode {after.power_mode}"] if after.power_mode else []
    # The larger one: whoever left before the end disturbed the first rounds.
    others = max(before.other_processes or 0, after.other_processes or 0)
    return ", ".join([*parts, f"{others} other processes on the GPU"] if others else parts)


def _blocks(record: TrialRecord, blocks: Sequence[Block]) -> Columns:
    """What each block was requested in, what it ran in, and its time."""
    macs = {block.name: block.macs for block in blocks}
    rows = record.assignment.choices
    columns = [
        Column("block", [Text(block, "bold") for block, _ in rows], right=False),
        Column("asked", [figures.short(precision) for _, precision in rows], right=False),
        Column("MACs", [figures.count(macs.get(block, 0)) for block, _ in rows], 4),
    ]
    if record.measurement is not None:
        audits = {audit.block: audit for audit in record.measurement.audit}
        columns += _ran([audits.get(block, NOT_SEEN) for block, _ in rows])
    return Columns(columns)


def _ran(audits: Sequence[BlockAudit]) -> list[Column]:
    """Columns of what the engine reported of each block."""
    # Without a profile all times are 0, and a share of nothing says less than a dash.
    nothing, total = figures.NOTHING, sum(audit.time_ms for audit in audits)
    return [
        Column("ran", [audit.ran or nothing for audit in audits], right=False),
        Column("as asked", [VERDICTS[audit.matches] for audit in audits], right=False),
        Column("ms", [figures.milliseconds(a.time_ms) if a.time_ms else nothing for a in audits], 1),
        Column("share", [f"{100 * a.time_ms / total:.1f} %" if total else nothing for a in audits], 2),
        Column("kernels", [audit.detail for audit in audits], 5, right=False),
    ]
