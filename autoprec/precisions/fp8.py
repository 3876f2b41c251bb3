"""FP8 E4M3: signed, symmetric; needs compute capability 8.9 or later on NVIDIA GPUs."""

from onnx_ir import DataType

from autoprec.precisions._base import Precision

PRECISION = Precision(
    name="fp8",
    summary="8-bit floats (E4M3) by Q/DQ; per-channel weights, per-tensor activations",
    float_type=None,
    largest=448.0,
    quantized_type=DataType.FLOAT8E4M3FN,
    # TensorRT-RTX 1.7 computes a transposed convolution or an addition between Q/DQ in FP16.
    quantized_ops=frozenset({"Conv", "Gemm", "MatMul"}),
)
