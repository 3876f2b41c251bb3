"""FP16."""

from onnx_ir import DataType

from autoprec.precisions._base import Precision

PRECISION = Precision(
    name="fp16",
    summary="IEEE half precision; overflows above 65504",
    float_type=DataType.FLOAT16,
    largest=65504.0,
)
