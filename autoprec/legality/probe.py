"""Putting a question to an engine: it refuses the model, runs it in another type, computes something else, or
takes it.

Builds the typed model, runs it where there is a device, reads back what it ran in, and compares what came out
with exact arithmetic. What a whole block may then be follows from its patterns: see `verdicts.py`. The caller
runs this where it may die.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from autoprec.backends import Arrays, Backend, run
from autoprec.backends.exact import WRONG, Exact, deviation
from autoprec.errors import TrialError
from autoprec.legality.inputs import feeds_of
from autoprec.legality.pieces import Question
from autoprec.legality.verdicts import Verdict
from autoprec.records import KernelTime

_LOUDER = (1.0, 16.0, 256.0)
"""Factors of what is fed, each tried only where exact arithmetic shows nothing with those before it."""
_BARELY = 1e-3
"""Deviation of two results of other inputs below which a result does not depend on what is fed."""


@runtime_checkable
class Planner(Protocol):
    """A backend that can build, and report its kernels, without the device that runs them."""

    has_device: bool

    def require_device(self) -> object:
        """Raises `BackendError` without the device, and says what to do."""

    def plan_kernels(self, model_path: Path) -> tuple[KernelTime, ...]:
        """The kernels of a build that is not loaded. Raises `TrialError("build", ...)`."""


def try_question(backend: Backend, question: Question) -> Verdict:
    """Build and run what a question asks about, and judge it.

    Raises `TrialError` "memory" and "timeout", which say nothing about the pattern, and "crash", after which
    this process can run nothing more; any other failure is a verdict.
    """
    try:
        kernels, error, is_shown = _tried(backend, question)
    except TrialError as reason:
        if reason.kind in ("crash", "memory", "timeout"):
            raise
        return refusal(question, reason)
    ran = {
        node: {kernel.precision for kernel in kernels if kernel.precision and node in kernel.nodes}
        for node in question.deciding
    }
    verdict = Verdict(
        pattern=question.pattern,
        precision=question.precision,
        state="legal",
        ran=",".join(sorted(set().union(*ran.values()))),
        error=error,
        digest=question.digest,
    )
    if error is not None and error > WRONG:
        return verdict.but("wrong", f"computes something else, {100 * error:.0f} % from exact arithmetic")
    # What an engine does around a product, a bias or a scale, may stand in a float kernel of its own.
    if others := [
        types for types in ran.values() if question.asked and types and question.asked not in types
    ]:
        names = ", ".join(sorted(set().union(*others)))
        return verdict.but("dequantised", f"dequantised: asked for {question.asked}, ran {names}")
    if is_shown:
        return verdict
    return verdict.but("unseen", "exact arithmetic gives the same whatever is fed, so nothing was compared")


def refusal(question: Question, error: TrialError) -> Verdict:
    """The verdict on a question whose build or run failed."""
    return Verdict(
        pattern=question.pattern,
        precision=question.precision,
        state="refused",
        reason=f"{error.kind}: {error}",
        digest=question.digest,
    )


def _tried(backend: Backend, question: Question) -> tuple[tuple[KernelTime, ...], float | None, bool]:
    """The kernels, the deviation from exact arithmetic (None where either side cannot be run), and whether a
    wrong engine would have shown."""
    path = Path(question.model_path)
    # Without a GPU a build still says which kernels it chose, though not what they compute.
    if isinstance(backend, Planner) and not backend.has_device:
        return backend.plan_kernels(path), None, True
    feeds, exact, is_shown = _telling(question)
    with backend.build(path) as engine:
        outputs = run(engine, feeds)
        # A small model of plain numbers has finite results: whoever gives NaN here ruins the masks of a large
        # one.
        if not all(np.isfinite(array).all() for array in outputs.values()):
            raise TrialError("nan", "its outputs are not finite")
        kernels = engine.kernels()
    return kernels, None if exact is None else deviation(outputs, exact).error, is_shown


def _telling(question: Question) -> tuple[Arrays, Arrays | None, bool]:
    """Feeds, the exact outputs of them (None where nothing computes them), and whether these depend on the
    feeds: where Q/DQ rounds all of them to 0, any engine looks right."""
    path = Path(question.exact_path)
    quiet = feeds_of(path, question.spans)
    exact = _exact(path, quiet)
    # Indices and masks cannot be made louder, and no grid rounds them away.
    if exact is None or not any(array.dtype == np.float32 for array in quiet.values()):
        return quiet, exact, True
    for louder in _LOUDER:
        feeds = feeds_of(path, question.spans, louder=louder)
        other = _exact(path, feeds_of(path, question.spans, seed=1, louder=louder))
        wanted = exact if louder == 1.0 else _exact(path, feeds)
        if wanted is None or other is None or deviation(other, wanted).error > _BARELY:
            return feeds, wanted, True
    return quiet, exact, False


def _exact(path: Path, feeds: Arrays) -> Arrays | None:
    """The exact outputs; None where nothing independent computes them."""
    try:
        with Exact(threads=1).build(path) as engine:
            return run(engine, feeds)
    except TrialError:
        return None
