"""Variants of the 8-bit precisions: how ranges are chosen, and what is done to weights before rounding.

`int8+p99.9+smooth+float-add+adaround+bias` is INT8 with all of it. Parts come in that order; each may be left
out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from autoprec.precisions._base import Precision

RANGES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "minmax": {"range_method": "min-max"},
        "p99.9": {"range_method": "percentile", "percentile": 99.9},
        "p99.99": {"range_method": "percentile", "percentile": 99.99},
        "entropy": {"range_method": "entropy"},
        "mse": {"range_method": "mse"},
    }
)
"""How the ranges of activations are chosen; without one of these, as the study's `[calibration]` says."""

CURES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "gemm": {"only_products": True},
        "smooth": {"passes": ("smoothing",)},
        "float-add": {},
        "qk-float": {"float_products": frozenset({"qk"})},
        "pv-float": {"float_products": frozenset({"pv"})},
        "adaround": {"passes": ("rounding",), "needs_moments": True, "learns_rounding": True},
        "bias": {"passes": ("rounding",), "needs_moments": True, "corrects_bias": True},
    }
)
"""What is quantised at all, and what is done to activations, residual additions, products of attention,
weights and biases, in this order, as properties of `Precision`; passes of several parts run in turn."""

_PRODUCTS = frozenset({"Gemm", "MatMul"})


def variants(plain: Precision, *, grid: bool) -> Iterator[Precision]:
    """`plain`, then all its variants, by name.

    `grid` says that its values are evenly spaced: entropy, MSE and learned rounding are about that.
    `float-add` leaves the skip operand of a residual Add in the float type; `gemm` that and every convolution
    but dense 1x1 ones, which it writes as products of matrices; `qk-float` and `pv-float` leave products of
    attention in the float type.
    """
    has_add = "Add" in plain.quantized_ops
    ranges = [name for name in RANGES if grid or RANGES[name]["range_method"] in ("min-max", "percentile")]
    lacking = {name for name, has in (("adaround", grid), ("float-add", has_add)) if not has}
    cures = [name for name in CURES if name not in lacking]
    for method in (None, *ranges):
        for chosen in itertools.product((False, True), repeat=len(cures)):
            parts = [*([method] if method else []), *itertools.compress(cures, chosen)]
            # `gemm` quantises no Add anyway: both together would be a second name for the same.
            if {"gemm", "float-add"} <= set(parts):
                continue
            settings = [RANGES[part] if part in RANGES else CURES[part] for part in parts]
            data: dict[str, Any] = {name: value for setting in settings for name, value in setting.items()}
            passes = (name for setting in settings for name in setting.get("passes", ()))
            data["passes"] = tuple(dict.fromkeys(passes))
            if {"qk-float", "pv-float"} <= set(parts):
                data["float_products"] = frozenset({"qk", "pv"})
            if "float-add" in parts:
                data["quantized_ops"] = plain.quantized_ops - {"Add"}
            summary = f"{plain.name} with {', '.join(parts)}" if parts else plain.summary
            if "gemm" in parts:
                data["quantized_ops"] = _PRODUCTS
            yield msgspec.structs.replace(plain, name="+".join((plain.name, *parts)), summary=summary, **data)
