"""The shipped demo, typed and built by TensorRT-RTX for GPUs that are not here: every block as asked."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import onnx_ir as ir
import pytest

from autoprec.errors import TrialError
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.measurement.audit import audit, deciding_nodes
from autoprec.precisions import PRECISIONS
from autoprec.records import Assignment, Block, BlockAudit
from tensorrt_here import planned_kernels, tensorrt_backend

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install '.[tensorrt-rtx]'")

DEMO = Path(__file__).parents[3] / "studies" / "models" / "demo_encoder.onnx"


@cache
def demo() -> tuple[ir.Model, tuple[Block, ...]]:
    model = load_model(DEMO, {})
    return model, partition(model)


def built(folder: Path, target: str, *cycle: str) -> dict[str, BlockAudit]:
    """What each block ran in, with the precisions of `cycle` given to the blocks in turn."""
    model, blocks = demo()
    backend = tensorrt_backend(target)
    ranges = {str(value.name): 4.0 for node in model.graph for value in node.outputs} | {"image": 4.0}
    rewriter = Rewriter(model, blocks, ranges, base=backend.base_precision, widened=backend.widened)
    chosen = Assignment(choices=tuple((block.name, cycle[n % len(cycle)]) for n, block in enumerate(blocks)))
    candidate = rewriter.write(chosen, folder / "candidate.onnx")
    kernels = planned_kernels(backend, Path(candidate.model_path))
    return {one.block: one for one in audit(blocks, chosen, kernels, deciding_nodes(model, blocks, chosen))}


@pytest.mark.parametrize("target", ["8.6", "8.9", "12.0"])
@pytest.mark.parametrize("cycle", [("fp16",), ("bf16",), ("int8",), ("fp32", "int8", "bf16", "fp16")])
def test_every_block_of_the_demo_runs_in_what_it_is_asked(
    tmp_path: Path, target: str, cycle: tuple[str, ...]
) -> None:
    audits = built(tmp_path, target, *cycle)
    assert [f"{b.block}: {b.asked} ran {b.ran}" for b in audits.values() if b.matches is not True] == []


@pytest.mark.parametrize("target", ["8.9", "12.0"])
def test_every_block_of_the_demo_runs_in_fp8_where_the_gpu_has_it(tmp_path: Path, target: str) -> None:
    audits = built(tmp_path, target, "fp8")
    assert [f"{b.block} ran {b.ran}" for b in audits.values() if b.matches is not True] == []


@pytest.mark.parametrize(
    ("target", "precision"),
    [
        ("8.6", "int8+gemm"),
        ("8.9", "int8+gemm"),
        ("8.9", "fp8+gemm"),
        ("12.0", "fp8+gemm"),
        ("12.0", "nvfp4"),
    ],
)
def test_products_of_a_block_run_quantised_while_its_convolutions_stay_floats(
    tmp_path: Path, target: str, precision: str
) -> None:
    audits = built(tmp_path, target, precision)
    ran = {audited.ran for audited in audits.values() if audited.ran}
    assert {one.partition(" ")[0] for one in ran} == {PRECISIONS[precision].runs_as}


def test_one_fp8_block_on_a_gpu_without_it_is_a_failed_build(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="fp8_e4m3") as caught:
        built(tmp_path, "8.6", "fp16", "fp8")
    assert caught.value.kind == "build"
