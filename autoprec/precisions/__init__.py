"""The precisions that a block may run in: one file of data each, and the table below.

A new precision is one new file and one line here. 8-bit ones come with their variants.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from autoprec.errors import UserError
from autoprec.precisions import bf16, fp8, fp16, fp32, int4, int8, int8_weights, nvfp4
from autoprec.precisions._base import Precision
from autoprec.precisions.variants import CURES, RANGES, variants

PLAIN: Mapping[str, Precision] = MappingProxyType(
    {
        "fp32": fp32.PRECISION,
        "fp16": fp16.PRECISION,
        "bf16": bf16.PRECISION,
        "int8": int8.PRECISION,
        "fp8": fp8.PRECISION,
        "int8-weights": int8_weights.PRECISION,
        "int4": int4.PRECISION,
        "nvfp4": nvfp4.PRECISION,
    }
)
"""Precisions as engines know them."""


class _Known(dict[str, Precision]):
    """Raises `UserError` for an unknown name: it is from a newer autoprec, or was changed by hand."""

    def __missing__(self, name: str) -> Precision:
        raise UserError(f"this autoprec knows no precision {name!r}; upgrade it, or restore the study")


PRECISIONS: Mapping[str, Precision] = MappingProxyType(
    _Known(
        dict(PLAIN)
        | {variant.name: variant for variant in variants(int8.PRECISION, grid=True)}
        | {variant.name: variant for variant in variants(fp8.PRECISION, grid=False)}
    )
)
"""All precisions and variants, by name. `[]` raises `UserError` for an unknown one."""


def listed() -> str:
    """The names for a message: over a hundred variants are described by their parts."""
    parts = ", ".join(f"+{name}" for name in (*RANGES, *CURES))
    return f"{', '.join(PLAIN)}; int8 and fp8 may be followed by {parts}"


__all__ = ["CURES", "PLAIN", "PRECISIONS", "Precision", "listed"]
