"""What a model's outputs end in is seen through what only moves or scales values."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from autoprec.graph.model.outputs import model_outputs


def ending(body: str) -> tuple[str, float]:
    """Of the output `y` of a graph in ONNX's text form."""
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 3, 8, 8] x) => (float[n] y)
        <float half = {{0.5}}, float white = {{255}}, float no = {{0}}, float one = {{1}}>
        {{ {body} }}"""
    )
    (output,) = model_outputs(ir.from_proto(model).graph)
    return output.ending, output.scale


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("y = Sigmoid(x)", ("Sigmoid", 1)),
        ("a = Sigmoid(x) b = Transpose(a) y = Identity(b)", ("Sigmoid", 1)),
        ("a = Softmax<axis = 1>(x) b = Mul(a, white) y = Cast<to = 1>(b)", ("Softmax", 255)),
        ("a = Sigmoid(x) y = Div(a, half)", ("Sigmoid", 2)),
        ("a = ArgMax<axis = 1>(x) y = Cast<to = 1>(a)", ("ArgMax", 1)),
        ("a = Greater(x, no) y = Cast<to = 1>(a)", ("Greater", 1)),
        ("y = Clip(x, no, one)", ("Clip", 1)),
        ("y = Clip(x, no, white)", ("", 1)),
        ("a = Sigmoid(x) y = Sub(one, a)", ("", 1)),
        ("a = Sigmoid(x) y = Mul(a, x)", ("", 1)),
        ("y = Mul(x, white)", ("", 1)),
    ],
)
def test_the_last_operator_that_tells_is_found(body: str, wanted: tuple[str, float]) -> None:
    assert ending(body) == wanted
