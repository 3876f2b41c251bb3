"""Names as they may be shown: what would steer a terminal, reorder its text or not be seen is made so."""

from __future__ import annotations

import re

STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"  # control, line breaks, halves of characters
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction
    "\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f\u3164"  # no width
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    "|(?<![^\x00-\x7f])[\u200c\u200d\ufe00-\ufe0f]"  # joiners and variants behind ASCII
)
BREAKS = re.compile("[\t\n]")


def visible(text: str) -> str:
    """One line of `text`: control characters, line breaks and marks of direction as `\\x1b` or `\\u202e`.

    So is what has no width: names that differ by it look alike.
    """
    return BREAKS.sub(escaped, harmless(text))


def harmless(text: str) -> str:
    """`text` with its line breaks and tabs, and the rest as in `visible`."""
    return STEERING.sub(escaped, text)


def escaped(match: re.Match[str]) -> str:
    """What a match is shown as."""
    return match[0].encode("unicode_escape").decode()
