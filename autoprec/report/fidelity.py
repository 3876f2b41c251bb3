"""How far the steps towards a measurement depart from the original model, in words."""

from __future__ import annotations

from collections.abc import Sequence

from autoprec.records import Departure, Exactness, Step, in_words
from autoprec.report import _figures as figures

STEPS: dict[Step, str] = {
    "loading": "as autoprec loads it",
    "given": "with the Q/DQ pairs that it came with",
    "engine": "FP32 on the engine",
    "reference": "the reference",
}


def departure_words(departure: Departure) -> str:
    """One step in one line: what differs and where that begins, or how close it is."""
    if departure.missing:
        return f"{STEPS[departure.step]} could not be compared with the original model ({departure.missing})"
    loss = "" if departure.loss is None else f", mask loss {figures.loss(departure.loss)}"
    if not departure.is_beyond:
        how = f"differs by {in_words(departure.error)}" if departure.error else "identical"
        return f"{STEPS[departure.step]}: {how}{loss}"
    where = f"; the first node whose value departs is {departure.node}" if departure.node else ""
    return (
        f"{departure.culprit} computes something other than the original model ({departure.implementation}): "
        f"output {departure.value!r} differs by {in_words(departure.error)}; rounding explains "
        f"{in_words(departure.tolerance)}{loss}{where}"
    )


def exactness_words(exactness: Exactness) -> str:
    """How exactly an engine computes a candidate."""
    if exactness.missing:
        return f"could not be compared ({exactness.missing})"
    off, explained = in_words(exactness.error), in_words(exactness.tolerance)
    return f"output {exactness.value!r} differs from exact arithmetic by {off}; rounding explains {explained}"


def fidelity_lines(departures: Sequence[Departure]) -> tuple[str, ...]:
    """A line for each step, below one that says what they were compared with; empty without departures."""
    if not departures:
        return ()
    ran = next((one for one in departures if not one.missing), None)
    by = f" ({ran.implementation}, {ran.samples} samples)" if ran is not None else ""
    return (f"compared with the original model{by}:", *(departure_words(one) for one in departures))
