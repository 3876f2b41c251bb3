"""Records as JSON for scripts."""

from __future__ import annotations

import msgspec


def as_json(value: object) -> str:
    """Indented JSON of records or sequences of them; NaN becomes null."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
