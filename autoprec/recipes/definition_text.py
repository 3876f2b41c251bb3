"""A first definition as TOML, with comments on what the user should check."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Item, Table

from autoprec.quality import METRICS, cuts
from autoprec.recipes._base import Facts, Plan
from autoprec.spec import BackendSection
from autoprec.visible import visible

PRECISIONS = (
    "fp32", "fp16", "bf16",
    "int8", "int8+smooth+float-add+adaround+bias", "int8+smooth+float-add+pv-float+adaround+bias",
)  # fmt: skip
"""Precisions of a first definition, which proved worthwhile on the demo and on a trained text detector. The
last is for attention, and drops out where there is none."""
_DEFAULT_SETS = {"calibration": "data/calibration", "evaluation": "data/evaluation"}


def definition_text(
    facts: Facts,
    plan: Plan,
    folder: Path,
    *,
    recipe: str,
    sets: Mapping[str, Path | None],
) -> str:
    """The text of a definition.

    Args:
        facts: of the model and its decoder.
        plan: the recipe's plan for them.
        folder: where the file will be, to which its paths are relative.
        recipe: name of the recipe; "" for a guess.
        sets: the folders of `calibration` and `evaluation`; None for one that the user did not name.
    """

    def path(named: Path) -> str:
        return os.path.relpath(named, folder)

    document = tomlkit.document()
    document.add(tomlkit.comment("What autoprec searches; the documentation's reference has every key."))
    for reason in plan.reasons:
        document.add(tomlkit.comment(visible(f"{recipe or 'guessed'}: {reason}")))
    document["model"] = _table(
        path=path(facts.model), **({"shapes": _inline(facts.shapes)} if facts.shapes else {})
    )
    document["pipeline"] = _pipeline(facts, plan, path)
    document["samples"] = _samples(
        facts, plan, {name: path(named) if named else None for name, named in sets.items()}
    )
    if plan.blocks:
        document["blocks"] = _table(**plan.blocks)
    document["quality"] = _table(
        metric=_told(plan.metric, f'{", ".join(METRICS)}, or "module:function"'),
        **({"threshold": plan.threshold} if cuts(plan.metric) else {}),
    )
    document["search"] = _table(precisions=list(PRECISIONS))
    document["search"].add(tomlkit.comment('reference = "fp16"  # by default fp32 where FP16 runs as FP32'))
    document["backend"] = _table(name=BackendSection().name)
    return str(tomlkit.dumps(document))


def _pipeline(facts: Facts, plan: Plan, path: Any) -> Table:
    outputs = ", ".join(output.told for output in facts.last)
    keys: dict[str, Any] = {}
    if facts.decoder is not None:
        keys["decoder"] = _told(path(facts.decoder), "a fixed model behind it")
    # A decoder that the recipe has made gives nothing else.
    keys["output"] = _told(plan.output.name, f"masks; the outputs are: {outputs}" if outputs else "masks")
    if plan.layout != "nchw":
        keys["layout"] = plan.layout
    return _table(**keys)


def _samples(facts: Facts, plan: Plan, sets: Mapping[str, str | None]) -> Table:
    table = _table(**{name: sets.get(name) or usual for name, usual in _DEFAULT_SETS.items()})
    frame = facts.frame
    if frame is None or len(facts.inputs) > 1:
        listed = ", ".join(f"{name} {list(shape)}" for name, shape in facts.inputs.items())
        table.add(tomlkit.comment(visible(f".npz files with an array for each input: {listed}")))
        return table
    mean, std = (list(figures)[: frame.channels] for figures in (plan.mean, plan.std))
    mean += mean[-1:] * (frame.channels - len(mean))
    std += std[-1:] * (frame.channels - len(std))
    table["input"] = frame.name
    table["size"] = _told(list(frame.size), "height, width")
    if plan.resize != "stretch":
        table["resize"] = plan.resize
    table["mean"] = _told(mean, "of pixels in 0..1, as in the model's training")
    table["std"] = std
    return table


def _table(**keys: Any) -> Table:
    table = tomlkit.table()
    for key, value in keys.items():
        table[key] = value
    return table


def _inline(shapes: Mapping[str, Sequence[int]]) -> Any:
    table = tomlkit.inline_table()
    for name, shape in shapes.items():
        table[name] = list(shape)
    return table


def _told(value: Any, comment: str) -> Item:
    """A value with a comment behind it."""
    item: Item = tomlkit.item(value)
    # Names come from the model: a line break in one would end the comment and begin a key.
    item.comment(visible(comment))
    return item
