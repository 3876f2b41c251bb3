"""The budget of a run: a number of trials, or a time."""

from __future__ import annotations

from autoprec.errors import SpecError
from autoprec.spec.sections import Section


class Budget(Section, frozen=True, kw_only=True):
    """The budget of a run: a number of trials, or seconds of wall time; the other is None."""

    trials: int | None = None
    seconds: float | None = None


def parse_budget(text: str) -> Budget:
    """Parse trials (`50`) or time (`90s`, `30m`, `8h`). Raises `SpecError` for anything else."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], text[-1:]) if text[-1:] in units else (text, "")
    try:
        budget = Budget(seconds=float(number) * units[unit]) if unit else Budget(trials=int(number))
    except ValueError:
        budget = Budget()
    # Comparisons with NaN are false, so `nans` is refused here as well as `0`, `-1h` and `infh`.
    if not ((budget.trials or 0) > 0 or 0 < (budget.seconds or 0) < float("inf")):
        raise SpecError(f"budget {text!r} is neither trials (`50`) nor time (`90s`, `30m`, `8h`)")
    return budget
