"""The precisions that a block may run in: one file of data each, and the table below.

A new precision is one new file and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from autoprec.precisions import bf16, fp8, fp16, fp32, int4, int8
from autoprec.precisions._base import Precision

PRECISIONS: Mapping[str, Precision] = MappingProxyType(
    {
        "fp32": fp32.PRECISION,
        "fp16": fp16.PRECISION,
        "bf16": bf16.PRECISION,
        "int8": int8.PRECISION,
        "fp8": fp8.PRECISION,
        "int4": int4.PRECISION,
    }
)

__all__ = ["PRECISIONS", "Precision"]
