"""The worker's desk in this process: to start one takes longer than all that it does for a tiny study."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from autoprec.measurement.__main__ import _Desk
from autoprec.measurement.messages import Answer, decode_request, encode


class WorkerHere:
    """As `autoprec.isolation.WorkerProcess`, without its process."""

    def __init__(self, module: str, log: Path, environment: object = None) -> None:
        self._said: list[Answer] = []
        self._desk = _Desk(self._said.append)

    def ask(
        self, request: bytes, *, seconds: float, memory_bytes: int | None, is_last: Callable[[bytes], bool]
    ) -> Iterator[bytes]:
        """Stages, then the answer."""
        last = self._desk.serve(decode_request(request))
        self._desk.clear()
        yield from map(encode, self._said)
        self._said.clear()
        yield encode(last)

    def close(self) -> None:
        """Forget everything."""
        self._desk = _Desk(self._said.append)
