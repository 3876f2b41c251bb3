"""What only a GPU can show; run with `pytest -m gpu tests/backends/tensorrt`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from autoprec.backends import run
from autoprec.backends.tensorrt import TensorRTBackend, cuda
from autoprec.backends.tensorrt.kernel_cache import kernel_cache
from autoprec.backends.tensorrt.library import load_library
from autoprec.backends.timing import device_milliseconds, pair
from autoprec.errors import TrialError
from autoprec.legality.patterns import PATTERNS
from autoprec.spec import TimingSection
from patterns import saved, tried
from tensorrt_here import MASK, library

pytestmark = pytest.mark.gpu
LIBRARY: dict[str, str | int | float | bool] = {"library": "tensorrt" if MASK else "tensorrt-rtx"}
RANDOM = np.random.default_rng(0)


@pytest.fixture
def backend() -> TensorRTBackend:
    """With the user's own cache of compiled kernels, as in a study."""
    return TensorRTBackend({**LIBRARY})


def inputs_of(path: Path) -> dict[str, Any]:
    return {
        value.name: RANDOM.standard_normal(
            [d.dim_value for d in value.type.tensor_type.shape.dim], np.float32
        )
        for value in onnx.load(path).graph.input
    }


@pytest.fixture
def slow_path(tmp_path: Path) -> Path:
    """A chain of large matrix products, long enough that the clock's grain does not matter."""
    size, layers = 2048, 12
    text = "\n".join(f"v{i + 1} = MatMul(v{i}, w)" for i in range(layers))
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 21]> g (float16[{size},{size}] v0) => '
        f"(float16[{size},{size}] v{layers}) {{ {text} }}"
    )
    weight = np.eye(size, dtype=np.float16)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    path = tmp_path / "slow.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "fp8"])
@pytest.mark.parametrize("pattern", ["gemm", "matmul", "attention", "relu_linear_attention", "layer_norm"])
def test_outputs_are_those_of_onnxruntime(
    tmp_path: Path, backend: TensorRTBackend, pattern: str, precision: str
) -> None:
    ort = pytest.importorskip("onnxruntime")
    verdict = tried(tmp_path, backend, pattern, precision)
    if verdict.is_unfit:
        pytest.skip(verdict.reason)
    path = saved(tmp_path, pattern, precision)
    inputs = inputs_of(path)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    (expected,) = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(
        None, inputs
    )
    with backend.build(path) as engine:
        output = run(engine, inputs)["y"]
    # Engines round elsewhere: FP16 and TF32 a little, FP8 attention noticeably.
    assert np.sqrt(np.mean((output - expected) ** 2)) < 0.05 * np.std(expected)


@pytest.mark.parametrize("options", [{}, {"cuda_graph": False}, {"rotate_buffers": True}])
def test_a_second_input_gives_the_second_output(tmp_path: Path, options: dict[str, bool]) -> None:
    path = saved(tmp_path, "layer_norm", "fp32")
    first, second = inputs_of(path), inputs_of(path)
    with TensorRTBackend({**LIBRARY, **options}).build(path) as engine:
        outputs = [run(engine, inputs)["y"] for inputs in (first, second, first)]
        for _ in range(5):
            engine.execute()
        np.testing.assert_array_equal(engine.outputs()["y"], outputs[0])
    np.testing.assert_array_equal(outputs[0], outputs[2])
    assert np.abs(outputs[0] - outputs[1]).max() > 0.1


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_times_agree_with_an_independent_loop(slow_path: Path, cuda_graph: bool) -> None:
    backend = TensorRTBackend({**LIBRARY, "cuda_graph": cuda_graph})
    with backend.build(slow_path) as engine:
        engine.prepare({"v0": np.zeros((2048, 2048), np.float16)})
        for _ in range(20):
            engine.execute()
        # In turn: a GPU that works hard lowers its clocks meanwhile.
        ratios = [device_milliseconds(engine, 5) / _by_hand(engine) for _ in range(30)]
    assert abs(float(np.median(ratios)) - 1) < 0.02


def _by_hand(engine: Any) -> float:
    """Five executions between two events of our own, straight on the CUDA runtime."""
    from cuda.bindings import runtime as rt

    (_, begin), (_, end) = rt.cudaEventCreate(), rt.cudaEventCreate()
    rt.cudaEventRecord(begin, engine.stream.pointer)
    for _ in range(5):
        engine.execute()
    rt.cudaEventRecord(end, engine.stream.pointer)
    rt.cudaEventSynchronize(end)
    return float(rt.cudaEventElapsedTime(begin, end)[1]) / 5


def test_an_engine_paired_with_itself_is_as_fast_as_itself(slow_path: Path, backend: TensorRTBackend) -> None:
    inputs = {"v0": np.zeros((2048, 2048), np.float16)}
    with backend.build(slow_path) as one, backend.build(slow_path) as other:
        one.prepare(inputs)
        other.prepare(inputs)
        latency = pair(
            one, other, backend, TimingSection(interval=0.01, seconds=4, minimum_rounds=20, warmup=20)
        )
    assert abs(latency.ratio - 1) < 0.02
    assert latency.after.sm_mhz
    assert latency.after.power_watts


def test_layers_have_times_and_nodes_when_profiled(tmp_path: Path, backend: TensorRTBackend) -> None:
    path = saved(tmp_path, "attention", "fp16")
    with backend.build(path, profiled=True) as engine:
        run(engine, inputs_of(path))
        kernels = engine.kernels()
    assert {k.precision for k in kernels if "op" in k.nodes} == {"f16"}
    assert all(k.time_ms > 0 for k in kernels if "op" in k.nodes)


def test_a_profile_is_of_the_plan_that_was_timed(
    slow_path: Path, backend: TensorRTBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.build(slow_path).close()
    monkeypatch.setattr(backend.library.trt, "Builder", None)  # nothing can be built any more
    with backend.build(slow_path, profiled=True) as engine:
        run(engine, inputs_of(slow_path))
        assert sum(kernel.time_ms for kernel in engine.kernels()) > 0


def test_a_runtime_cache_is_written_and_read(tmp_path: Path) -> None:
    backend = TensorRTBackend({**LIBRARY, "cache_folder": str(tmp_path / "kernels")})
    path = saved(tmp_path, "attention", "fp16")
    for _ in range(2):
        with backend.build(path) as engine:
            run(engine, inputs_of(path))
    (cache,) = (tmp_path / "kernels").iterdir()
    # Compiled kernels; full TensorRT keeps timings alone, which RTX behind its mask has few of.
    assert cache.stat().st_size > (1000 if load_library(str(LIBRARY["library"])).caches_kernels else 200)
    cache.write_bytes(b"not a cache")
    kernel_cache.cache_clear()  # as a new process begins
    with backend.build(path) as engine:
        assert np.isfinite(run(engine, inputs_of(path))["y"]).all()


def test_a_dynamic_input_takes_every_shape_of_its_profile(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]> g (float[n,8] x) => (float[n,8] y) { y = Relu(x) }'
    )
    onnx.save(model, tmp_path / "m.onnx")
    with TensorRTBackend({**LIBRARY, "shapes": "x=1x8:2x8:4x8"}).build(tmp_path / "m.onnx") as engine:
        for rows in (1, 4, 2):
            values = RANDOM.standard_normal((rows, 8), np.float32)
            np.testing.assert_array_equal(run(engine, {"x": values})["y"], np.maximum(values, 0))
        with pytest.raises(TrialError, match="'x'"):
            engine.prepare({"x": np.zeros((5, 8), np.float32)})


@pytest.mark.parametrize("inputs", [{}, {"x": np.zeros((1, 2, 3), np.float32)}])
def test_inputs_that_do_not_fit_are_named(
    tmp_path: Path, backend: TensorRTBackend, inputs: dict[str, Any]
) -> None:
    with (
        backend.build(saved(tmp_path, "softmax", "fp16")) as engine,
        pytest.raises(TrialError, match="'x'") as caught,
    ):
        engine.prepare(inputs)
    assert caught.value.kind == "run"


def test_a_plan_that_is_damaged_does_not_load(tmp_path: Path, backend: TensorRTBackend) -> None:
    from autoprec.backends.tensorrt.build import BuiltPlan
    from autoprec.backends.tensorrt.engine import TensorRTEngine
    from autoprec.backends.tensorrt.options import Options

    device = cuda.find_device(0)
    assert device is not None
    data = backend.build_plan(saved(tmp_path, "gemm", "fp16")).data
    with pytest.raises(TrialError, match="does not load") as caught:
        TensorRTEngine(library(), Options(), BuiltPlan(data=data[: len(data) // 2], layers=()), device)
    assert caught.value.kind == "run"


def test_too_much_device_memory_is_a_failure_of_its_own_kind() -> None:
    with pytest.raises(TrialError, match="MiB are free") as caught:
        cuda.Buffers().reserve("x", 1 << 50)
    assert caught.value.kind == "memory"


def test_every_failed_engine_leaves_the_next_one_whole(tmp_path: Path, backend: TensorRTBackend) -> None:
    kinds: set[str] = set()
    for pattern in PATTERNS:
        for precision in ("int8", "fp8"):
            path = saved(tmp_path, pattern, precision)
            try:
                with backend.build(path) as engine:
                    run(engine, inputs_of(path))
            except TrialError as error:
                kinds.add(error.kind)
    assert kinds <= {"build", "run"}
    path = saved(tmp_path, "gemm", "fp16")
    with backend.build(path) as engine:
        assert np.isfinite(run(engine, inputs_of(path))["y"]).all()


def test_the_probe_finds_fp16_legal_everywhere(backend: TensorRTBackend, tmp_path: Path) -> None:
    assert [name for name in PATTERNS if not tried(tmp_path, backend, name, "fp16").is_legal] == []
