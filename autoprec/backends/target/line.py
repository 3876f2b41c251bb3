"""The connection to a target, and the blobs known to be there; waits while its disk is full."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from autoprec.backends.target.faults import FullError, GoneError
from autoprec.errors import TrialError

Answer = tuple[dict[str, Any], list[bytes]]
BETWEEN_TRIES_SECONDS = 5.0
_BATCH_BYTES = 64 << 20


class Asked(Protocol):
    """Something on a target that answers requests: an agent, or its trtexec."""

    def ask(
        self, request: str, blobs: Sequence[bytes] = (), most: int | None = None, **header: Any
    ) -> Answer:
        """Send a request, and return the header and blobs of its answer.

        Args:
            request: its name, as in the agent's `REQUESTS`.
            blobs: bytes that go with it.
            most: bytes that may come behind the answer's header; None takes what is usual.
            header: the rest of the request.

        Raises `TrialError`.
        """

    @property
    def is_lost(self) -> bool:
        """Whether nothing more can be asked."""

    @property
    def cuts(self) -> bool:
        """Whether it can send masks as bits."""

    def close(self) -> None:
        """Close the connection; a second call does nothing."""


class Waiting(NamedTuple):
    """How long to wait for a target that cannot serve now, and who is told."""

    seconds: float = 0.0
    say: Callable[[str], None] = lambda _: None


class Line:
    """A connection to a target, and the blobs that are known to be there.

    Args:
        channel: what answers.
        newest_opset: what the engine there knows, if it is old; else 0.
        is_weak: whether its builder does not keep to a model's types.
        sends_cut: whether masks come as bits, where it can.
        patience: with a full disk.
    """

    def __init__(
        self,
        channel: Asked,
        newest_opset: int = 0,
        *,
        is_weak: bool = False,
        sends_cut: bool = True,
        patience: Callable[[], Waiting] = Waiting,
    ) -> None:
        self.channel, self.newest_opset, self.is_weak = channel, newest_opset, is_weak
        self.sends_cut = sends_cut
        self._patience = patience
        self._there: set[str] = set()
        self._engines = 0

    def next_number(self) -> int:
        """A number for an engine; none is given twice."""
        self._engines += 1
        return self._engines

    def ask(
        self, request: str, blobs: Sequence[bytes] = (), most: int | None = None, **header: Any
    ) -> Answer:
        """Send a request, and return its answer; a full disk on the target is waited for. See `Asked.ask`.

        Raises `TrialError`, of kind "killed" where the disk stays full; `FullError` where nobody waits.
        """
        patience, waited = self._patience(), 0.0
        while True:
            try:
                return self.channel.ask(request, blobs, most, **header)
            except FullError as error:
                if waited >= patience.seconds:
                    if not patience.seconds:
                        raise
                    raise TrialError("killed", str(error)) from error
                patience.say(f"waiting for the target: {error}")
            time.sleep(BETWEEN_TRIES_SECONDS)
            waited += BETWEEN_TRIES_SECONDS

    def ask_with(self, needed: Mapping[str, bytes], request: str, **header: Any) -> Answer:
        """The answer to a request that needs these blobs, by digest; missing ones are sent again, once."""
        self._bring(needed)
        try:
            return self.ask(request, **header)
        except GoneError:
            self._there.clear()
        self._bring(needed)
        try:
            return self.ask(request, **header)
        except GoneError as error:
            raise TrialError("crash", f"what is sent does not stay on the target: {error}") from error

    def _bring(self, blobs: Mapping[str, bytes]) -> None:
        """Send what is not there yet."""
        # Asked once per line: an agent keeps blobs from earlier lines, and may have made room since.
        unsure = [digest for digest in blobs if digest not in self._there]
        if not unsure:
            return
        answer, _ = self.ask("missing", digests=unsure)
        named = answer.get("missing")
        if not isinstance(named, list) or not all(isinstance(digest, str) for digest in named):
            raise TrialError("crash", "the target's answer does not say what it lacks")
        missing = [digest for digest in unsure if digest in set(named)]
        while missing:
            size = 0
            batch: list[str] = []
            # In batches, so that neither side holds a whole model once more; a larger blob goes alone.
            while missing and (not batch or size + len(blobs[missing[0]]) <= _BATCH_BYTES):
                batch.append(missing.pop(0))
                size += len(blobs[batch[-1]])
            self.ask("put", [blobs[digest] for digest in batch], digests=batch)
        self._there.update(unsure)
