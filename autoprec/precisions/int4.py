"""INT4 weights: one scale for 32 weights in a row; activations stay in the float type."""

from onnx_ir import DataType

from autoprec.precisions._base import Precision

PRECISION = Precision(
    name="int4",
    summary="4-bit integer weights in blocks of 32, multiplied in the float type; saves memory",
    float_type=None,
    largest=7.0,
    quantized_type=DataType.INT4,
    # TensorRT's parser refuses blocks of a convolution's weights, and
    # INT4 by channel is dequantised ahead of it.
    quantized_ops=frozenset({"Gemm", "MatMul"}),
    weights_only=True,
    block_size=32,
)
