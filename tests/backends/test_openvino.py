"""OpenVINO runs the types that the graph has, and says which ONNX nodes each kernel holds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper

from autoprec.backends import create_backend, run
from autoprec.backends.openvino import OpenVinoBackend
from autoprec.errors import SpecError, TrialError
from autoprec.records import KernelTime

HEADER = '<ir_version: 10, opset_import: ["" : 22]>'


def save(text: str, path: Path) -> Path:
    onnx.save(onnx.parser.parse_model(f"{HEADER} {text}"), path)
    return path


def weights(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]], kind: int) -> None:
    """Add random initializers."""
    random = np.random.default_rng(0)
    for name, shape in shapes.items():
        values = random.standard_normal(shape).astype(helper.tensor_dtype_to_np_dtype(kind))
        model.graph.initializer.append(numpy_helper.from_array(values, name))


def kernels_of(path: Path, channels: int = 16) -> tuple[KernelTime, ...]:
    with OpenVinoBackend({}).build(path, profiled=True) as engine:
        run(engine, {"x": np.ones((1, channels, 16, 16), np.float32)})
        return engine.kernels()


def holding(kernels: tuple[KernelTime, ...], node: str) -> KernelTime:
    (kernel_of_node,) = [kernel for kernel in kernels if node in kernel.nodes]
    return kernel_of_node


@pytest.fixture
def block() -> onnx.ModelProto:
    """Node names differ from value names; `bias` feeds the output, and fuses with `product`."""
    model = onnx.parser.parse_model(f"""{HEADER}
        g (float[1,16,16,16] x) => (float[1,16,32] y) {{
           [stem__conv] v1 = Conv<pads = [1,1,1,1]>(x, w1, b1)
           [stem__act] v2 = Relu(v1)
           [body__conv] v3 = Conv<pads = [1,1,1,1]>(v2, w2)
           [body__act] v4 = HardSwish(v3)
           [body__add] v5 = Add(v4, v2)
           [head__flat] v6 = Reshape(v5, shape)
           [head__product] v7 = MatMul(v6, w3)
           [head__bias] y = Add(v7, b3)
        }}""")
    for node in model.graph.node:
        node.name = "/" + node.name.replace("__", "/")  # the parser takes no slash
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 16, 256]), "shape"))
    shapes = {"w1": (16, 16, 3, 3), "b1": (16,), "w2": (16, 16, 3, 3), "w3": (256, 32), "b3": (32,)}
    weights(model, shapes, TensorProto.FLOAT)
    return model


def typed(model: onnx.ModelProto, kind: int) -> onnx.ModelProto:
    """The whole model in another float type, between Casts."""
    graph = model.graph
    tensors = [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT]
    for tensor in tensors:
        values = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(kind))
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for node in graph.node:
        node.input[:] = ["x_low" if name == "x" else name for name in node.input]
        node.output[:] = ["y_low" if name == "y" else name for name in node.output]
    graph.node.insert(0, helper.make_node("Cast", ["x"], ["x_low"], name="narrow", to=kind))
    graph.node.append(helper.make_node("Cast", ["y_low"], ["y"], name="widen", to=TensorProto.FLOAT))
    return model


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_every_costly_node_is_in_one_kernel(kind: int, block: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(block if kind == TensorProto.FLOAT else typed(block, kind), tmp_path / "m.onnx")
    kernels = kernels_of(tmp_path / "m.onnx")
    assert "/stem/act" in holding(kernels, "/stem/conv").nodes
    assert "/body/act" in holding(kernels, "/body/conv").nodes
    assert holding(kernels, "/head/product") == holding(kernels, "/head/bias")
    assert holding(kernels, "/head/product").kernel.startswith(("brgemm", "gemm", "jit", "ref"))
    assert holding(kernels, "/stem/conv").time_ms > 0


def test_kernels_follow_the_types_of_the_graph(block: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(block, tmp_path / "m.onnx")
    assert holding(kernels_of(tmp_path / "m.onnx"), "/body/conv").precision == "f32"
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        onnx.save(typed(block, TensorProto.BFLOAT16), tmp_path / "m.onnx")
        assert holding(kernels_of(tmp_path / "m.onnx"), "/body/conv").precision == "bf16"


def test_a_quantised_convolution_holds_its_dequantisers(tmp_path: Path) -> None:
    path = save("""
        g (float[1,16,16,16] x) => (float[1,16,16,16] y)
        <float s = {0.05}, int8 z = {0}, float ws = {0.01}> {
           [quantise] q = QuantizeLinear(x, s, z)
           [dequantise] d = DequantizeLinear(q, s, z)
           [weights] w = DequantizeLinear(wq, ws, z)
           [conv] c = Conv<pads = [1,1,1,1]>(d, w)
           [act] y = Relu(c)
        }""", tmp_path / "m.onnx")  # fmt: skip
    model = onnx.load(path)
    weights(model, {"wq": (16, 16, 3, 3)}, TensorProto.INT8)
    onnx.save(model, path)
    kernels = kernels_of(path)
    assert holding(kernels, "conv").nodes == ("dequantise", "weights", "conv", "act")
    assert holding(kernels, "conv").precision == "i8"
    assert "conv" not in holding(kernels, "quantise").nodes


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_low_precision_inputs_and_outputs_are_true_numbers(kind: str, tmp_path: Path) -> None:
    path = save(f"g ({kind}[4] x) => ({kind}[4] y) {{ [relu] y = Relu(x) }}", tmp_path / "m.onnx")
    with create_backend("openvino", {}).build(path) as engine:
        output = run(engine, {"x": np.array([1.5, -2, 3.125, 64], np.float32)})["y"]
    assert output.dtype == np.float32
    np.testing.assert_array_equal(output, [1.5, 0, 3.125, 64])


def test_an_output_behind_a_cast_keeps_its_name(block: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(typed(block, TensorProto.FLOAT16), tmp_path / "m.onnx")
    with OpenVinoBackend({}).build(tmp_path / "m.onnx") as engine:
        assert list(run(engine, {"x": np.ones((1, 16, 16, 16), np.float32)})) == ["y"]


def test_a_free_number_of_prompts_is_taken_as_it_comes(tmp_path: Path) -> None:
    path = save('g (float["n",2] x) => (float["n",2] y) { [relu] y = Relu(x) }', tmp_path / "m.onnx")
    with OpenVinoBackend({}).build(path) as engine:
        for count in (3, 1, 5):
            assert run(engine, {"x": np.ones((count, 2), np.float32)})["y"].shape == (count, 2)


def test_an_input_of_another_shape_fails_the_run(tmp_path: Path) -> None:
    path = save("g (float[1,2] x) => (float[1,2] y) { [relu] y = Relu(x) }", tmp_path / "m.onnx")
    with (
        OpenVinoBackend({}).build(path) as engine,
        pytest.raises(TrialError, match=r"shape=\[1,2\]") as caught,
    ):
        run(engine, {"x": np.ones((3, 2), np.float32)})
    assert caught.value.kind == "run"


@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray, np.float64])
def test_inputs_are_read_where_they_are_and_left_as_they_were(layout: Any, tmp_path: Path) -> None:
    path = save("g (float[64,64] x) => (float[64,64] y) { a = Relu(x)  y = Neg(a) }", tmp_path / "m.onnx")
    first = layout(np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32))
    second, kept = -first, first.copy()
    with OpenVinoBackend({}).build(path) as engine:
        for array in (first, second, first[::-1], np.broadcast_to(first[0], (64, 64))):
            output = run(engine, {"x": array})["y"]
            np.testing.assert_allclose(output, -np.maximum(array, 0), rtol=1e-6)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(second, -kept)


def test_what_openvino_refuses_is_a_failed_build_with_its_reason(tmp_path: Path) -> None:
    path = save("g (float[1,2] x) => (float[1,2] y) { [odd] y = Odd(x) }", tmp_path / "m.onnx")
    with pytest.raises(TrialError, match="Odd") as caught:
        OpenVinoBackend({}).build(path)
    assert caught.value.kind == "build"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("threads", [0, -1, True, "two", 1.5])
def test_threads_are_a_whole_number_from_one(threads: str | float | bool) -> None:
    with pytest.raises(SpecError, match=r"backend\.options\.threads is"):
        OpenVinoBackend({"threads": threads})


def test_one_thread_is_timed_by_processor_time() -> None:
    assert OpenVinoBackend({}).stopwatch == "processor"
    assert OpenVinoBackend({"threads": 2}).stopwatch == "host"


def test_attention_is_held_by_the_kernel_that_computes_it(tmp_path: Path) -> None:
    text = """<ir_version: 11, opset_import: ["" : 23]> g (float[1,64,32] x) => (float[1,64,32] y)
        <float[32,32] w>
        { [q] q = MatMul (x, w)  [a] a = Attention <q_num_heads = 2, kv_num_heads = 2> (q, x, x)
          [y] y = MatMul (a, w) }"""
    proto = onnx.parser.parse_model(text)
    del proto.graph.initializer[:]
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(32, dtype=np.float32), "w"))
    onnx.save(proto, tmp_path / "model.onnx")
    with create_backend("openvino", {}).build(tmp_path / "model.onnx") as engine:
        held = {node: kernel.precision for kernel in engine.kernels() for node in kernel.nodes}
    assert held["a"] == "f32"


def test_a_limit_of_instructions_is_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = OpenVinoBackend({}).fingerprint()
    assert usual.options == '{"threads": 1}'
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert OpenVinoBackend({}).fingerprint().digest != usual.digest


AT_ONCE = """
import sys, threading
from autoprec.backends import create_backend
create_backend("openvino", {})
import openvino
begins = threading.Barrier(8)
def ask():
    begins.wait()
    openvino.Type.f32.to_dtype()
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_threads_may_ask_for_types_at_once() -> None:
    # In a process of its own: it is the first question that stands still.
    subprocess.run([sys.executable, "-c", AT_ONCE], check=True, timeout=60)
