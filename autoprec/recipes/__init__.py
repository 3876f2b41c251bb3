"""First definitions: what each family of mask models needs, and what can be guessed for any other.

A new recipe is one function from `Facts` to `Plan` and one line here.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from autoprec.errors import SpecError
from autoprec.recipes._base import Facts, Plan
from autoprec.recipes.definition_text import definition_text
from autoprec.recipes.facts import facts_of
from autoprec.recipes.families import guess, matting, sam, sam2_image, semantic, unet
from autoprec.recipes.renaming import renamed
from autoprec.recipes.yolo_seg import yolo_seg

RECIPES: Mapping[str, Callable[[Facts], Plan]] = MappingProxyType(
    {
        "efficientvit-sam": sam,
        "sam": sam,
        "mobilesam": sam,
        "sam2-image": sam2_image,
        "yolo-seg": yolo_seg,
        "semantic": semantic,
        "matting": matting,
        "unet": unet,
    }
)

SIDES: Mapping[str, int] = MappingProxyType(
    {"sam": 1024, "mobilesam": 1024, "sam2-image": 1024, "yolo-seg": 640}
)
"""Side of the images that a family was trained on, if it is not 512; for files that leave it free."""


class PlannedModel(NamedTuple):
    """A recipe's plan for a model, and the facts, in which a decoder's input may have been renamed."""

    facts: Facts
    plan: Plan


def plan_of(facts: Facts, recipe: str = "") -> PlannedModel:
    """A recipe's plan for a model; "" guesses.

    Raises `SpecError` for an unknown recipe, or a model of another structure.
    """
    if recipe and recipe not in RECIPES:
        near = difflib.get_close_matches(recipe, RECIPES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(RECIPES)}"
        raise SpecError(f"unknown recipe {recipe!r}; {hint}")
    facts, decoder, why = renamed(facts)
    plan = RECIPES[recipe](facts) if recipe else guess(facts)
    reasons = (*plan.reasons, *facts.guessed, *why)
    return PlannedModel(facts, plan._replace(made=plan.made or decoder, reasons=reasons))


__all__ = ["RECIPES", "SIDES", "Facts", "Plan", "definition_text", "facts_of", "plan_of"]
