"""YOLO's instance segmentation: rows of boxes, classes and coefficients, which weigh prototypes of masks.

Rows are no masks, and each engine may order objects differently. The recipe therefore makes a fixed decoder,
which takes the most confident rows, draws each object's mask inside its box, and gives one map of classes, 0
where there is none.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from autoprec.errors import SpecError
from autoprec.recipes._base import PLAIN, Facts, Plan
from autoprec.records import ModelOutput

_OBJECTS = 64
"""How many of the most confident rows are drawn; on usual images the rest is far below the confidence."""
_CONFIDENCE = 0.25
_MOST_CHOSEN = 1000
"""A whole grid has more rows; an export that includes NMS gives a few hundred."""
_OPSET = 17


def yolo_seg(facts: Facts) -> Plan:
    """A map of classes from rows and prototypes.

    Rows are [1, 4 + classes + masks, n], or [1, n, 5 + classes + masks] with YOLOv5's objectness; prototypes
    are [1, masks, h, w]. Raises `SpecError` for other outputs.
    """
    rows = next((output for output in facts.outputs if len(output.shape) == 3), None)
    planes = [output for output in facts.outputs if len(output.shape) == 4]
    prototypes = max(
        planes, key=lambda output: math.prod(size or 0 for size in output.shape[2:]), default=None
    )
    if rows is None or prototypes is None or facts.frame is None or facts.decoder is not None:
        told = ", ".join(output.told for output in facts.outputs)
        raise SpecError(
            "this recipe is for a model of one image with rows of boxes [1, 116, n] and prototypes "
            f"[1, 32, h, w], without a decoder; its outputs are: {told}"
        )
    sizes = [size or 0 for size in rows.shape]
    count, height, width = (int(size or 0) for size in prototypes.shape[1:])
    # YOLOv5 has a row for each box, with its objectness; later versions have a column.
    has_objectness = sizes[2] < sizes[1]
    classes = min(sizes[1:]) - count - 4 - has_objectness
    # Corners, score and class of a detection read as a box, its objectness and one class.
    if has_objectness and classes == 1 and sizes[1] <= _MOST_CHOSEN:
        raise SpecError(f"{rows.told} looks like detections after NMS: export the model without NMS")
    if classes < 1 or min(count, height, width) < 1:
        raise SpecError(
            f"{rows.told} has no room for boxes, classes and the coefficients of {prototypes.told}"
        )
    decoder = _decoder(facts, rows, prototypes, classes, has_objectness=has_objectness)
    return Plan(
        output=ModelOutput(name="labels", shape=(1, 1, height, width), ending="ArgMax"),
        metric="label_iou",
        mean=PLAIN[0],
        std=PLAIN[1],
        resize="letterbox",
        made=decoder.SerializeToString(),
        reasons=(
            f"{rows.told} is {classes} classes with boxes, {prototypes.told} are prototypes of masks",
            f"made a decoder: its map shows the {_OBJECTS} most confident objects above {_CONFIDENCE}",
            "label_iou: IoU of each class that either engine finds; pixels from 0 to 1, letterboxed in grey",
        ),
    )


def _decoder(
    facts: Facts, rows: ModelOutput, prototypes: ModelOutput, classes: int, *, has_objectness: bool
) -> onnx.ModelProto:
    """The model that draws rows into one map of classes, float32 [1, 1, h, w]."""
    assert facts.frame is not None
    constants = _constants(facts.frame.size, rows, prototypes, classes, first=5 if has_objectness else 4)
    height, width = (int(size or 0) for size in prototypes.shape[2:])
    nodes = [
        *([] if has_objectness else [_node("Transpose", rows.name, to="turned", perm=[0, 2, 1])]),
        _node("Reshape", rows.name if has_objectness else "turned", "row_shape", to="rows"),
        _node("Slice", "rows", "zero", "box_end", "one", to="boxes"),
        _node("Slice", "rows", "class_start", "class_end", "one", to="likely"),
        _node("Slice", "rows", "class_end", "far", "one", to="coefficients"),
        *(
            [
                _node("Slice", "rows", "box_end", "class_start", "one", to="objectness"),
                _node("Mul", "likely", "objectness", to="scores"),
            ]
            if has_objectness
            else [_node("Identity", "likely", to="scores")]
        ),
        _node("ReduceMax", "scores", to="best", axes=[1], keepdims=0),
        helper.make_node("TopK", ["best", "number"], ["top", "places"], name="TopK", axis=0),
        *(_node("Gather", name, "places", to=f"{name}_top") for name in ("boxes", "scores", "coefficients")),
        _node("Reshape", prototypes.name, "prototype_shape", to="flat"),
        _node("MatMul", "coefficients_top", "flat", to="logits"),
        _node("Sigmoid", "logits", to="inside"),
        *_box("x", 0, 2), *_box("y", 1, 3),
        _node("And", "in_x", "in_y", to="in_box"),
        _node("Greater", "top", "confidence", to="sure"),
        _node("Unsqueeze", "sure", "one", to="sure_rows"),
        _node("And", "in_box", "sure_rows", to="drawn"),
        _as_float("drawn", to="drawn_float"),
        _node("Mul", "inside", "drawn_float", to="objects"),
        _node("ArgMax", "scores_top", to="class", axis=1, keepdims=1),
        _node("Equal", "class", "class_numbers", to="is_class"),
        _as_float("is_class", to="is_class_float"),
        _node("Transpose", "is_class_float", to="by_class", perm=[1, 0]),
        _node("MatMul", "by_class", "objects", to="planes"),
        helper.make_node("Concat", ["background", "planes"], ["stack"], name="Concat", axis=0),
        _node("ArgMax", "stack", to="map", axis=0, keepdims=0),
        _node("Reshape", "map", "map_shape", to="shaped"),
        _as_float("shaped", to="labels"),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "yolo_seg_labels",
        [_value(rows.name, rows.shape), _value(prototypes.name, prototypes.shape)],
        [_value("labels", (1, 1, height, width))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    # Here, not in the first search.
    onnx.checker.check_model(model, full_check=True)
    return model


def _constants(
    image: tuple[int, int], rows: ModelOutput, prototypes: ModelOutput, classes: int, *, first: int
) -> dict[str, NDArray[Any]]:
    """The decoder's constants by name.

    Args:
        image: (height, width) of the image.
        rows: the output of rows.
        prototypes: the output of prototypes.
        classes: number of classes.
        first: index of the first class within a row.
    """
    count, height, width = (int(size or 0) for size in prototypes.shape[1:])
    sizes = [int(size or 0) for size in rows.shape[1:]]
    return {
        "row_shape": _ints(-1, min(sizes)),
        "box_end": _ints(4),
        "class_start": _ints(first),
        "class_end": _ints(first + classes),
        "zero": _ints(0),
        "one": _ints(1),
        # To the end, wherever that is.
        "far": _ints(2**31 - 1),
        "prototype_shape": _ints(count, -1),
        "number": _ints(min(_OBJECTS, max(sizes))),
        "map_shape": _ints(1, 1, height, width),
        "confidence": np.array(_CONFIDENCE, np.float32),
        "half": np.array(0.5, np.float32),
        "class_numbers": np.arange(classes),
        # A pixel belongs to an object whose mask is above one half there.
        "background": np.full((1, height * width), 0.5, np.float32),
        **_pixels(image, (height, width)),
    }


def _pixels(image: tuple[int, int], plane: tuple[int, int]) -> dict[str, NDArray[np.float32]]:
    """Centres of the plane's pixels in pixels of the image, [1, h * w] each."""
    rows, columns = np.mgrid[: plane[0], : plane[1]]
    across = (columns.reshape(1, -1) + 0.5) * image[1] / plane[1]
    down = (rows.reshape(1, -1) + 0.5) * image[0] / plane[0]
    return {"x": across.astype(np.float32), "y": down.astype(np.float32)}


def _box(axis: str, centre: int, size: int) -> list[onnx.NodeProto]:
    """Nodes that find the pixels no farther from a box's centre than half its size, along one axis."""
    part = [
        helper.make_node(
            "Constant", [], [f"{name}_{axis}"], name=f"Constant_{name}_{axis}", value_ints=[place]
        )
        for name, place in (("centre", centre), ("size", size))
    ]
    return [
        *part,
        _node("Gather", "boxes_top", f"centre_{axis}", to=f"middle_{axis}", axis=1),
        _node("Gather", "boxes_top", f"size_{axis}", to=f"length_{axis}", axis=1),
        _node("Mul", f"length_{axis}", "half", to=f"reach_{axis}"),
        _node("Sub", axis, f"middle_{axis}", to=f"offset_{axis}"),
        _node("Abs", f"offset_{axis}", to=f"distance_{axis}"),
        _node("LessOrEqual", f"distance_{axis}", f"reach_{axis}", to=f"in_{axis}"),
    ]


def _node(kind: str, *inputs: str, to: str, **attributes: object) -> onnx.NodeProto:
    """A node of one output, named after it."""
    return helper.make_node(kind, list(inputs), [to], name=f"{kind}_{to}", **attributes)


def _as_float(value: str, *, to: str) -> onnx.NodeProto:
    return helper.make_node("Cast", [value], [to], name=f"Cast_{to}", to=TensorProto.FLOAT)


def _ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def _value(name: str, shape: tuple[int | None, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
