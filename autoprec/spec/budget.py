"""How far one run goes: a number of trials, or a time."""

from __future__ import annotations

from autoprec.errors import SpecError
from autoprec.spec.sections import Section


class Budget(Section, frozen=True, kw_only=True):
    """How far one run goes: a number of trials, or seconds of wall time. One of them is None."""

    trials: int | None = None
    seconds: float | None = None


def parse_budget(text: str) -> Budget:
    """`50` is trials; `90s`, `30m`, `8h` are time. Raises `SpecError` for anything else."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], text[-1:]) if text[-1:] in units else (text, "")
    try:
        budget = Budget(seconds=float(number) * units[unit]) if unit else Budget(trials=int(number))
    except ValueError:
        budget = Budget()
    if not ((budget.trials or 0) > 0 or 0 < (budget.seconds or 0) < float("inf")):
        raise SpecError(f"budget {text!r} is neither trials (`50`) nor time (`90s`, `30m`, `8h`)")
    return budget
