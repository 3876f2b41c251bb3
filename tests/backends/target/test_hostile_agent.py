"""What a target sends is data: each lie ends in one line, in bounded memory and time."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from autoprec.backends import run
from autoprec.backends.target import TargetBackend, channel
from autoprec.backends.target.engine import TargetEngine
from autoprec.errors import BackendError, TrialError
from tiny_study import write_model

LIAR = Path(__file__).with_name("liar.py")
FEEDS = {"image": np.zeros((1, 3, 32, 32), np.float32)}
ZEROS = {"raw": "00" * 4096, "times": -1}
WHOLE_FRAME = "0000000100000002" + b"{}".hex()


def lying(folder: Path, **lies: object) -> TargetBackend:
    python = folder / "python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} {LIAR} {shlex.quote(json.dumps(lies))}\n")
    python.chmod(0o755)
    return TargetBackend(
        {"engine": "openvino", "target": f"local:{python}", "target_folder": str(folder / "there")}
    )


def used(folder: Path, backend: TargetBackend) -> None:
    """All that a trial does with an engine."""
    with backend.build(write_model(folder / "tiny.onnx")) as engine:
        assert isinstance(engine, TargetEngine)
        run(engine, FEEDS)
        engine.milliseconds(3)
        engine.kernels()
        backend.clocks()


def arrays(*told: object, sizes: tuple[int, ...] = (8192,)) -> dict[str, object]:
    return {"answer": {"arrays": list(told)}, "blobs": list(sizes)}


LIES: dict[str, dict[str, object]] = {
    "another shape": {"run": arrays(["", "<f4", [1, 2, 16, 64]])},
    "a negative size": {"run": arrays(["", "<f4", [1, 2, 32, -1]])},
    "a size that is none": {"run": arrays(["", "<f4", [1, 2, 32, "32"]])},
    "objects": {"run": arrays(["", "|O", [1, 2, 32, 32]])},
    "a type of many parts": {"run": arrays(["", "(32,32)<f4", [1, 2]])},
    "fewer bytes": {"run": arrays(["", "<f4", [1, 2, 32, 32]], sizes=(8000,))},
    "more bytes": {"run": arrays(["", "<f4", [1, 2, 32, 32]], sizes=(1 << 20,))},
    "more arrays": {"run": arrays(["", "<f4", [1, 2, 32, 32]], ["x", "<f4", [1]], sizes=(8192, 4))},
    "another name": {"run": arrays(["others", "<f4", [1, 2, 32, 32]])},
    "no arrays": {"run": {"answer": {"arrays": {"masks": 1}}}},
    "blobs in an answer that has none": {"build": {"answer": {}, "blobs": [1 << 20]}},
    "no time": {"rounds": {"answer": {"milliseconds": [float("nan")]}}},
    "a time before now": {"rounds": {"answer": {"milliseconds": [-1]}}},
    "a time without an end": {"rounds": {"answer": {"milliseconds": [float("inf")]}}},
    "times of others": {"rounds": {"answer": {"milliseconds": [1, 2]}}},
    "a word for a time": {"rounds": {"answer": {"milliseconds": ["1.5"]}}},
    "truth for a time": {"rounds": {"answer": {"milliseconds": [True]}}},
    "no description": {"describe": {"answer": {"nodes": [7]}}},
    "a clock that is a list": {"clocks": {"answer": {"sm_mhz": []}}},
    "a power mode without an end": {"clocks": {"answer": {"power_mode": "x" * 10_000}}},
    "a header of a gigabyte": {"prepare": {"raw": "0000000140000000"}},
    "a header too long for its request": {"prepare": {"answer": {"words": "x" * (2 << 20)}}},
    "nothing but zeros": {"build": ZEROS},
    "another protocol": {"build": {"raw": "00000002000000027b7d"}},
    "a list for a header": {"build": {"raw": "00000001000000025b5d"}},
    "no list of blobs": {"build": {"raw": WHOLE_FRAME}},
    "a number of 5000 digits": {"build": {"raw": "0000000100001388" + "31" * 5000}},
    "lists in lists": {"build": {"raw": "0000000100004e20" + "5b" * 20_000}},
    "an error of many lines": {"build": {"answer": {"error": "build", "message": "a\n" * 9000}}},
    "an error that is a list": {"build": {"answer": {"error": [], "message": {}}}},
    "words without an end": {"hello": {"words": "x" * 4096}},
}
ONE_OF_EACH = {
    "another shape",
    "objects",
    "more bytes",
    "blobs in an answer that has none",
    "a time without an end",
    "no description",
    "a power mode without an end",
    "a header of a gigabyte",
    "lists in lists",
    "an error of many lines",
}
"""A lie of each kind; all others are slow."""


@pytest.mark.parametrize(
    "lie", [lie if lie in ONE_OF_EACH else pytest.param(lie, marks=pytest.mark.slow) for lie in LIES]
)
def test_a_lie_ends_in_one_line(lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "SECONDS", {"hello": 2.0})
    before = psutil.Process().memory_info().rss
    with pytest.raises((TrialError, BackendError)) as told:
        used(tmp_path, lying(tmp_path, **LIES[lie]))
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 1500
    assert psutil.Process().memory_info().rss - before < 100 << 20


def test_the_truth_is_taken(tmp_path: Path) -> None:
    used(tmp_path, lying(tmp_path))


@pytest.mark.parametrize(
    "size",
    [-1, "many", *(pytest.param(size, marks=pytest.mark.slow) for size in (1e300, float("nan"), None, [1]))],
)
def test_a_size_that_is_none_counts_as_unknown(tmp_path: Path, size: object) -> None:
    backend = lying(tmp_path, build={"answer": {"engine_bytes": 5, "device_memory_bytes": size}})
    with backend.build(write_model(tmp_path / "tiny.onnx")) as engine:
        assert engine.device_memory_bytes == 0


def test_a_target_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "START_SECONDS", 0.5)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 600\n")
    python.chmod(0o755)
    backend = TargetBackend({"engine": "openvino", "target": f"local:{python}"})
    with pytest.raises(BackendError, match="takes the connection, and does not answer"):
        backend.fingerprint()


def test_an_engine_that_never_loads_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "SECONDS", {"hello": 0.5})
    backend = lying(tmp_path, hello={"raw": "", "times": 0})
    with pytest.raises(BackendError, match=r"did not answer within 0\.5 s"):
        backend.fingerprint()
