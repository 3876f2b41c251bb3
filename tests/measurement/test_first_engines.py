"""A decoder and the reference are built in parallel, and one that fails says what it says alone."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import onnx
import pytest
from onnx import parser

from autoprec import backends
from autoprec.backends.openvino import OpenVinoBackend, OpenVinoEngine
from autoprec.errors import TrialError
from autoprec.measurement.workbench import Workbench
from autoprec.spec import PipelineSection, load_spec
from autoprec.study.preparation import Prepared, prepare
from tiny_study import write_study

DECODES = """<ir_version: 10, opset_import: ["" : 21]>
g (float[1,N,H,W] masks) => (float[1,N,H,W] decoded) { decoded = Identity (masks) }"""


class Beside(OpenVinoBackend):
    """Builds away from its device; each of two builds waits for the other to begin."""

    builds_on_device = False
    both = threading.Barrier(2)

    def build(self, model_path: Path, *, profiled: bool = False) -> OpenVinoEngine:
        if model_path.name == "reference.onnx":
            self.both.wait(30)
        return super().build(model_path, profiled=profiled)

    def build_untimed(self, model_path: Path) -> OpenVinoEngine:
        self.both.wait(30)
        return super().build(model_path)


class Refusing(Beside):
    """Has no decoder."""

    both = threading.Barrier(1)

    def build_untimed(self, model_path: Path) -> OpenVinoEngine:
        raise TrialError("build", f"no {model_path.name}")


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    prepared = prepare(load_spec(write_study(tmp_path)))
    onnx.save(parser.parse_model(DECODES), tmp_path / "decoder.onnx")
    section = PipelineSection(decoder=str(tmp_path / "decoder.onnx"), output="decoded")
    object.__setattr__(prepared, "setup", msgspec.structs.replace(prepared.setup, pipeline=section))
    return prepared


def on(monkeypatch: pytest.MonkeyPatch, kind: type[OpenVinoBackend]) -> None:
    monkeypatch.setattr(backends, "backend_type", lambda _: kind)


def test_both_are_built_at_once(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, Beside)
    assert len(Workbench(prepared.setup).masks) > 0


def test_a_decoder_that_fails_is_told(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, Refusing)
    with pytest.raises(TrialError, match=r"no decoder\.onnx"):
        Workbench(prepared.setup)
