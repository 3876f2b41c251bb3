"""What each precision costs a block alone: a small curve for each block.

Points are losses with this block alone in a precision, and all others as in the reference: from the search's
sensitivities, on a few images, or from such trials, on all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from autoprec.precisions import PRECISIONS
from autoprec.records import Findings, counting
from autoprec.report import _figures as figures
from autoprec.report.page.axes import COLOURS, QUIET, plain

_LINE = 17
"""Pixels of one precision's row."""
_LEFT, _RIGHT = 40.0, 95.0
"""Ends of the axis, in percent of the width."""
_LEAST = 1e-4
"""Smaller losses are drawn here, since 0 has no logarithm."""
TICKS = (0.001, 0.03, 1.0)
"""Far enough apart for their labels on the narrowest curve."""


class CostPoint(NamedTuple):
    """One precision of a block: x in percent, y in pixels. `is_whole` for a trial's loss, on all images."""

    precision: str
    whole: str
    x: float
    y: int
    loss: str
    colour: str
    is_whole: bool
    is_picked: bool


class CostCurve(NamedTuple):
    """One block's points, from the widest precision to the narrowest; `ticks` are (x, label)."""

    block: str
    height: int
    points: tuple[CostPoint, ...]
    ticks: tuple[tuple[float, str], ...]


def cost_curves(findings: Findings) -> tuple[CostCurve, ...]:
    """A curve for each block with more than one known loss, in graph order."""
    alone = _alone(findings)
    losses = [loss for row in alone.values() for loss, _ in row.values()]
    # Never narrower: noise alone would fill the width.
    top = max([0.03, *losses])
    picked = next((t.assignment.as_dict() for t in findings.trials if t.number == findings.picked), {})
    ticks = tuple((_x(tick, top), f"{tick:g}") for tick in TICKS if tick <= top)
    return tuple(
        CostCurve(
            block=block.name,
            height=_LINE * len(alone[block.name]) + 18,
            points=tuple(
                CostPoint(
                    precision=figures.short(name),
                    whole=name,
                    x=_x(loss, top),
                    y=_LINE * place + 10,
                    loss=figures.loss(loss),
                    colour=COLOURS.get(plain(name), QUIET),
                    is_whole=is_whole,
                    is_picked=picked.get(block.name) == name,
                )
                for place, (name, (loss, is_whole)) in enumerate(_ordered(alone[block.name]))
            ),
            ticks=ticks,
        )
        for block in findings.blocks
        if len(alone.get(block.name, {})) > 1
    )


Alone = dict[str, tuple[float, bool]]
"""By precision: the loss with the block alone in it, and whether a whole trial measured that."""


def _alone(findings: Findings) -> dict[str, Alone]:
    """What is known of each block; the reference's own precision has no loss by definition."""
    # Every explanation names the same reference.
    usual = next(({b.block: b.usual for b in one.blocks} for one in findings.explanations.values()), {})
    table: dict[str, Alone] = {block: {precision: (0.0, True)} for block, precision in usual.items()}
    for block, row in findings.sensitivity.items():
        table.setdefault(block, {}).update({name: (loss, False) for name, loss in row.items()})
    # After the sensitivities, which it replaces: a trial is scored on all images.
    for block, precision, loss in _single(findings, usual):
        table[block][precision] = loss, True
    return table


def _single(findings: Findings, usual: dict[str, str]) -> Iterator[tuple[str, str, float]]:
    """(block, precision, loss) of trials that differ from the reference in one block alone."""
    for trial in counting(findings.trials):
        choices = trial.assignment.as_dict()
        differing = [name for name in usual if choices.get(name) != usual[name]]
        # Refined weights change more than the block's precision.
        if len(differing) == 1 and not trial.assignment.weights:
            yield differing[0], choices[differing[0]], trial.loss


def _ordered(row: Alone) -> list[tuple[str, tuple[float, bool]]]:
    """From the widest precision to the narrowest, a variant below its plain one."""
    order = list(PRECISIONS)

    def place(name: str) -> tuple[int, str]:
        name_alone = plain(name)
        return (order.index(name_alone) if name_alone in order else len(order)), name

    return sorted(row.items(), key=lambda item: place(item[0]))


def _x(loss: float, top: float) -> float:
    """Percent of the width, on a logarithmic axis."""
    if not math.isfinite(loss):
        return _RIGHT
    share = math.log(max(loss, _LEAST) / _LEAST) / math.log(max(top, 10 * _LEAST) / _LEAST)
    return round(_LEFT + (_RIGHT - _LEFT) * min(1.0, share), 2)
