"""What the agent keeps on the target's disk: weights, models and samples by digest, within a limit."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Optional, Tuple

_LEFT_SECONDS = 3600.0
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """Files named by their SHA-256; the least recently used go once they hold more than `limit` bytes."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        for left in folder.glob("*.part"):  # of a process that is gone: another agent may be writing one
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                    left.unlink()

    def path(self, digest: str) -> Path:
        """Where a blob is. Raises ValueError for what is not a digest."""
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"not a digest: {digest[:80]!r}")
        return self._folder / digest

    def missing(self, digests: Iterable[str]) -> list[str]:
        """The digests that are not stored here; the others count as used now."""
        absent = []
        for digest in digests:
            try:
                os.utime(str(self.path(digest)))
            except FileNotFoundError:  # noqa: PERF203 - another agent may take it away at any moment
                absent.append(digest)
        return absent

    def put(self, digest: str, data: bytes) -> None:
        """Keep a blob. Raises ValueError if it is not what its digest says, OSError for a full disk."""
        path = self.path(digest)
        if hashlib.sha256(data).hexdigest() != digest:
            raise ValueError("a blob arrived damaged")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # somebody may have cleaned up
        self._make_room(len(data))
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            part.write_bytes(data)
            # Renamed when whole: another agent in this folder never reads half a blob.
            part.replace(path)
        finally:
            if part.exists():
                part.unlink()

    def read(self, digest: str) -> bytes:
        """A blob's bytes. Raises OSError if it is not here."""
        return self.path(digest).read_bytes()

    def free_bytes(self) -> int:
        """Room on the disk."""
        return shutil.disk_usage(str(self._folder.parent)).free

    def _make_room(self, size: int) -> None:
        files = [file for file in map(_used, self._folder.iterdir()) if file is not None]
        held = sum(file_bytes for _, file_bytes, _ in files)
        for _, file_bytes, path in sorted(files):
            if held + size <= self._limit:
                break
            if path.suffix == ".part":  # another agent writes it
                continue
            held -= file_bytes
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def _used(path: Path) -> Optional[Tuple[float, int, Path]]:
    """When a file was used last, and its size; None for one that another agent has taken away meanwhile."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime, status.st_size, path
