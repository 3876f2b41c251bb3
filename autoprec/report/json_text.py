"""Records as JSON for scripts."""

from __future__ import annotations

import json

import msgspec

from autoprec.visible import STEERING


def as_json(value: object) -> str:
    """Indented JSON of records or sequences of them; NaN becomes null."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    # JSON may contain characters that control a terminal, and may as well have them escaped: names come
    # from models.
    return STEERING.sub(lambda match: json.dumps(match[0])[1:-1], text)
