"""ONNX operators as torch functions: those of encoders and decoders of masks, at the rewriter's opset.

Each takes the node and its inputs (a Tensor, or None for a missing one) and gives its outputs. Sizes, axes
and pads must be constants of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor

Inputs = Sequence[Tensor | None]
Operator = Callable[[ir.Node, Inputs], tuple[Tensor, ...]]


def _need(inputs: Inputs, place: int) -> Tensor:
    value = inputs[place]
    assert value is not None
    return value


def _ints(inputs: Inputs, place: int) -> list[int] | None:
    """A constant list of numbers among the inputs; None without it."""
    value = inputs[place] if place < len(inputs) else None
    return None if value is None else [int(number) for number in value.reshape(-1).tolist()]


def _unary(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda _node, inputs: (function(_need(inputs, 0)),)


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda _node, inputs: (function(_need(inputs, 0), _need(inputs, 1)),)


def _padded(node: ir.Node, x: Tensor, fill: float = 0.0) -> Tensor:
    """`x` with the pads of a convolution or a pool; torch wants them in pairs, from the last axis."""
    rank = x.ndim - 2
    pads = list(node.attributes.get_ints("pads", [0] * (2 * rank)))
    order = [pads[i + side * rank] for i in reversed(range(rank)) for side in (0, 1)]
    return F.pad(x, order, value=fill) if any(order) else x


def _conv(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    x, weight, bias = _need(inputs, 0), _need(inputs, 1), inputs[2] if len(inputs) > 2 else None
    function = (F.conv1d, F.conv2d, F.conv3d)[x.ndim - 3]
    ones = [1] * (x.ndim - 2)
    return (
        function(
            _padded(node, x),
            weight,
            bias,
            stride=list(node.attributes.get_ints("strides", ones)),
            dilation=list(node.attributes.get_ints("dilations", ones)),
            groups=node.attributes.get_int("group", 1),
        ),
    )


def _conv_transpose(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    x, weight, bias = _need(inputs, 0), _need(inputs, 1), inputs[2] if len(inputs) > 2 else None
    rank = x.ndim - 2
    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]
    pads = list(node.attributes.get_ints("pads", [0] * (2 * rank)))
    return (
        function(
            x,
            weight,
            bias,
            stride=list(node.attributes.get_ints("strides", [1] * rank)),
            padding=pads[:rank],
            output_padding=list(node.attributes.get_ints("output_padding", [0] * rank)),
            groups=node.attributes.get_int("group", 1),
            dilation=list(node.attributes.get_ints("dilations", [1] * rank)),
        ),
    )


def _gemm(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    a, b = _need(inputs, 0), _need(inputs, 1)
    a = a.T if node.attributes.get_int("transA", False) else a
    b = b.T if node.attributes.get_int("transB", False) else b
    result = a @ b * node.attributes.get_float("alpha", 1.0)
    bias = inputs[2] if len(inputs) > 2 else None
    return (result if bias is None else result + bias * node.attributes.get_float("beta", 1.0),)


def _pool(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    x = _need(inputs, 0)
    size = list(node.attributes.get_ints("kernel_shape", []))
    strides = list(node.attributes.get_ints("strides", [1] * len(size)))
    if node.op_type == "MaxPool":
        return (F.max_pool2d(_padded(node, x, -torch.inf), size, strides),)
    if node.attributes.get_int("count_include_pad", False) or not any(node.attributes.get_ints("pads", [])):
        return (F.avg_pool2d(_padded(node, x), size, strides),)
    shares = F.avg_pool2d(_padded(node, torch.ones_like(x)), size, strides)  # what of a window is no pad
    return (F.avg_pool2d(_padded(node, x), size, strides) / shares,)


def _layer_norm(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    x = _need(inputs, 0)
    shape = list(x.shape[node.attributes.get_int("axis", -1) :])
    bias = inputs[2] if len(inputs) > 2 else None
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    return (F.layer_norm(x, shape, _need(inputs, 1), bias, epsilon),)


def _batch_norm(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:  # by the file's own statistics
    x, scale, bias, mean, variance = (_need(inputs, place) for place in range(5))
    return (F.batch_norm(x, mean, variance, scale, bias, eps=node.attributes.get_float("epsilon", 1e-5)),)


def _reduce(function: Callable[..., Tensor]) -> Operator:
    def reduce(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
        x, axes = _need(inputs, 0), _ints(inputs, 1)
        keep = bool(node.attributes.get_int("keepdims", 1))
        return (function(x, dim=axes if axes is not None else list(range(x.ndim)), keepdim=keep),)

    return reduce


def _reshape(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    x, shape = _need(inputs, 0), _ints(inputs, 1) or []
    copied = not node.attributes.get_int("allowzero", False)
    return (x.reshape([x.shape[i] if size == 0 and copied else size for i, size in enumerate(shape)]),)


def _flatten(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    x, axis = _need(inputs, 0), node.attributes.get_int("axis", 1)
    return (x.reshape(int(torch.tensor(x.shape[:axis]).prod()), -1),)


def _transpose(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    x = _need(inputs, 0)
    return (x.permute(*node.attributes.get_ints("perm", list(reversed(range(x.ndim))))),)


def _concat(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    return (torch.cat([x for x in inputs if x is not None], node.attributes.get_int("axis", 0)),)


def _split(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    x, axis, sizes = _need(inputs, 0), node.attributes.get_int("axis", 0), _ints(inputs, 1)
    count = len(node.outputs)
    return tuple(torch.split(x, sizes if sizes is not None else -(-x.shape[axis] // count), axis))


def _slice(_node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    x, starts, ends = _need(inputs, 0), _ints(inputs, 1) or [], _ints(inputs, 2) or []
    axes, steps = _ints(inputs, 3), _ints(inputs, 4)
    for i, axis in enumerate(axes if axes is not None else range(len(starts))):
        step, size = steps[i] if steps else 1, x.shape[axis]
        picked = torch.arange(size)[slice(starts[i], ends[i], step)] if step > 0 else None
        if picked is None:
            picked = torch.tensor(list(range(size))[slice(starts[i], ends[i], step)])
        x = x.index_select(axis, picked)
    return (x,)


def _gather(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    x, index, axis = _need(inputs, 0), _need(inputs, 1).long(), node.attributes.get_int("axis", 0)
    taken = x.index_select(axis, index.reshape(-1) % x.shape[axis])  # negative ones count from the end
    axis %= x.ndim
    return (taken.reshape([*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]]),)


def _squeeze(_node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    x, axes = _need(inputs, 0), _ints(inputs, 1)
    return (x.squeeze() if axes is None else x.squeeze(axes),)


def _unsqueeze(_node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    x, axes = _need(inputs, 0), _ints(inputs, 1) or []
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return (x,)


def _resize(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    x, sizes = _need(inputs, 0), _ints(inputs, 3)
    scales = inputs[2] if len(inputs) > 2 else None
    if sizes is None:
        assert scales is not None
        sizes = [int(s * f) for s, f in zip(x.shape, scales.reshape(-1).tolist(), strict=True)]
    mode = node.attributes.get_string("mode", "nearest")
    where = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if mode == "nearest":
        return (F.interpolate(x, sizes[2:], mode="nearest"),)
    aligned = where == "align_corners"
    return (
        F.interpolate(
            x, sizes[2:], mode={"linear": "bilinear", "cubic": "bicubic"}[mode], align_corners=aligned
        ),
    )


def _pad(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    x, pads, axes = _need(inputs, 0), _ints(inputs, 1) or [], _ints(inputs, 3)
    fill = float(inputs[2].item()) if len(inputs) > 2 and inputs[2] is not None else 0.0
    widths = [(0, 0)] * x.ndim
    places = axes if axes is not None else list(range(x.ndim))
    for i, axis in enumerate(places):
        widths[axis] = (pads[i], pads[i + len(places)])
    mode = {"edge": "replicate"}.get(name := node.attributes.get_string("mode", "constant"), name)
    order = [size for pair in reversed(widths) for size in pair]
    if mode == "constant":
        return (F.pad(x, order, value=fill),)
    return (F.pad(x, order[: 2 * (x.ndim - 2)], mode=mode),)


def _clip(_node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    bounds = [float(v.item()) if v is not None else None for v in (*inputs[1:3], None, None)[:2]]
    return (_need(inputs, 0).clamp(*bounds),)


def _hard_sigmoid(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    alpha, beta = node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
    return ((_need(inputs, 0) * alpha + beta).clamp(0, 1),)


def _gelu(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    return (F.gelu(_need(inputs, 0), approximate=node.attributes.get_string("approximate", "none")),)


def _softmax(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    return (_need(inputs, 0).softmax(node.attributes.get_int("axis", -1)),)


def _leaky_relu(node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    return (F.leaky_relu(_need(inputs, 0), node.attributes.get_float("alpha", 0.01)),)


def _expand(_node: ir.Node, inputs: Inputs) -> tuple[Tensor, ...]:
    x = _need(inputs, 0)
    return (x.expand(torch.broadcast_shapes(x.shape, tuple(_ints(inputs, 1) or ()))),)


_SIMPLE: Mapping[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Cast": lambda x: x,  # between float types it is what training leaves out
    "Erf": torch.erf,
    "Exp": torch.exp,
    "GlobalAveragePool": lambda x: x.mean(dim=tuple(range(2, x.ndim)), keepdim=True),
    "HardSwish": F.hardswish,
    "Identity": lambda x: x,
    "Neg": torch.neg,
    "Reciprocal": torch.reciprocal,
    "Relu": F.relu,
    "Sigmoid": torch.sigmoid,
    "Sqrt": torch.sqrt,
    "Tanh": torch.tanh,
}
_OF_TWO: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Div": torch.div,
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "Pow": torch.pow,
    "PRelu": lambda x, slope: torch.where(x < 0, slope * x, x),
    "Sub": torch.sub,
}
OPERATORS: Mapping[str, Operator] = MappingProxyType(
    {name: _unary(function) for name, function in _SIMPLE.items()}
    | {name: _binary(function) for name, function in _OF_TWO.items()}
    | {
        "AveragePool": _pool,
        "BatchNormalization": _batch_norm,
        "Clip": _clip,
        "Concat": _concat,
        "Conv": _conv,
        "ConvTranspose": _conv_transpose,
        "Expand": _expand,
        "Flatten": _flatten,
        "Gather": _gather,
        "Gelu": _gelu,
        "Gemm": _gemm,
        "HardSigmoid": _hard_sigmoid,
        "LayerNormalization": _layer_norm,
        "LeakyRelu": _leaky_relu,
        "MaxPool": _pool,
        "Pad": _pad,
        "ReduceMax": _reduce(torch.amax),
        "ReduceMean": _reduce(torch.mean),
        "ReduceSum": _reduce(torch.sum),
        "Reshape": _reshape,
        "Resize": _resize,
        "Slice": _slice,
        "Softmax": _softmax,
        "Split": _split,
        "Squeeze": _squeeze,
        "Transpose": _transpose,
        "Unsqueeze": _unsqueeze,
    }
)
"""By op type."""
