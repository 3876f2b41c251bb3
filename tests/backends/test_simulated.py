"""The simulated backend has exactly the latency, the loss and the faults that its table says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest

from autoprec.backends import run
from autoprec.backends.simulated import ASSIGNMENT_KEY, SimulatedBackend
from autoprec.errors import BackendError, TrialError
from autoprec.quality import METRICS

MODEL = '<ir_version: 10, opset_import: ["" : 21]> g (float[1] x) => (float[2,64,64] masks) {}'
COSTS: dict[str, Any] = {
    "base_ms": 1.0,
    "boundary_ms": 0.25,
    "blocks": {
        "stem": {"fp16": {"ms": 4}, "int8": {"ms": 2, "loss": 0.25}},
        "body": {"fp16": {"ms": 8}, "int8": {"ms": 3, "loss": 0.125}},
        "head": {"fp16": {"ms": 2}},
    },
}


def backend(folder: Path, **changes: Any) -> SimulatedBackend:
    (folder / "costs.json").write_text(json.dumps(COSTS | changes))
    return SimulatedBackend({"costs": str(folder / "costs.json")})


def candidate(folder: Path, **choices: str) -> Path:
    model = onnx.parser.parse_model(MODEL)
    if choices:
        onnx.helper.set_model_props(model, {ASSIGNMENT_KEY: json.dumps(list(choices.items()))})
    path = folder / f"{'-'.join(choices.values())}.onnx"
    onnx.save(model, path)
    return path


def masks(engine: Any) -> np.ndarray[Any, Any]:
    output: np.ndarray[Any, Any] = run(engine, {"x": np.zeros(1, np.float32)})["masks"]
    return output


def test_latency_is_the_sum_of_blocks_and_boundaries(tmp_path: Path) -> None:
    build = backend(tmp_path).build
    uniform = build(candidate(tmp_path, stem="fp16", body="fp16", head="fp16"))
    mixed = build(candidate(tmp_path, stem="fp16", body="int8", head="fp16"))
    assert uniform.known_milliseconds() == pytest.approx(1 + 4 + 8 + 2)
    assert mixed.known_milliseconds() == pytest.approx(1 + 4 + 3 + 2 + 2 * 0.25)
    assert build(candidate(tmp_path)).known_milliseconds() == 1


@pytest.mark.parametrize(("choices", "loss"), [(("int8", "int8"), 0.375), (("fp16", "int8"), 0.125)])
def test_masks_lose_what_the_table_says(choices: tuple[str, str], loss: float, tmp_path: Path) -> None:
    build = backend(tmp_path).build
    metric = METRICS["mask_iou"](0.0)
    reference = masks(build(candidate(tmp_path, stem="fp16", body="fp16")))
    metric.update("a", reference, masks(build(candidate(tmp_path, stem=choices[0], body=choices[1]))), None)
    assert metric.result().loss == pytest.approx(loss)


def test_noise_is_seeded_and_differs_between_engines(tmp_path: Path) -> None:
    def readings(seed: int) -> list[list[float]]:
        build = backend(tmp_path, noise=0.05, seed=seed).build
        engines = [build(candidate(tmp_path, stem="fp16")) for _ in range(2)]
        return [[engine.known_milliseconds() for _ in range(400)] for engine in engines]

    first, second = readings(7)
    assert [first, second] == readings(7)
    assert first != second
    assert readings(8)[0] != first
    assert np.std(np.log(first)) == pytest.approx(0.05, rel=0.2)


def test_the_fingerprint_follows_the_table(tmp_path: Path) -> None:
    assert backend(tmp_path).fingerprint() != backend(tmp_path, base_ms=2.0).fingerprint()


def test_a_block_without_a_cost_fails_to_build(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="block 'head' has no simulated cost in int8") as caught:
        backend(tmp_path).build(candidate(tmp_path, head="int8"))
    assert caught.value.kind == "build"


def failing(folder: Path, fault: str) -> SimulatedBackend:
    return backend(folder, blocks={"stem": {"int8": {"ms": 1, "fails": fault}}})


def test_a_failed_build_and_a_failed_run_are_trial_errors(tmp_path: Path) -> None:
    path = candidate(tmp_path, stem="int8")
    with pytest.raises(TrialError, match="block 'stem' is set to fail in int8"):
        failing(tmp_path, "build").build(path)
    with pytest.raises(TrialError, match="set to fail in inference"):
        failing(tmp_path, "run").build(path).execute()


def test_nan_comes_out_as_nan(tmp_path: Path) -> None:
    values = masks(failing(tmp_path, "nan").build(candidate(tmp_path, stem="int8")))
    assert np.isnan(values).all()


CHILD = """
import sys
from pathlib import Path
from autoprec.backends import create_backend
engine = create_backend("simulated", {"costs": sys.argv[1]}).build(Path(sys.argv[2]))
print("built", flush=True)
engine.execute()
"""


def child(folder: Path, fault: str) -> subprocess.Popen[bytes]:
    """A process that has built an engine with a fault, and now executes it."""
    failing(folder, fault)
    arguments = [sys.executable, "-c", CHILD, str(folder / "costs.json"), str(candidate(folder, stem="int8"))]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout
    assert process.stdout.readline() == b"built\n"
    return process


def test_a_crash_kills_the_process(tmp_path: Path) -> None:
    with child(tmp_path, "crash") as process:
        assert process.wait(20) == -6


def test_a_hang_lasts_without_using_the_processor(tmp_path: Path) -> None:
    with child(tmp_path, "hang") as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        assert psutil.Process(process.pid).status() == psutil.STATUS_SLEEPING
        process.kill()


def test_hunger_takes_real_memory(tmp_path: Path) -> None:
    with child(tmp_path, "memory") as process:
        eater, grown = psutil.Process(process.pid), 0
        while grown < 300 << 20 and process.poll() is None:
            grown = max(grown, eater.memory_info().rss)
        process.kill()
    assert grown >= 300 << 20


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"blocks": {"a": {"fp16": {}}}}',
        '{"blocks": {}, "speed": 1}',
        '{"blocks": {}, "noise": -1}',
    ],
)
def test_a_malformed_table_is_refused_by_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text(text)
    with pytest.raises(BackendError, match=r"costs\.json: cannot be read as a table of simulated costs"):
        SimulatedBackend({"costs": str(tmp_path / "costs.json")})
