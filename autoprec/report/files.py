"""Writing a report's files, completely or not at all."""

from __future__ import annotations

from pathlib import Path

from autoprec.errors import StudyError, cannot
from autoprec.files import replacing


def write_file(path: Path, content: str | bytes) -> Path:
    """Write `path`, creating its folder; returns it. Raises `StudyError` if that is impossible."""
    try:
        with replacing(path) as part:
            part.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise StudyError(cannot(path, error, "name another file")) from error
    return path
