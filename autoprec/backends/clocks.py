"""Says in words what a stored latency measures, without loading the engine that measured it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from autoprec.backends import BACKENDS, backend_type
from autoprec.records import Fingerprint

_ON_GPU = "time on the GPU, without copies"
_ON_ONE_THREAD = "processor time on one thread"
_OF_STOPWATCHES = {"cuda": _ON_GPU, "known": "known cost", "processor": _ON_ONE_THREAD}


def clock_of(engine: Fingerprint) -> str:
    """The clock in words, as "processor time on one thread": not always the time that a caller waits.

    For a backend of the table its stopwatch tells; any other is timed as its callers wait.
    """
    if told := _WORDS.get(engine.backend):
        return told(engine)
    kind = backend_type(engine.backend) if engine.backend in BACKENDS else None
    return _OF_STOPWATCHES.get(getattr(kind, "stopwatch", ""), "wall time")


def _on_threads(engine: Fingerprint) -> str:
    options = msgspec.json.decode(engine.options or "{}")
    threads = options.get("threads", 1) if isinstance(options, dict) else 1
    return _ON_ONE_THREAD if threads == 1 else f"wall time on {threads} threads"


def _there(engine: Fingerprint) -> str:
    """A target's fingerprint has the words of the library that runs there, and the options of its backend."""
    return _on_threads(engine) if engine.version.startswith("OpenVINO") else _ON_GPU


_WORDS: Mapping[str, Callable[[Fingerprint], str]] = MappingProxyType(
    {
        "openvino": _on_threads,
        "simulated": lambda _: "known cost",
        "target": _there,
        "tensorrt": lambda _: _ON_GPU,
    }
)
"""By name of the backend, where options or a target decide, or a module need not load for it."""
