"""Choosing the output that holds the masks, and how to score them, from the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from autoprec.quality import CUT_ENDINGS, UNIT_ENDINGS, Layout, shape_refusal
from autoprec.recipes._base import Facts
from autoprec.records import ModelOutput

_NAMES = ("mask", "pha", "alpha", "matte", "seg", "label", "logit", "prob", "sal", "out")
"""Parts of the names of mask outputs, the most telling first."""


_LAYOUTS: tuple[Layout, ...] = ("nchw", "nhwc")


class Choice(NamedTuple):
    """An output, its layout, and why it was chosen."""

    output: ModelOutput
    layout: Layout
    reason: str


class Scoring(NamedTuple):
    """A metric with its threshold, and why."""

    metric: str
    threshold: float
    reason: str


def choose_output(facts: Facts, preferred: Sequence[str] = ()) -> Choice:
    """The output that looks most like masks; a recipe's `preferred` names come first."""
    outputs = facts.last
    size = None if facts.decoder or facts.frame is None else facts.frame.size
    fitting: list[tuple[tuple[int, ...], ModelOutput, Layout]] = []
    for place, output in enumerate(outputs):
        sizes = [size_ or 64 for size_ in output.shape]  # a free size may be anything
        layout = next((how for how in _LAYOUTS if not shape_refusal(output.name, sizes, how, size)), None)
        if layout is not None and (len(sizes) >= 3 or len(outputs) == 1):
            named = next((n for n, part in enumerate(_NAMES) if part in output.name.lower()), len(_NAMES))
            wanted = preferred.index(output.name) if output.name in preferred else len(preferred)
            plane = sizes[-3:-1] if layout == "nhwc" else sizes[-2:]
            # Order of preference: a recipe's names, the highest rank, telling names, the largest plane, the
            # first.
            fitting.append(((wanted, -len(sizes), named, -math.prod(plane), place), output, layout))
    others = [output.told for output in outputs]
    if not fitting:
        return Choice(outputs[0], "nchw", f"no output looks like masks: {', '.join(others)}")
    _, output, layout = min(fitting, key=lambda one: one[0])
    others.remove(output.told)
    behind = f"; others: {', '.join(others)}" if others else ""
    return Choice(output, layout, f"{output.told} looks like masks{behind}")


def planes_in(choice: Choice) -> int | None:
    """Number of masks in an output; None if that is free."""
    shape = choice.output.shape
    if len(shape) < 3:
        return 1
    place = -1 if choice.layout == "nhwc" else -3
    return shape[place]


def choose_scoring(choice: Choice) -> Scoring:
    """A metric that can see damage in such an output."""
    ending, planes = choice.output.ending, planes_in(choice)
    # Of a volume [batch, masks, depth, height, width] each slice is a plane of one mask.
    many = planes is not None and planes > 1 and len(choice.output.shape) < 5
    if ending in ("ArgMax", "ArgMin"):
        return Scoring("label_iou", 0.0, f"it ends in {ending}: a map of classes")
    if ending == "Softmax" and many:
        return Scoring("argmax_iou", 0.0, f"it ends in Softmax over {planes} planes: a class for each")
    if ending in UNIT_ENDINGS:
        half = choice.output.scale / 2
        return Scoring("mask_iou", half, f"it ends in {ending}: probabilities, cut at {half:g}")
    if ending in CUT_ENDINGS:
        half = choice.output.scale / 2
        return Scoring("mask_iou", half, f"it ends in {ending}: masks that are cut already")
    if many and "mask" not in choice.output.name.lower():
        return Scoring(
            "argmax_iou",
            0.0,
            f"{planes} planes, no final activation: a class for each (otherwise mask_iou)",
        )
    return Scoring("mask_iou", 0.0, "no final activation: logits, cut at 0")
