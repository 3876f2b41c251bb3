"""Which autoprec found a failure that it may itself be at fault for: it may have been mended since."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from autoprec.backends.exact import JUDGED
from autoprec.errors import FailureKind
from autoprec.records import Failure

_PACKAGE = Path(__file__).parents[1]


def finder_of(kind: FailureKind) -> str:
    """What of this autoprec decides whether a candidate fails in this way; empty if nothing does."""
    if kind == "internal":
        return code_digest()
    return f"judge {JUDGED}" if kind == "wrong" else ""


def is_outdated(failure: Failure) -> bool:
    """Whether a failure was found by another autoprec in a part that has changed: it may be none today."""
    return failure.finder != finder_of(failure.kind)


@cache
def code_digest() -> str:
    """16 hexadecimal digits of SHA-256 over autoprec's modules."""
    # Not the version: who mends a fault, or adds a precision, edits a checkout under the same version.
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(str(path.relative_to(_PACKAGE)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]
