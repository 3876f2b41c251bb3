"""Verdicts shared by all studies of one engine on one machine: a file per engine in the user's cache.

A study also keeps its own verdicts, so it does not need the cache to be resumed. A cache that cannot be read
or written costs time, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from autoprec import kept
from autoprec.errors import StudyError
from autoprec.legality.verdicts import Verdict
from autoprec.records import Fingerprint

_KIND = "verdicts 1"


class SharedVerdicts:
    """The verdicts on one engine, by the digest of their question.

    Args:
        fingerprint: of the engine; each version, driver and device has a file of its own.
    """

    def __init__(self, fingerprint: Fingerprint) -> None:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self._of = fingerprint.digest
        self._file = base / "autoprec" / "verdicts" / f"{self._of}.json"

    def verdicts(self) -> dict[str, Verdict]:
        """All verdicts in the cache; empty if it cannot be read."""
        with suppress(StudyError):
            content = kept.load(self._file, _KIND, self._of, lambda file: file.read(), lambda _: None)
            if content is not None:
                return msgspec.json.decode(content, type=dict[str, Verdict])
        return {}

    def add(self, verdicts: Mapping[str, Verdict]) -> None:
        """Add verdicts to the cache."""
        # Without a lock: of two processes that add at once one may lose its verdicts, which are then asked
        # again.
        text = msgspec.json.encode(self.verdicts() | dict(verdicts))
        with suppress(OSError):
            kept.keep(self._file, _KIND, self._of, lambda file: file.write(text))
