"""`autoprec doctor` on whatever machine the tests run on."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

from autoprec.backends.checks import machine_checks
from autoprec.errors import TrialError
from autoprec.measurement import Bench, Probe
from autoprec.spec import BackendSection
from autoprec.study.diagnosis import diagnose


def test_every_part_is_told_and_what_is_missing_has_a_remedy() -> None:
    checks = {check.name: check for check in machine_checks()}
    assert {"python", "openvino", "tensorrt-rtx", "tensorrt", "NVIDIA driver"} <= set(checks)
    for name in ("tensorrt-rtx", "tensorrt"):
        if not importlib.util.find_spec(name.replace("-", "_")):
            assert f"pip install '.[{name}]'" in checks[name].remedy


def test_an_engine_that_is_not_there_is_a_check_with_a_remedy() -> None:
    if importlib.util.find_spec("tensorrt"):
        pytest.skip("TensorRT is installed")
    checks = diagnose(BackendSection(name="tensorrt", options={"library": "tensorrt"}))
    assert checks.engine is None
    assert "pip install '.[tensorrt]'" in checks.checks[-1].remedy


def test_a_target_that_cannot_serve_is_told_without_what_this_machine_has() -> None:
    checks = diagnose(BackendSection(name="openvino", options={"target": "local:/no-such-python"})).checks
    assert [check.name for check in checks] == ["target"]
    assert checks[0].remedy.startswith("local:/no-such-python")


def test_doctor_ends_with_2_where_the_engine_cannot_serve() -> None:
    if importlib.util.find_spec("tensorrt_rtx") or importlib.util.find_spec("tensorrt"):
        pytest.skip("TensorRT is installed")
    command = [sys.executable, "-m", "autoprec", "doctor", "--backend", "tensorrt"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (process.returncode, "cannot serve" in process.stdout) == (2, True)


def test_fp8_is_off_the_table_of_a_gpu_without_it() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    section = BackendSection(name="tensorrt", options={"compute_capabilities": "8.6"})
    legality = diagnose(section, ["fp8"]).legality
    assert legality is not None
    assert dict(legality.refusals(["gemm"], ["fp8"]))["fp8"].startswith("gemm: build: ")


@pytest.mark.slow
def test_doctor_prints_as_json_that_openvino_takes_int8_and_not_fp8() -> None:
    command = [sys.executable, "-m", "autoprec", "doctor", "--backend", "openvino", "--json"]
    listing = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    conv = {
        v["precision"]: v["state"] == "legal"
        for v in listing["legality"]["verdicts"]
        if v["pattern"] == "conv"
    }
    assert listing["engine"]["backend"] == "openvino"
    assert (conv["int8"], conv["fp8"]) == (True, False)


def test_what_a_float_precision_really_runs_in_is_told() -> None:
    legality = diagnose(BackendSection(name="openvino"), ["fp32"]).legality
    assert legality is not None
    conv = legality.find("conv", "fp32")
    assert conv is not None
    assert (conv.is_legal, conv.ran) == (True, "f32")


def test_a_machine_on_which_no_pattern_can_be_tried_is_told_after_three(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def killed(self: Bench, probe: Probe) -> None:
        raise TrialError("killed", "the worker was killed from outside")

    monkeypatch.setattr(Bench, "probe", killed)
    lines: list[str] = []
    check = diagnose(BackendSection(name="openvino"), ["fp32", "int8"], lines.append).checks[-1]
    assert "3 patterns in a row could not be tried (killed)" in check.remedy
    assert len([line for line in lines if "could not be tried" in line]) == 3
