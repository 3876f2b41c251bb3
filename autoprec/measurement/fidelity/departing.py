"""Where two runs of a model part: bisection over the values that cross the border behind a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from autoprec.backends import Arrays, Builder, run
from autoprec.backends.exact import deviation
from autoprec.backends.timing import Deadline
from autoprec.errors import TrialError
from autoprec.graph.model.cuts import Cut, cuts, values_of, write_cut
from autoprec.graph.model.files import remove_model

_NAMED = 3
_SECONDS = 120.0
"""Bisection ends after this many seconds, with what it knows by then."""


def first_departing(
    ours: Builder,
    path: Path,
    theirs: Builder,
    their_path: Path,
    inputs: Arrays,
    *,
    tolerance: float,
    folder: Path,
) -> str:
    """The first node of a model whose value departs, as in `'conv_3' (Conv)`; "" if none does alone.

    Each step cuts the models off behind a node and runs what is before it: an engine keeps its fusions. Where
    nodes before it make values that the other model does not have, it may be one of those: all are named.

    Never raises: that something departs is known without it.

    Args:
        ours, path: what is judged.
        theirs, their_path: what is right; values of both that have one name are compared.
        inputs: of both, one sample.
        tolerance: of the deviation of a value.
        folder: for the cut models, which are removed.
    """
    try:
        return _first(ours, path, theirs, their_path, inputs, tolerance, folder)
    except Exception:  # noqa: BLE001 - cutting odd models may fail in ways that nobody has listed
        return ""


def _first(
    ours: Builder,
    path: Path,
    theirs: Builder,
    their_path: Path,
    inputs: Arrays,
    tolerance: float,
    folder: Path,
) -> str:
    their_values = values_of(their_path)
    every = cuts(path)
    places = [cut for cut in every if any(name in their_values for name in cut.values)]

    def departs(cut: Cut) -> bool:
        names = [name for name in cut.values if name in their_values]
        try:
            outputs = _values(ours, path, names, inputs, folder / "ours.onnx")
            exact = _values(theirs, their_path, names, inputs, folder / "theirs.onnx")
        except TrialError:
            return False  # what cannot be run by itself shows nothing: continue behind it
        return deviation(outputs, exact).error > tolerance

    # Only cuts that both models have values at: fusions and rewriting leave some out.
    departing = bisect(places, departs)
    if departing is None:
        return ""
    place = places.index(departing)
    before = every.index(places[place - 1]) if place else -1
    # Between the last cut that agrees and this one no value is in both models: any of these nodes may be it.
    named = [f"{cut.node!r} ({cut.op_type})" for cut in every[before + 1 : every.index(departing) + 1]]
    return " or ".join(named if len(named) <= _NAMED else (named[0], f"one up to {named[-1]}"))


def bisect(places: Sequence[Cut], departs: Callable[[Cut], bool]) -> Cut | None:
    """The first cut that departs, if all behind it do; None if the last one does not."""
    if not places or not departs(places[-1]):
        return None
    first, last, deadline = 0, len(places) - 1, Deadline(_SECONDS)
    while first < last and not deadline.is_over:
        middle = (first + last) // 2
        if departs(places[middle]):
            last = middle
        else:
            first = middle + 1
    return places[last]


def _values(builder: Builder, path: Path, names: Sequence[str], inputs: Arrays, scratch: Path) -> Arrays:
    """Values of a model, made by the part of it that is before them."""
    try:
        with builder.build(write_cut(path, names, scratch)) as engine:
            return run(engine, inputs)
    finally:
        remove_model(scratch)
