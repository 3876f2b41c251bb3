"""The times of an engine's layers, measured as trtexec does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autoprec.backends.tensorrt.library import Library

_WARM, _RUNS = 2, 5
"""Inferences before, and those that are averaged."""


class Profile:
    """A profiler on an execution context, which then measures every layer of an inference.

    An inference that reports by itself (`enqueue_emits_profile`, the default) is synchronous; so it does not,
    and the report is requested when it is done. Source: trtexec.
    """

    def __init__(self, library: Library, context: Any) -> None:
        milliseconds: dict[str, float] = {}
        base = library.trt.IProfiler

        class Profiler(base):  # type: ignore[misc, valid-type]
            def __init__(self) -> None:
                base.__init__(self)

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                milliseconds[layer_name] = milliseconds.get(layer_name, 0.0) + ms

        self._milliseconds, self._library, self._context = milliseconds, library, context
        self._profiler = Profiler()  # the context keeps no reference of its own
        context.profiler = self._profiler
        context.enqueue_emits_profile = False

    def times_ms(self, enqueue: Callable[[], None], wait: Callable[[], None]) -> dict[str, float]:
        """Mean milliseconds by layer name of a few inferences on a warm engine.

        Args:
            enqueue: puts one inference on the stream; not as a CUDA graph, which reports nothing.
            wait: for the stream's end.

        Empty where the library reports nothing. Raises as `enqueue` does.
        """
        for _ in range(_WARM):
            self._run(enqueue, wait)
        if not self._milliseconds:  # it reports nothing on request: let it report as it runs
            self._context.enqueue_emits_profile = True
        self._milliseconds.clear()
        for _ in range(_RUNS):
            self._run(enqueue, wait)
        return {name: total / _RUNS for name, total in self._milliseconds.items()}

    def _run(self, enqueue: Callable[[], None], wait: Callable[[], None]) -> None:
        enqueue()
        wait()
        if not self._context.enqueue_emits_profile:
            with self._library.asking("run", "the layers are not timed"):
                self._context.report_to_profiler()
