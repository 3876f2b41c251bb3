"""Precisions layer by layer, as the options of trtexec before TensorRT 11 say them."""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST = 128 * 1024 - 1
"""Bytes of one argument of a command (MAX_ARG_STRLEN of Linux, with its end)."""
_PLAIN = re.compile(r"[^\s:,+*'\"]+")


def is_sayable(name: str) -> bool:
    """Whether options can hold a layer's name: `:`, `,` and `+` separate there, `*` is a wildcard."""
    return bool(_PLAIN.fullmatch(name)) and name.isprintable()


def layer_flags(precisions: Sequence[tuple[str, str]], outputs: Sequence[tuple[str, str]] = ()) -> list[str]:
    """Options that hold layers to their precision, or fail the build.

    Args:
        precisions: (layer, `fp32`, `fp16` or `int8`).
        outputs: (layer, type of its output).

    Their length may be beyond `LONGEST`.
    """
    named = {"--layerPrecisions": precisions, "--layerOutputTypes": outputs}
    said = [
        f"{flag}={','.join(f'{name}:{word}' for name, word in pairs)}"
        for flag, pairs in named.items()
        if pairs
    ]
    # Both are allowed to the builder, and each layer is told which of them it takes.
    return ["--fp16", "--int8", *(["--precisionConstraints=obey", *said] if said else [])]
