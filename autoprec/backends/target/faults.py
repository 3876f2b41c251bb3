"""What goes wrong with a target rather than with a candidate: some of it may be over after a while."""

from __future__ import annotations

from autoprec.errors import BackendError


class UnreachableError(BackendError):
    """A target that cannot be reached now; it may come back."""


class CutError(UnreachableError):
    """A target that was reached, and whose line was cut before it served: to be tried again at once."""


class FullError(BackendError):
    """The target's disk is full; somebody may make room."""


class GoneError(BackendError):
    """Something that was sent is not there any more: it made room, or was cleaned away."""
