"""BF16."""

from onnx_ir import DataType

from autoprec.precisions._base import Precision

PRECISION = Precision(
    name="bf16",
    summary="bfloat16: the range of FP32 with 8 bits of precision",
    float_type=DataType.BFLOAT16,
    largest=3.3895313892515355e38,
)
