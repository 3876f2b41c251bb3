"""Why a trial is as fast and as good as it is, block by block, from other trials and profiles.

Pure functions of records; `inspections.py` runs what has to run first. Nothing is summed over blocks, because
their losses do not add up: each block is judged by whole trials that differ in it and in little else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from autoprec.errors import StudyError
from autoprec.graph.rewrite.projections import origin
from autoprec.precisions import PRECISIONS
from autoprec.records import (
    Block,
    BlockReasons,
    Border,
    Explanation,
    Inspection,
    Interval,
    KernelTime,
    Measurement,
    Neighbour,
    Reference,
    Sureness,
    TrialRecord,
    as_counted,
    counting,
)

NEAREST = 3
"""Most blocks in which a trial may differ, since with more it says little about each; and how many such
trials are shown for each block."""
VISIBLE_LOSS = 1e-4
"""Smaller differences of mask loss are not worth mentioning, whatever the noise."""


class Explainer:
    """Explains the trials of one study.

    Args:
        blocks: in graph order.
        trials: all trials of the study.
        reference: the engine that they are compared with.
        base: float precision around the integers of quantised blocks.
        sensitivity: loss with one block alone in a precision, by block name, then precision name.
        usual: the reference's own inspection, if there is one.

    Raises `StudyError` for a trial of other blocks.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        trials: Sequence[TrialRecord],
        reference: Reference,
        *,
        base: str,
        sensitivity: Mapping[str, Mapping[str, float]],
        usual: Inspection | None = None,
    ) -> None:
        self._blocks, self._reference, self._base = blocks, reference, base
        self._sensitivity = sensitivity
        self._measured = counting(trials)
        _ensure_of(blocks, self._measured)
        self._choices = [t.assignment.as_dict() for t in self._measured]
        name = reference.precision.removesuffix("-safe")
        anchor = next((t for t in self._measured if t.label == f"all-{name}"), None)
        self._usual = anchor.assignment.as_dict() if anchor else {b.name: name for b in blocks}
        self._usual_times = _times(blocks, usual, anchor, reference.latency_ms)
        self._usual_kernels = _kernel_counts(blocks, usual)
        self._usual_conversions = _outside(blocks, usual, reference.latency_ms)

    def explain(self, record: TrialRecord, inspection: Inspection | None = None) -> Explanation:
        """Explain one trial. Raises `StudyError` for a trial without a measurement."""
        record = as_counted(record, self._measured)
        _ensure_of(self._blocks, (record,))
        if record.measurement is None:
            raise StudyError(
                f"trial {record.number} of study {record.study!r} has no measurement ({record.state}); "
                "`autoprec front` lists trials that can be explained"
            )
        latency, quality = record.measurement.latency, record.measurement.quality
        times = _times(self._blocks, inspection, record, record.latency_ms)
        kernels = _kernel_counts(self._blocks, inspection)
        neighbours = self._neighbours(record, record.measurement)
        ratio = latency.ratio_interval
        return Explanation(
            number=record.number,
            speedup=1 / latency.ratio,
            speedup_interval=Interval(low=1 / ratio.high, high=1 / ratio.low, level=ratio.level),
            loss=quality.loss,
            loss_interval=quality.loss_interval,
            blocks=tuple(self._block(record, b, times, kernels, neighbours) for b in self._blocks),
            conversion_ms=_outside(self._blocks, inspection, record.latency_ms),
            usual_conversion_ms=self._usual_conversions,
        )

    def _block(
        self,
        record: TrialRecord,
        block: Block,
        times: Mapping[str, float],
        kernels: Mapping[str, int],
        neighbours: Sequence[Neighbour],
    ) -> BlockReasons:
        choices = record.assignment.as_dict()
        name, precision = block.name, choices[block.name]
        others = Counter(theirs.get(name, "") for theirs in self._choices)
        losses = self._sensitivity.get(name, {})
        # A cured variant that was not measured alone is told by its plain precision.
        alone = losses.get(precision, losses.get(PRECISIONS[precision].plain))
        near = tuple(n for n in neighbours if name in dict(n.choices))[:NEAREST]
        return BlockReasons(
            block=name,
            precision=precision,
            usual=self._usual[name],
            time_ms=times.get(name),
            usual_ms=self._usual_times.get(name),
            kernels=kernels.get(name, 0),
            usual_kernels=self._usual_kernels.get(name, 0),
            alone=alone,
            borders=tuple(self._borders(block, choices)),
            neighbours=near,
            tried=tuple((p, count) for p, count in others.most_common() if p not in ("", precision)),
            sureness=_sureness(near, alone),
        )

    def _neighbours(self, record: TrialRecord, measured: Measurement) -> list[Neighbour]:
        """Trials that differ in 1 to `NEAREST` blocks, nearest first."""
        mine, near = record.assignment.as_dict(), []
        for other, theirs in zip(self._measured, self._choices, strict=True):
            differing = tuple((b, p) for b, p in theirs.items() if mine.get(b) != p)
            if other.measurement is not None and 0 < len(differing) <= NEAREST:
                near.append(self._compared(measured, other.number, other.measurement, differing))
        return sorted(near, key=lambda neighbour: (len(neighbour.choices), neighbour.number))

    def _compared(
        self, mine: Measurement, number: int, theirs: Measurement, choices: tuple[tuple[str, str], ...]
    ) -> Neighbour:
        reference = self._reference
        latency, loss = theirs.latency_ms - mine.latency_ms, theirs.quality.loss - mine.quality.loss
        first, second = mine.latency.ratio_interval, theirs.latency.ratio_interval
        apart = first.high < second.low or second.high < first.low
        return Neighbour(
            number=number,
            choices=choices,
            latency_ms=latency,
            latency_is_sure=apart and abs(latency) > reference.latency_noise * reference.latency_ms,
            loss=loss,
            # Both were scored on the same samples, so only the noise of floats and builds counts.
            loss_is_sure=abs(loss) > max(reference.loss_floor, VISIBLE_LOSS),
        )

    def _borders(self, block: Block, choices: Mapping[str, str]) -> Iterator[Border]:
        """Neighbouring blocks with another float type, and the number of tensors between them."""
        here = choices[block.name]
        for other in self._blocks:
            there = choices[other.name]
            if other.name == block.name or self._float_type(here) == self._float_type(there):
                continue
            for enters, ends in (
                (True, (block.inputs, other.outputs)),
                (False, (block.outputs, other.inputs)),
            ):
                if tensors := len({*ends[0]} & {*ends[1]}):
                    yield Border(other=other.name, enters=enters, tensors=tensors, here=here, there=there)

    def _float_type(self, precision: str) -> str:
        """Name of the float type of tensors at the borders of a block."""
        float_type = PRECISIONS[precision].float_type or PRECISIONS[self._base].float_type
        return float_type.name if float_type else ""


def _sureness(neighbours: Sequence[Neighbour], alone: float | None) -> Sureness:
    if any(len(neighbour.choices) == 1 for neighbour in neighbours):
        return "measured"
    if neighbours:
        return "indicated"
    return "unknown" if alone is None else "prior"


def _times(
    blocks: Sequence[Block], inspection: Inspection | None, record: TrialRecord | None, latency_ms: float
) -> dict[str, float]:
    """Milliseconds of each block: from the inspection, else from the trial's own profile if it has one."""
    if inspection is None:
        measured = record.measurement if record else None
        times = {row.block: row.time_ms for row in measured.audit if row.time_ms > 0} if measured else {}
        total = sum(times.values())
    else:
        home = _home(blocks)
        times = dict.fromkeys((block.name for block in blocks), 0.0)
        for kernel in inspection.kernels:
            ours = _blocks_of(kernel, home)
            for name in ours:
                times[name] += kernel.time_ms / len(ours)
        total = sum(kernel.time_ms for kernel in inspection.kernels)
    # Profiling slows an engine, so each block gets its share of the latency that was measured without it.
    return {name: time / total * latency_ms for name, time in times.items()} if total else {}


def _kernel_counts(blocks: Sequence[Block], inspection: Inspection | None) -> dict[str, int]:
    """Number of kernels that run each block's nodes; one that spans blocks counts for each."""
    if inspection is None:
        return {}
    home = _home(blocks)
    return Counter(name for kernel in inspection.kernels for name in {*_blocks_of(kernel, home)})


def _outside(blocks: Sequence[Block], inspection: Inspection | None, latency_ms: float) -> float | None:
    """Milliseconds of kernels without a node of any block: casts and changes of layout."""
    total = sum(kernel.time_ms for kernel in inspection.kernels) if inspection else 0.0
    if inspection is None or not total:
        return None
    home = _home(blocks)
    outside = sum(kernel.time_ms for kernel in inspection.kernels if not _blocks_of(kernel, home))
    return outside / total * latency_ms


def _blocks_of(kernel: KernelTime, home: Mapping[str, str]) -> list[str]:
    """The block of each node in a kernel, without nodes that are in no block."""
    return [home[node] for node in (origin(node, home) for node in kernel.nodes) if node in home]


def _home(blocks: Sequence[Block]) -> dict[str, str]:
    """Node name to block name."""
    return {node: block.name for block in blocks for node in block.nodes}


def _ensure_of(blocks: Sequence[Block], trials: Sequence[TrialRecord]) -> None:
    """Raise `StudyError` for a trial that chooses for other blocks than its study has."""
    names = {block.name for block in blocks}
    for trial in trials:
        if set(trial.assignment.as_dict()) != names:
            raise StudyError(
                f"trial {trial.number} of study {trial.study!r} is damaged: it chooses for other blocks than "
                "the study has; run `autoprec doctor --study` on it"
            )
