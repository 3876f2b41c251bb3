"""NVFP4: 4-bit floats with a scale for 16 values in a row; NVIDIA GPUs of compute capability 10.0 and later.

The scales are FP8 themselves, multiples of one float32 scale for the tensor. Source: TensorRT documentation,
"Working with Quantized Types", dynamic double quantisation; ModelOpt writes the same form.
"""

from onnx_ir import DataType

from autoprec.precisions._base import Precision

PRECISION = Precision(
    name="nvfp4",
    summary="4-bit floats (E2M1) with an FP8 scale for each 16, activations too; products of matrices alone",
    float_type=None,
    largest=6.0,
    quantized_type=DataType.FLOAT4E2M1,
    quantized_ops=frozenset({"Gemm", "MatMul"}),
    block_size=16,
    scale_type=DataType.FLOAT8E4M3FN,
    # TensorRT's parser takes blocks of matrices alone; a dense 1x1 convolution can be written as one.
    only_products=True,
    # The scales of blocks fit themselves to the data: nothing is gained by cutting off the largest values.
    range_method="min-max",
)
