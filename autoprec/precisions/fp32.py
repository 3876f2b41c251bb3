"""FP32."""

from onnx_ir import DataType

from autoprec.precisions._base import Precision

PRECISION = Precision(
    name="fp32",
    summary="IEEE single precision; the float model as it came",
    float_type=DataType.FLOAT,
    largest=3.4028234663852886e38,
)
