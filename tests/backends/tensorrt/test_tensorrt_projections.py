"""Fused projections in TensorRT-RTX's builder: written apart, only where it would dequantise the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tensorrt_here import rtx_alone
from vit import FUSED, HEADS, built, transformer

pytestmark = rtx_alone
pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install '.[tensorrt-rtx]'")

PRODUCT = "qkv = MatMul(n, w_qkv)"
BIASED = "wide = MatMul(n, w_qkv) qkv = Add(wide, b_qkv)"
GEMM = "nr = Reshape(n, tall) qkv = Gemm<transB = 1>(nr, w_gemm, b_qkv)"
SPLIT = "q, k, v = Split<axis = 2, num_outputs = 3>(qkv)"
SLICES = "q = Slice(qkv, c0, c64, c2) k = Slice(qkv, c64, c128, c2) v = Slice(qkv, c128, c192, c2)"
TURNED = "wide5 = Reshape(qkv, five) moved = Transpose<perm = [2,0,3,1,4]>(wide5)"
GATHERS = "qt = Gather(moved, i0) kh = Gather(moved, i1) vt = Gather(moved, i2)"
SQUEEZED = (
    "qs, ks, vs = Split<num_outputs = 3>(moved) "
    "qt = Squeeze(qs, c0) kh = Squeeze(ks, c0) vt = Squeeze(vs, c0)"
)
KEYS = "kt = Transpose<perm = [0,1,3,2]>(kh)"
MERGED = (
    "p = Reshape(moved, merged) qt = Slice(p, c0, c1, c0) kh = Slice(p, c1, c2, c0) vt = Slice(p, c2, c3, c0)"
)
FORMS = {
    "split": (FUSED, HEADS),
    "biased, split": (f"{BIASED} {SPLIT}", HEADS),
    "biased, slices": (f"{BIASED} {SLICES}", HEADS),
    "heads, gathers": (PRODUCT, f"{TURNED} {GATHERS} {KEYS}"),
    "biased heads, gathers": (BIASED, f"{TURNED} {GATHERS} {KEYS}"),
    "biased heads, split": (BIASED, f"{TURNED} {SQUEEZED} {KEYS}"),
    "gemm heads, gathers": (GEMM, f"{TURNED} {GATHERS} {KEYS}"),
}
TURNED_PARTS = "t = Transpose<perm = [0,2,1]>(qkv) qa, ka, va = Split<axis = 1, num_outputs = 3>(t)"
TURNED_BACK = " ".join(f"{name} = Transpose<perm = [0,2,1]>({name}a)" for name in "qkv")
WHOLE = {
    "parts merged into the batch": (BIASED, f"{TURNED} {MERGED} {KEYS}"),
    "parts of what is turned alone": (f"{BIASED} {TURNED_PARTS} {TURNED_BACK}", HEADS),
}
REAL = [("8.9", "int8", "i8"), ("8.9", "fp8", "f8"), ("12.0", "nvfp4", "f4")]


@pytest.mark.parametrize(("target", "precision", "ran"), REAL)
@pytest.mark.parametrize("form", FORMS)
def test_every_part_of_a_projection_is_multiplied_in_what_was_asked(
    tmp_path: Path, form: str, target: str, precision: str, ran: str
) -> None:
    block_audit = built(transformer(tmp_path / "vit.onnx", *FORMS[form]), target, precision)
    # NVFP4 leaves the two products of attention alone.
    assert (block_audit.ran, block_audit.matches) == (f"{ran} x{7 if precision == 'nvfp4' else 9}", True)


@pytest.mark.parametrize(("target", "precision", "ran"), REAL)
@pytest.mark.parametrize("form", WHOLE)
def test_a_projection_that_is_multiplied_as_a_whole_stays_one(
    tmp_path: Path, form: str, target: str, precision: str, ran: str
) -> None:
    block_audit = built(transformer(tmp_path / "vit.onnx", *WHOLE[form]), target, precision)
    assert (block_audit.ran, block_audit.matches) == (f"{ran} x{5 if precision == 'nvfp4' else 7}", True)


@pytest.mark.parametrize("form", FORMS)
def test_a_fused_projection_that_the_builder_dequantises_is_seen(tmp_path: Path, form: str) -> None:
    path = transformer(tmp_path / "vit.onnx", *FORMS[form])
    assert built(path, "12.0", splits=False).ran == "f4 x4, bf16 x1"
