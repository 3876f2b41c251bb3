"""Opening a study's engine, and waiting for its target where that cannot be reached."""

from __future__ import annotations

from collections.abc import Callable

from autoprec.backends import Backend, Distant, create_backend
from autoprec.spec import BackendSection

_PATIENCE = 0.8
"""How much of a trial's time may pass until a target that cannot be reached is given up."""


def reach(
    section: BackendSection, say: Callable[[str], None] = lambda _: None, *, at_once: bool = False
) -> Backend:
    """Open a study's engine; its target is waited for from now on, up to a share of `trial_seconds`.

    Args:
        section: the definition's `[backend]`.
        say: receives a line for each time that it is waited for.
        at_once: whether the first contact is not waited for: an address may be wrong.

    Raises `BackendError` where it stays out of reach, or cannot serve.
    """
    backend = create_backend(section.name, section.options)
    if isinstance(backend, Distant):
        if at_once:
            backend.wait(0.0, say)
        # Less than all of it: the worker says what it waited for before it is ended for taking too long.
        backend.wait(_PATIENCE * section.trial_seconds, say)
    return backend
