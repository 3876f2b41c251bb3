"""A board's power mode and clocks are recorded, and a change of them in the night is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprec.backends.target import TargetBackend
from autoprec.backends.target.agent.power import read_power
from autoprec.errors import BackendError

from .test_target import local
from .test_trtexec import trtexec

SHOWN = """\
cpu0: Online=1 Governor=schedutil MinFreq=729600 MaxFreq=1510400 CurrentFreq=729600 IdleStates: WFI=1 c7=1
GPU MinFreq={low} MaxFreq=612000000 CurrentFreq=306000000
EMC MinFreq=204000000 MaxFreq=3199000000 CurrentFreq=2133000000 FreqOverride=0
"""


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands of a Jetson, which print the files `mode` and `clocks` beside them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, file in (("nvpmodel", "mode"), ("jetson_clocks", "clocks"), ("nvidia-smi", "smi")):
        (folder / name).write_text(f"#!/bin/sh\nexec cat {folder}/{file}\n")
        (folder / name).chmod(0o755)
    set_to(folder, "25W")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def set_to(folder: Path, mode: str, low: int = 306000000) -> None:
    (folder / "mode").write_text(f"NV Power Mode: {mode}\n1\n")
    (folder / "clocks").write_text(SHOWN.format(low=low))


def on(board: Path, kind: str) -> TargetBackend:
    there = board.parent / "there"
    return local(there) if kind == "agent" else trtexec(there, "8601")


@pytest.mark.parametrize("kind", ["agent", pytest.param("trtexec", marks=pytest.mark.slow)])
def test_power_mode_and_clocks_are_recorded(board: Path, kind: str) -> None:
    backend = on(board, kind)
    clocks = backend.clocks()
    assert (clocks.power_mode, clocks.clocks_locked, clocks.sm_mhz, clocks.memory_mhz) == (
        "25W",
        False,
        306,
        2133,
    )
    assert backend.fingerprint().device.endswith("power mode 25W")
    told = {check.name: check for check in backend.checks()}
    assert told["its power"].found == "mode 25W, GPU clock not held"
    assert "jetson_clocks" in told["its power"].remedy
    assert told["its engines"].found == "on GPU 0; a DLA is not used"


@pytest.mark.parametrize("kind", [pytest.param("agent", marks=pytest.mark.slow), "trtexec"])
def test_another_power_mode_in_the_night_is_noticed(board: Path, kind: str) -> None:
    backend = on(board, kind)
    assert backend.clocks().power_mode == "25W"
    set_to(board, "MAXN")
    with pytest.raises(BackendError, match="power mode was 25W, and is MAXN now"):
        backend.clocks()


def test_clocks_that_are_let_go_in_the_night_are_noticed(board: Path) -> None:
    set_to(board, "MAXN", low=612000000)
    backend = on(board, "agent")
    assert backend.clocks().clocks_locked
    set_to(board, "MAXN")
    with pytest.raises(BackendError, match="clock was held, and is not held now"):
        backend.clocks()


def test_a_card_tells_by_its_own_command() -> None:
    power = read_power(["", "", "", "1695, 9501, 320.15, 61\n"])
    assert power == {"sm_mhz": 1695, "memory_mhz": 9501, "power_watts": 320.15, "temperature_celsius": 61}


@pytest.mark.parametrize("told", ["", "[N/A], [N/A], [N/A], [N/A]", "no devices were found", "1e999, x"])
def test_what_is_not_told_is_left_out(told: str) -> None:
    assert read_power(["nvpmodel: not found", "", "Please run as root", told]) == {}
