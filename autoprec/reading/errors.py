"""The error for an image or a prompt that cannot be read as the model takes it."""

from __future__ import annotations

from pathlib import Path


class UnfitError(ValueError):
    """One line: the file, what is wrong with it, and what to do. Outside of `SamplesError`'s tree, which an
    export does not have: `autoprec.samples` turns it into one."""


def unreadable(path: Path, error: Exception) -> UnfitError:
    """What to raise, from `error`, for an image that a decoder fails on."""
    words = str(error) or type(error).__name__
    return UnfitError(f"{path}: cannot be read as an image ({words}); fix or remove it")
