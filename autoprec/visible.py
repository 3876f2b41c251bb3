"""Names as they may be shown: what would steer a terminal, or reorder its text, is made visible."""

from __future__ import annotations

import re

STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
BREAKS = re.compile("[\t\n]")


def visible(text: str) -> str:
    """One line of `text`: control characters, line breaks and marks of direction as `\\x1b` or `\\u202e`."""
    return BREAKS.sub(escaped, harmless(text))


def harmless(text: str) -> str:
    """`text` with its line breaks and tabs, and the rest as in `visible`."""
    return STEERING.sub(escaped, text)


def escaped(match: re.Match[str]) -> str:
    """What a match is shown as."""
    return match[0].encode("unicode_escape").decode()
