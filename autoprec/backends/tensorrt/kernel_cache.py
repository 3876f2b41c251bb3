"""Compiled kernels that all engines of a process share, kept in a file from night to night.

TensorRT-RTX compiles kernels when an engine is loaded. Reading the file for each engine, and writing it when
each one goes, took longer than the timing of a candidate: the cache of a night holds thousands of kernels.
Source: the class RtxRuntimeCache of TensorRT Edge-LLM gives the engines of a process one cache as well.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from pathlib import Path
from typing import Any

from autoprec.backends.tensorrt.timing_cache import read_sealed, replace_file

_ENGINES_BETWEEN_SAVES = 8
"""What a kill loses is compiled again."""


class KernelCache:
    """The runtime cache of one library and GPU.

    Args:
        file: where it is kept; `None` keeps it in memory alone.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._cache: Any = None
        self._unsaved = 0
        self._saved_bytes = 0
        self._turn = threading.Lock()

    def attach(self, config: Any) -> None:
        """Let the contexts of a runtime configuration read compiled kernels from here, and add theirs."""
        with self._turn:  # a decoder is built beside the reference
            if self._cache is None:
                self._cache = config.create_runtime_cache()
                if self._file is not None and (data := read_sealed(self._file)):
                    self._cache.deserialize(data)
                    self._saved_bytes = len(data)
        config.set_runtime_cache(self._cache)

    def engine_closed(self) -> None:
        """Save now and then."""
        self._unsaved += 1
        if self._file is not None and (self._unsaved >= _ENGINES_BETWEEN_SAVES or not self._file.exists()):
            self.save()

    def save(self) -> None:
        """Write the file, if there are more kernels than in it."""
        file, self._unsaved = self._file, 0
        if self._cache is None or file is None:
            return
        data = bytes(self._cache.serialize())
        if not file.exists() or len(data) != self._saved_bytes:
            with contextlib.suppress(OSError):  # it costs time, and no trial
                replace_file(file, data)
            self._saved_bytes = len(data)


@functools.cache
def kernel_cache(file: Path | None) -> KernelCache:
    """The process's cache for a file."""
    return KernelCache(file)
