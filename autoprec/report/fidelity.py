"""How far the steps to a measurement are from the model as it was given, in words."""

from __future__ import annotations

from collections.abc import Sequence

from autoprec.records import UNLIKE, Departure
from autoprec.report import _figures as figures

STEPS = {"loading": "as autoprec loads it", "engine": "FP32 on the engine", "reference": "the reference"}


def departure_words(departure: Departure) -> str:
    """One step in one line: what differs and where it begins, or how close it is."""
    if departure.missing:
        return f"{STEPS[departure.step]} could not be compared with the model as given ({departure.missing})"
    loss = "" if departure.loss is None else f", mask loss {figures.loss(departure.loss)}"
    if not departure.is_beyond:
        return f"{STEPS[departure.step]}: {error_words(departure.error)}{loss}"
    where = f"; the first node whose value departs is {departure.node}" if departure.node else ""
    return (
        f"{departure.culprit} computes something else than the model as given ({departure.implementation}): "
        f"output {departure.value!r} is off by {error_words(departure.error)}, rounding explains "
        f"{error_words(departure.tolerance)}{loss}{where}"
    )


def error_words(error: float) -> str:
    """An error in parts of the value's spread."""
    if error >= UNLIKE:
        return "another shape, or values that are not finite"
    if error < 0.001:
        return f"{error:.0e} of its spread"
    return f"{100 * error:.2g} % of its spread" if error < 0.995 else f"{error:.3g} times its spread"


def fidelity_words(found: Sequence[Departure]) -> str:
    """All steps in one line; "" where nothing was compared."""
    return "; ".join(departure_words(departure) for departure in found)
