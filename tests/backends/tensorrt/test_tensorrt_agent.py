"""The agent's use of TensorRT: plans as the adapter's, and what a weakly typed builder is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoprec.backends.target.agent import tensorrt_engine
from autoprec.backends.target.agent.cuda_driver import CudaError
from autoprec.backends.target.agent.tensorrt_engine import TensorRTBuilder
from autoprec.backends.target.models import split_model
from tensorrt_here import MASK, mask
from tiny_study import write_model

AGENT_ALONE = {"8.6.1", "10.3.0"}


class NoDriver:
    """Plans need no GPU here; what runs them is tried where there is one."""

    def __init__(self, ordinal: int) -> None:
        self.ordinal = ordinal

    def facts(self) -> dict[str, Any]:
        return {"name": "none", "major": 8, "minor": 6, "driver": "13.0"}


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TensorRTBuilder:
    import importlib

    monkeypatch.setattr(tensorrt_engine, "Driver", NoDriver)
    if not MASK:
        pytest.importorskip(
            "tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install '.[tensorrt-rtx]'"
        )
    if MASK:
        module = importlib.import_module("tensorrt")
        monkeypatch.setattr(tensorrt_engine, "import_tensorrt", lambda _: module)
        mask().TOLD.clear()
        mask().TARGET[:] = [(8, 6)]
    return TensorRTBuilder({}, tmp_path)


def plan(engines: TensorRTBuilder, path: Path) -> bytes:
    """A plan as a candidate goes over: whole, or with words beside it for a builder that needs them."""
    parts = split_model(path, is_weak=engines.is_weak)
    path.write_bytes(b"".join(parts.blobs[part] for part in parts.order))
    return engines.plan(path, {"layers": [list(layer[:3]) for layer in parts.layers]})


def test_the_agent_builds_a_candidate(engines: TensorRTBuilder, tmp_path: Path) -> None:
    assert len(plan(engines, write_model(tmp_path / "tiny.onnx"))) > 1000
    assert engines.facts()["is_weak"] == (MASK == "8.6.1")


@pytest.mark.skipif(MASK != "8.6.1", reason="types in a model bind every later version")
def test_a_weak_builder_is_told_every_layer(engines: TensorRTBuilder, tmp_path: Path) -> None:
    plan(engines, write_model(tmp_path / "tiny.onnx"))
    told = mask().TOLD
    assert [words[1] for words in told if words[0] == "flag"] == [
        "FP16",
        "INT8",
        "OBEY_PRECISION_CONSTRAINTS",
    ]
    assert ("/a/conv/Conv", "precision", "FLOAT") in told
    assert ("/a/conv/Conv", "output", "FLOAT") in told


@pytest.mark.skipif(MASK == "8.6.1", reason="that version takes what has no type")
def test_what_the_parser_refuses_is_a_build_failure(engines: TensorRTBuilder, tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(CudaError) as told:
        engines.plan(tmp_path / "no.onnx", {})
    assert told.value.kind == "build"


@pytest.mark.skipif(not MASK, reason="TensorRT-RTX times nothing when it builds")
def test_kernel_timings_are_kept_between_builds(engines: TensorRTBuilder, tmp_path: Path) -> None:
    assert not engines.timings()
    plan(engines, write_model(tmp_path / "tiny.onnx"))
    assert len(engines.timings()) > 10
