"""INT8: signed, symmetric; per-channel weights, per-tensor activations (the form that TensorRT accepts)."""

from onnx_ir import DataType

from autoprec.precisions._base import Precision

PRECISION = Precision(
    name="int8",
    summary="signed symmetric 8-bit integers by Q/DQ; per-channel weights, per-tensor activations",
    float_type=None,
    largest=127.0,
    quantized_type=DataType.INT8,
    quantized_ops=frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Add"}),
)
