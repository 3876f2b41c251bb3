"""Records as JSON text and back, including every float: NaN and infinities become strings."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def to_json(value: object) -> str:
    """Anything that msgspec can encode as one line of strict JSON."""
    return msgspec.json.encode(_spelled(msgspec.to_builtins(value))).decode()


def from_json(text: str, kind: type[T]) -> T:
    """What `to_json` wrote, as `kind`."""
    return msgspec.json.decode(text, type=kind, strict=False)  # lax: "nan" is a float again


def _spelled(value: Any) -> Any:
    # JSON has no NaN, and msgspec would write null, which reads back as no number at all.
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: _spelled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(item) for item in value]
    return value
