"""Kernel timings that builds of full TensorRT share: in a study, and from study to study.

A build times every kernel that may serve, which takes minutes for a large model; the candidates of a study,
and its reference, differ in few layers. TensorRT-RTX times nothing when it builds.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autoprec.backends.tensorrt.library import Library
from autoprec.errors import StudyError
from autoprec.kept import keep, load

_KIND = "engine cache 1"


@contextlib.contextmanager
def timing_cache(library: Library, config: Any, file: Path | None) -> Iterator[None]:
    """Start from the timings of earlier builds and add this one's.

    A file that is damaged, or of another GPU or version, is replaced; a cache that cannot be had, read or
    written costs time and no build.
    """
    if file is None or library.names_targets:
        yield
        return
    with library.log.aside():  # the configuration keeps no reference of its own
        cache = _attached(config, read_sealed(file)) or _attached(config, b"")
    yield
    if cache is not None:
        with library.log.aside():
            _save(config, file)


def read_sealed(file: Path) -> bytes:
    """The bytes that `replace_file` wrote; empty for a file that is missing, damaged or of something else."""
    try:
        return load(file, _KIND, file.name, lambda stream: stream.read(), _say) or b""
    except StudyError as error:
        _say(str(error))
        return b""


def _attached(config: Any, data: bytes) -> Any | None:
    """A cache with these timings that the builder takes; None if it does not."""
    try:
        cache = config.create_timing_cache(data)
        taken = cache is not None and config.set_timing_cache(cache, ignore_mismatch=False)
    except (RuntimeError, TypeError, ValueError):  # pybind11's words for what the library refuses
        return None
    return cache if taken else None


def _save(config: Any, file: Path) -> None:
    """Write all timings, and those that another process has written since."""
    try:
        cache = config.get_timing_cache()
        if not cache:
            return
        other = config.create_timing_cache(read_sealed(file))
        if other:
            cache.combine(other, ignore_mismatch=False)
        data = cache.serialize()
        if data is not None:
            replace_file(file, bytes(data))
    except (OSError, RuntimeError, TypeError, ValueError):
        return


def replace_file(file: Path, data: bytes) -> None:
    """Write a file atomically: no reader, other writer or kill ever leaves half of it.

    Its name says which library, version and GPU it is of. Raises OSError.
    """
    keep(file, _KIND, file.name, lambda stream: stream.write(data))


def _say(words: str) -> None:
    """Write a line to the worker's log."""
    sys.stderr.write(f"{words}\n")
