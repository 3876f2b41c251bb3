"""What the instrumented model gives out: observed activations, and of all others the largest magnitude."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import numpy_helper

from autoprec.graph.statistics.instruments import LARGEST, PLACES, observing, sampling

TEXT = """<ir_version: 10, opset_import: ["" : 22]>
net (float[1,2,24,24] x) => (float[1,2,24,24] y) {
    a = Add (x, mask)  b = Relu (x)  c = Neg (b)  y = Add (a, c)
}"""
IMAGE = np.random.default_rng(0).standard_normal((1, 2, 24, 24)).astype(np.float32)


def model() -> ir.Model:
    proto = onnx.parser.parse_model(TEXT)
    mask = np.zeros((1, 2, 24, 24), np.float32)
    mask[..., 12:] = -1e30
    proto.graph.initializer.append(numpy_helper.from_array(mask, "mask"))
    loaded: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    return loaded


def outputs(copy: ir.Model, fed: np.ndarray = IMAGE) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(
        ir.to_proto(copy).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"x": fed}), strict=True))


def test_masks_count_nowhere_but_in_what_the_model_gives_out() -> None:
    told = outputs(observing(model(), {"b"}))
    assert set(told) == {"b", f"{LARGEST}a", f"{LARGEST}c", f"{LARGEST}y"}
    np.testing.assert_array_equal(told["b"], np.maximum(IMAGE, 0))
    assert told[f"{LARGEST}c"] == np.maximum(IMAGE, 0).max()
    assert told[f"{LARGEST}a"] == np.abs(IMAGE[..., :12]).max()
    assert told[f"{LARGEST}y"] >= 1e29


@pytest.mark.parametrize(
    ("shape", "axis", "places"),
    [
        ((9, 2, 24, 24), 1, np.s_[:, :, ::8, ::8]),
        ((9, 20, 24), -1, np.s_[:, ::8]),
        ((9, 24), 1, np.s_[:]),
    ],
)
def test_places_are_eight_apart_in_every_sample_of_a_batch_and_all_channels_are_there(
    shape: tuple[int, ...], axis: int, places: Any
) -> None:
    sizes, array = ",".join(map(str, shape)), np.random.default_rng(0).random(shape, np.float32)
    text = f'<ir_version: 10, opset_import: ["" : 22]> g (float[{sizes}] x) => (float[{sizes}] y) '
    proto = onnx.parser.parse_model(text + "{ b = Neg (x)  y = Relu (b) }")
    copy = sampling(ir.from_proto(onnx.shape_inference.infer_shapes(proto)), {"b": axis})
    np.testing.assert_array_equal(outputs(copy, array)[f"{PLACES}b"], -array[places])
