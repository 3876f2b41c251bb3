"""Pools whose last window is cut (`ceil_mode`), written with pads instead: the same, and every engine agrees.

OpenVINO makes a window more than ONNX where the last one would begin behind the values, and divides by other
counts where pads are counted (2026.4.1).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from autoprec.graph.model.passing import constant

_POOLS = frozenset({"AveragePool", "MaxPool", "LpPool"})


def without_ceiling(graph: ir.Graph) -> None:
    """Replace `ceil_mode` of pools by pads, in place. The graph has shapes and is at the last opset."""
    for node in list(graph):
        is_pool = node.op_type in _POOLS and node.domain == "" and len(node.outputs) == 1
        if is_pool and node.attributes.get_int("ceil_mode", False):
            value = node.inputs[0]
            automatic = node.attributes.get_string("auto_pad", "NOTSET")
            is_static = value is not None and value.shape is not None and value.shape.is_static()
            if not is_static or automatic not in ("NOTSET", "VALID"):
                continue
            assert value is not None
            assert value.shape is not None
            _write(graph, node, [int(str(size)) for size in value.shape[2:]])


def _write(graph: ir.Graph, node: ir.Node, sizes: list[int]) -> None:
    kernel, rank = node.attributes["kernel_shape"].as_ints(), len(sizes)
    strides = node.attributes.get_ints("strides", [1] * rank)
    dilations = node.attributes.get_ints("dilations", [1] * rank)
    pads = list(node.attributes.get_ints("pads", [0] * 2 * rank))
    ends = []
    for place, size in enumerate(sizes):
        reach = (kernel[place] - 1) * dilations[place] + 1
        before, after, stride = pads[place], pads[rank + place], strides[place]
        count = -(-(size + before + after - reach) // stride) + 1
        if (count - 1) * stride >= size + before:  # it would begin behind the values
            count -= 1
        # Any end from `least` to a stride less one beyond gives the same
        # windows; the file's own stays if it is there.
        least = (count - 1) * stride + reach - size - before
        ends.append(max(least, min(after, least + stride - 1), 0))
    overhang = [max(0, end - after) for end, after in zip(ends, pads[rank:], strict=True)]
    if any(end >= size for end, size in zip(ends, kernel, strict=True)):
        return  # ONNX Runtime takes no pads as wide as the kernel: only a dilated one needs them
    counted = node.op_type == "AveragePool" and node.attributes.get_int("count_include_pad", False)
    if counted and any(overhang):
        # Pads count, what hangs over does not: pads become values.
        trimmed = [end - over for end, over in zip(ends, overhang, strict=True)]
        widths = constant(
            graph, f"{node.outputs[0].name}/pads", np.array([0, 0, *pads[:rank], 0, 0, *trimmed], np.int64)
        )
        pad = ir.node("Pad", [node.inputs[0], widths], name=f"{node.name}/pad")
        pad.metadata_props.update(node.metadata_props)
        padded, source = pad.outputs[0], node.inputs[0]
        assert source is not None
        assert source.shape is not None
        grown = [size + a + b for size, a, b in zip(sizes, pads[:rank], trimmed, strict=True)]
        padded.name, padded.type = f"{node.outputs[0].name}/padded", source.type
        padded.shape = ir.Shape([*source.shape[:2], *grown])
        graph.insert_before(node, pad)
        node.replace_input_with(0, padded)
        node.attributes.add(ir.AttrInt64("count_include_pad", False))
        pads, ends = [0] * 2 * rank, overhang
    node.attributes.add(ir.AttrString("auto_pad", "NOTSET"))
    node.attributes.add(ir.AttrInt64("ceil_mode", False))
    node.attributes.add(ir.AttrInt64s("pads", [*pads[:rank], *ends]))
