"""With a GPU the processors calibrate while the engine is compared and asked what it takes."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from autoprec.backends.openvino import OpenVinoBackend, OpenVinoEngine
from autoprec.errors import StudyError, TrialError
from autoprec.spec import load_spec
from autoprec.study.preparation import calibrating
from autoprec.study.preparation.alongside import Asides, alongside
from autoprec.study.preparation.calibrating import calibrate, disturbs_timing
from autoprec.study.preparation.stages import Loaded, load
from tiny_study import write_study


class Gpu(OpenVinoBackend):
    """An engine that is timed as a GPU is; it counts what it builds."""

    builds = 0

    def __init__(self) -> None:
        super().__init__({})
        self.has_own_device = True

    def build(self, model_path: Path, *, profiled: bool = False) -> OpenVinoEngine:
        self.builds += 1
        return super().build(model_path, profiled=profiled)


def loaded_on(backend: OpenVinoBackend, folder: Path) -> Loaded:
    folder.mkdir(exist_ok=True)
    return replace(load(load_spec(write_study(folder)), print, scores=True), backend=backend)


def fail() -> None:
    raise StudyError("another function")


def test_what_went_wrong_is_raised_at_the_next_report() -> None:
    def report_for_ever() -> None:
        with alongside(fail, print) as say:
            for _ in itertools.repeat(None):
                say("calibrating")

    with pytest.raises(StudyError, match="another function"):
        report_for_ever()


def test_what_went_wrong_is_raised_at_the_end() -> None:
    with pytest.raises(StudyError, match="another function"), alongside(fail, print):
        pass


def test_the_block_ends_when_both_are_done() -> None:
    ready, done = threading.Event(), list[str]()

    def work() -> None:
        ready.wait()
        done.append("work")

    with alongside(work, done.append) as say:
        say("block")
        ready.set()
    assert done == ["block", "work"]


def test_no_work_goes_on_behind_what_began_it() -> None:
    stopped, ended = threading.Event(), list[str]()

    def work() -> None:
        stopped.wait()
        ended.append("work")

    def begin_and_fail() -> None:
        with Asides(stopped.set) as asides:
            asides.begin(fail)
            asides.begin(work)
            asides.wait()

    with pytest.raises(StudyError, match="another function"):
        begin_and_fail()
    assert ended == ["work"]


def test_a_small_calibration_for_a_gpu_runs_on_the_processors(tmp_path: Path) -> None:
    gpu = Gpu()
    of_gpu, of_cpu = loaded_on(gpu, tmp_path / "gpu"), loaded_on(OpenVinoBackend({}), tmp_path / "cpu")
    assert (disturbs_timing(of_gpu), disturbs_timing(of_cpu)) == (False, True)
    there, here = calibrate(of_gpu, print), calibrate(of_cpu, print)
    assert gpu.builds == 0
    assert there.histograms.by_value.keys() == here.histograms.by_value.keys()


def test_a_large_calibration_runs_on_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrating, "_CPU_MACS", 0)
    gpu = Gpu()
    loaded = loaded_on(gpu, tmp_path)
    calibrate(loaded, print)
    assert gpu.builds
    assert disturbs_timing(loaded)


def test_what_the_processors_cannot_run_is_calibrated_on_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, said = Gpu(), list[str]()
    loaded, build = loaded_on(gpu, tmp_path), OpenVinoBackend.build

    def refusing(self: OpenVinoBackend, path: Path, *, profiled: bool = False) -> OpenVinoEngine:
        if self is not gpu:
            raise TrialError("build", "unknown operator")
        return build(self, path, profiled=profiled)

    monkeypatch.setattr(OpenVinoBackend, "build", refusing)
    calibrate(loaded, said.append)
    assert gpu.builds
    assert any("unknown operator; calibrating on the engine instead" in line for line in said)
