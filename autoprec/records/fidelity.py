"""How far the measured model departs from the model as the user gave it."""

from __future__ import annotations

from typing import Literal

from autoprec.records._base import Record

Step = Literal["loading", "given", "engine", "reference"]
"""On the way from the file to a measurement: the model as it is loaded, computed exactly; with the Q/DQ pairs
that it came with, computed exactly; all of it in FP32 on the engine; the reference on the engine."""

# Not infinity, for which JSON has no number: msgspec writes null, and the record could not be read again.
UNLIKE = 1e9
"""The error of values that cannot be compared, because of another shape, or of values that are not finite."""


def in_words(error: float) -> str:
    """An error of a value in words, relative to the value's spread."""
    if error >= UNLIKE:
        return "another shape, or values that are not finite"
    if not error:
        return "nothing"
    if error < 0.001:
        return f"{error:.0e} of its spread"
    # From 99.5 on, two digits of a percentage are printed as `1e+02`.
    return f"{100 * error:.2g} % of its spread" if error < 0.995 else f"{error:.3g} times its spread"


class Departure(Record, frozen=True, kw_only=True):
    """How far one step is from the original model, which an independent implementation ran.

    Attributes:
        step: which one.
        error: root mean square of the difference over the standard deviation, of the worst output and sample.
        value: that output.
        tolerance: what rounding explains; beyond it the step computes another function.
        loss: mask loss against the masks of the original model; None where they cannot be scored.
        samples: how many were run.
        implementation: what ran the original model.
        culprit: what differs, in words; empty within the tolerance.
        node: the first node whose value departs, with its operator; empty where none was found.
        digest: of all that was compared: the same again need not be run again.
        missing: why nothing could be compared; the figures mean nothing then.
    """

    step: Step
    error: float = 0.0
    value: str = ""
    tolerance: float = 0.0
    loss: float | None = None
    samples: int = 0
    implementation: str = ""
    culprit: str = ""
    node: str = ""
    digest: str = ""
    missing: str = ""

    @property
    def is_beyond(self) -> bool:
        """Whether the step computes another function."""
        return not self.missing and self.error > self.tolerance


class Exactness(Record, frozen=True, kw_only=True):
    """How far a candidate on the engine is from the exact arithmetic of its own file.

    Attributes:
        error, value, tolerance, samples: as in `Departure`.
        node: as there; the engine is *wrong* on the candidate beyond the tolerance.
        missing: why nothing could be compared.
    """

    error: float = 0.0
    value: str = ""
    tolerance: float = 0.0
    samples: int = 0
    node: str = ""
    missing: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether the engine computes something other than the file."""
        return not self.missing and self.error > self.tolerance
