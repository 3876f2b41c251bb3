"""Changes JSON and TOML as text, into what no library would write."""

from __future__ import annotations

import random
import re

_NUMBERS = (
    "1e999", "-1e999", "NaN", "nan", "inf", "-inf", "Infinity", "9" * 5000, "-" + "9" * 400, "0x10", "01",
    "-0",
    "1e-400", "1_000", "1979-05-27", "1979-05-27T07:32:00Z", "07:32:00", "1.", ".5", "+1", "true", "null",
    "1e308",
)  # fmt: skip
_STRINGS = (
    '"\\ud800"', '"\\u0000"', '"\\n\\n[model]\\npath = 1"', '"\\u001b]0;owned\\u0007"', '"\\u202e"', "'a'",
    '"""a\nb"""', '"/dev/zero"', '"/proc/self/mem"', '"../../etc/passwd"', '"~"', '"$(touch owned)"', '"a:b"',
    '"os:system"', '"' + "a" * 70000 + '"', '"\\"', '"\\x"', '"%s%n"', '"\u2028"', "[]", "{}",
)  # fmt: skip
_TOKENS = {
    "string": re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    "number": re.compile(r"-?\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b"),
}
_OPEN = {"json": ('{"a":', "}"), "toml": ("{a=", "}")}


def json_text(data: bytes, dice: random.Random) -> bytes:
    """Change a JSON document as text."""
    return _changed(data, dice, "json")


def toml_text(data: bytes, dice: random.Random) -> bytes:
    """Change a TOML document as text."""
    return _changed(data, dice, "toml")


def _changed(data: bytes, dice: random.Random, kind: str) -> bytes:
    text = data.decode("utf-8", "surrogateescape")
    for _ in range(dice.choice((1, 1, 2, 3))):
        text = _once(text, kind, dice)
    encoding = dice.choice(("utf-8",) * 8 + ("utf-8-sig", "utf-16", "utf-32", "cp1252"))
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    return text.encode(encoding, errors)


def _once(text: str, kind: str, dice: random.Random) -> str:
    match dice.randrange(9):
        case 0 | 1:
            return _replaced(text, dice.choice(("number", "string")), dice.choice(_NUMBERS), dice)
        case 2 | 3:
            return _replaced(text, dice.choice(("number", "string")), dice.choice(_STRINGS), dice)
        case 4:
            return _swapped(text, dice.choice(("string", "number")), dice)
        case 5:
            return _nested(text, kind, dice)
        case 6:
            return _lines(text, dice)
        case 7:
            return _keys(text, kind, dice)
        case _:
            return text[: dice.randrange(len(text) + 1)]


def _token(text: str, kind: str, dice: random.Random) -> re.Match[str] | None:
    matches = list(_TOKENS[kind].finditer(text))
    return dice.choice(matches) if matches else None


def _replaced(text: str, kind: str, new: str, dice: random.Random) -> str:
    token = _token(text, kind, dice)
    return text if token is None else text[: token.start()] + new + text[token.end() :]


def _swapped(text: str, kind: str, dice: random.Random) -> str:
    """Swap two tokens of a kind, which for strings may be keys."""
    tokens = list(_TOKENS[kind].finditer(text))
    if len(tokens) < 2:
        return text
    first, second = sorted(dice.sample(tokens, 2), key=lambda match: match.start())
    between = text[first.end() : second.start()]
    return text[: first.start()] + second[0] + between + first[0] + text[second.end() :]


def _nested(text: str, kind: str, dice: random.Random) -> str:
    token = _token(text, dice.choice(("string", "number")), dice)
    if token is None:
        return text
    depth = dice.choice((3, 200, 20_000))
    begin, end = dice.choice((("[", "]"), _OPEN[kind]))
    return text[: token.start()] + begin * depth + token[0] + end * depth + text[token.end() :]


def _lines(text: str, dice: random.Random) -> str:
    """Repeat, drop, move or extend a line, or change the line endings."""
    lines = text.splitlines()
    if len(lines) < 2:
        return text + text
    place = dice.randrange(len(lines))
    match dice.randrange(5):
        case 0:
            lines.insert(dice.randrange(len(lines)), lines[place])
        case 1:
            del lines[place]
        case 2:
            lines.insert(dice.randrange(len(lines)), lines.pop(place))
        case 3:
            lines[place] += dice.choice(
                (" # x", " // x", ",", "\x00", "\x0b", "\u2028", "\x85", "]", "}", '"')
            )
        case _:
            return dice.choice(("\r", "\r\n", "\n\r", "\x0b", "")).join(lines)
    return "\n".join(lines)


def _keys(text: str, kind: str, dice: random.Random) -> str:
    """Add a key that is a duplicate, empty, or made of very many parts."""
    lines = text.splitlines()
    if kind == "toml":
        parts = dice.choice((2, 300, 100_000))
        long = ".".join("a" * parts)
        odd = (f"{long} = 1", f"[{long}]", '"" = 1', '"a.b" = 1', "[[model]]", "[model.path]", '["model"]')
        lines.insert(dice.randrange(len(lines) + 1), dice.choice(odd))
        return "\n".join(lines)
    pairs = re.findall(r'"[^"\\\n]*": *[^,{}\[\]\n]+', text)
    place = text.find("{", dice.randrange(max(1, len(text)))) + 1
    if not pairs or not place:
        return text
    double = dice.choice(pairs)
    if dice.random() < 0.3:
        double = re.sub(r":.*", ": " + dice.choice(_NUMBERS), double)
    return f"{text[:place]}{double}, {text[place:]}"
