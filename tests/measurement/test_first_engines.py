"""A decoder and a first candidate are built beside the reference, and what fails says what it says alone."""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import ClassVar

import msgspec
import onnx
import pytest
from onnx import parser

from autoprec import backends
from autoprec.backends.openvino import OpenVinoBackend, OpenVinoEngine
from autoprec.errors import TrialError
from autoprec.measurement import Bench, Score
from autoprec.measurement.lease import DeviceLease
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


class Leased(Beside):
    """Notes whether its device was free while a decoder ran."""

    both = threading.Barrier(2)
    decoded: ClassVar[list[bool]] = []

    def build_untimed(self, model_path: Path) -> OpenVinoEngine:
        engine = super().build_untimed(model_path)
        execute = engine.execute

        def noting() -> None:
            lease = DeviceLease("leased")._open("lease")
            with closing(os.fdopen(lease)), suppress(BlockingIOError):
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
                raise AssertionError("a decoder ran without a lease")
            self.decoded.append(True)
            execute()

        engine.execute = noting  # type: ignore[method-assign]
        return engine


class Ahead(Beside):
    """The reference waits for a candidate to be begun."""

    both = threading.Barrier(1)
    begun: ClassVar[list[str]] = []

    def build_ahead(self, model_path: Path) -> None:
        self.begun.append(model_path.name)

    def build(self, model_path: Path, *, profiled: bool = False) -> OpenVinoEngine:
        self.begun.append(f"then {model_path.name}")
        return super().build(model_path, profiled=profiled)


class OnDevice(Ahead):
    """Builds where engines are timed."""

    builds_on_device = True
    begun: ClassVar[list[str]] = []


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


def test_no_decoder_is_warmed_up_while_another_engine_is_timed(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, Leased)
    decoder = Path(str(prepared.setup.pipeline.decoder))
    shape = onnx.load(prepared.setup.reference_path).graph.output[0].type.tensor_type.shape.dim
    sizes = ",".join(str(size.dim_value) for size in shape)  # no decoder of open ones is warmed up
    onnx.save(parser.parse_model(DECODES.replace("1,N,H,W", sizes)), decoder)
    masks = Workbench(msgspec.structs.replace(prepared.setup, device="leased")).masks
    assert len(Leased.decoded) == len(masks) + 1


def test_a_decoder_that_fails_is_told(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, Refusing)
    with pytest.raises(TrialError, match=r"no decoder\.onnx"):
        Workbench(prepared.setup)


def test_the_first_candidate_is_begun_before_the_reference_is_built(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, Ahead)
    steps: list[str] = []
    Workbench(prepared.setup, steps.append, first=Path("candidate.onnx"))
    assert Ahead.begun == ["candidate.onnx", "then reference.onnx"]
    assert steps[:2] == ["build", "reference"]


def test_nothing_is_begun_where_builds_use_the_device(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, OnDevice)
    Workbench(prepared.setup, first=Path("candidate.onnx"))
    assert OnDevice.begun == ["then reference.onnx"]


def test_a_worker_that_was_made_ready_has_the_reference_and_its_masks(prepared: Prepared) -> None:
    with Bench(prepared.folder / "worker.log") as bench:
        bench.ready(prepared.setup)
        masks = Path(prepared.setup.masks_path).read_bytes()
        Path(prepared.setup.reference_path).unlink()
        score = Score(setup=prepared.setup, candidate_path=str(prepared.folder / "none.onnx"), samples=1)
        with pytest.raises(TrialError, match=r"none\.onnx"):  # not the reference, which is built by now
            bench.score(score)
    assert masks


def test_what_keeps_a_worker_from_being_ready_is_told_with_the_first_request(prepared: Prepared) -> None:
    Path(prepared.setup.reference_path).unlink()
    score = Score(setup=prepared.setup, candidate_path="none.onnx", samples=1)
    with Bench(prepared.folder / "worker.log") as bench:
        bench.ready(prepared.setup)
        with pytest.raises(TrialError, match=r"reference\.onnx"):
            bench.score(score)
