"""INT8 weights alone: one scale for each output channel; activations stay in the float type."""

from onnx_ir import DataType

from autoprec.precisions._base import Precision

PRECISION = Precision(
    name="int8-weights",
    summary="8-bit integer weights, multiplied in the float type; saves memory, and hardly changes the masks",
    float_type=None,
    largest=127.0,
    quantized_type=DataType.INT8,
    # TensorRT-RTX dequantises a convolution's weights ahead of it, and so does it with scales in blocks.
    quantized_ops=frozenset({"Gemm", "MatMul"}),
    weights_only=True,
)
