"""Records as JSON for scripts."""

from __future__ import annotations

import re

import msgspec

_STEERING = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def as_json(value: object) -> str:
    """Indented JSON of records or sequences of them; NaN becomes null."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    # JSON may contain characters that control a terminal, and may as well have them escaped: names come
    # from models.
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
