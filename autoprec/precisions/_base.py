"""What a precision is: data, no behaviour. The rewriter reads it."""

from __future__ import annotations

import msgspec
from onnx_ir import DataType


class Precision(msgspec.Struct, frozen=True, kw_only=True):
    """One choice for a block.

    Attributes:
        name: short name, as in a study definition (`int8`).
        summary: one line for listings.
        float_type: ONNX type of the block's floating-point tensors; None takes the study's base type
            (the fastest safe float of the backend: BFLOAT16 on OpenVINO, FLOAT16 on TensorRT).
        quantized_type: ONNX type behind Q/DQ, or None for a plain float block.
        quantized_ops: op types whose inputs get Q/DQ. Empty for a float block.
        largest: largest finite magnitude of `float_type` or of the quantised grid (127 for INT8).
        weights_only: activations keep the float type; only constant weights are stored quantised.
        block_size: a scale for this many values in a row along the reduced axis; 0 is one per output channel.
        scale_type: type of the scales of blocks, multiples of one float32 scale for the tensor. Activations
            then have blocks too, whose scales are found as they run. None: scales have the float type.
        only_products: of convolutions only the dense 1x1 ones are quantised, written as products of matrices.
        float_products: of attention's products those that stay floats, Q/DQ on neither side: `qk`, queries
            with keys; `pv`, probabilities with values.
        range_method: how ranges of activations are chosen; empty takes the study's.
        percentile: for that method, in percent.
        passes: modules of `graph/variants` whose `cure` edits the weights of its blocks, one after another.
        needs_moments: a pass learns from the second moments of what weighted ops multiply.
        learns_rounding: weights are rounded for the least error of the op's output on calibration data.
        corrects_bias: biases take back the mean error that quantised weights make.
    """

    name: str
    summary: str
    float_type: DataType | None
    largest: float
    quantized_type: DataType | None = None
    quantized_ops: frozenset[str] = frozenset()
    weights_only: bool = False
    block_size: int = 0
    scale_type: DataType | None = None
    only_products: bool = False
    float_products: frozenset[str] = frozenset()
    range_method: str = ""
    percentile: float = 0.0
    passes: tuple[str, ...] = ()
    needs_moments: bool = False
    learns_rounding: bool = False
    corrects_bias: bool = False

    @property
    def is_quantized(self) -> bool:
        """Whether blocks of this precision hold Q/DQ pairs."""
        return self.quantized_type is not None

    @property
    def needs_weights(self) -> bool:
        """Whether only ops with constant weights are quantised: of attention, the projections alone."""
        return self.weights_only or self.block_size > 0

    @property
    def runs_as(self) -> str:
        """The type that its kernels report, as in `KernelTime.precision`: `f16`, `i8`; `i8w` is INT8 weights
        beside floats."""
        kind = self.quantized_type or self.float_type
        assert kind is not None, f"{self.name} is neither quantised nor a float"
        if kind == DataType.BFLOAT16:
            return "bf16"
        short = f"{'i' if kind.is_integer() else 'f'}{kind.bitwidth}"
        return short + ("w" if self.weights_only and short == "i8" else "")

    @property
    def plain(self) -> str:
        """Name of the precision that this is a variant of: what an engine sees."""
        return self.name.partition("+")[0]
