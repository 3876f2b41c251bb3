"""Small models with the inputs and outputs of each family, random weights, and images for them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

pytest.importorskip("tomlkit")  # which definitions are written with
Shape = Sequence[int | str]


class Net:
    """Nodes, one after the other, written as a model."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(0)

    def op(self, kind: str, *inputs: str, to: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [to], name=f"{kind}_{to}", **attributes))
        return to

    def constant(self, name: str, value: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def conv(self, value: str, to: str, channels: tuple[int, int], stride: int = 1) -> str:
        """A 3x3 convolution from and to so many channels."""
        spread = 1 / np.sqrt(9 * channels[0])
        weights = self.random.standard_normal((channels[1], channels[0], 3, 3)) * spread
        weights -= weights.mean(axis=(1, 2, 3), keepdims=True)  # values of both signs, whatever the pixels
        name = self.constant(f"{to}.weight", weights.astype(np.float32))
        return self.op("Conv", value, name, to=to, pads=[1] * 4, strides=[stride] * 2)

    def write(self, path: Path, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> Path:
        def values(shapes: Mapping[str, Shape]) -> list[onnx.ValueInfoProto]:
            kinds = {"labels": TensorProto.INT64}
            return [
                helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), list(shape))
                for name, shape in shapes.items()
            ]

        graph = helper.make_graph(self.nodes, "net", values(inputs), values(outputs), self.constants)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path


def encoder(path: Path, output: str = "image_embeddings") -> Path:
    net = Net()
    net.op("Relu", net.conv("image", "stem", (3, 8), 2), to="features")
    net.conv("features", output, (8, 8), 2)
    return net.write(path, {"image": [1, 3, 32, 32]}, {output: [1, 8, 8, 8]})


def _masks(net: Net, embeddings: str, points: str, to: str) -> str:
    """[P, 1, 8, 8] from embeddings [1, 8, 8, 8] and points [P, n, 2]."""
    net.op("ReduceMean", points, to="middle", axes=[1], keepdims=0)
    net.op(
        "MatMul",
        "middle",
        net.constant("wp", net.random.standard_normal((2, 8)).astype(np.float32)),
        to="query",
    )
    net.op("Reshape", embeddings, net.constant("flat", np.array([8, 64])), to="pixels")
    net.op("MatMul", "query", "pixels", to="product")
    return net.op("Reshape", "product", net.constant("square", np.array([-1, 1, 8, 8])), to=to)


def batched_decoder(path: Path, embeddings: str = "image_embeddings") -> Path:
    net = Net()
    _masks(net, embeddings, "point_coords", "masks")
    inputs: dict[str, Shape] = {
        embeddings: [1, 8, 8, 8],
        "point_coords": ["p", 2, 2],
        "point_labels": ["p", 2],
    }
    net.op("ReduceSum", "point_labels", to="unused")
    return net.write(path, inputs, {"masks": ["p", 1, 8, 8], "unused": [1, 1]})


def single_decoder(path: Path) -> Path:
    """As `segment_anything` exports it: batch 1, an earlier mask, the image's size."""
    net = Net()
    _masks(net, "image_embeddings", "point_coords", "low_res_masks")
    net.nodes.append(helper.make_node("Cast", ["orig_im_size"], ["size"], name="size", to=TensorProto.INT64))
    net.op("Concat", net.constant("ones", np.array([1, 1])), "size", to="sizes", axis=0)
    net.op("Resize", "low_res_masks", "", "", "sizes", to="masks", mode="linear")
    net.op("ReduceMean", "mask_input", to="before", keepdims=0)
    net.op("Mul", "before", "has_mask_input", to="weight")
    net.op("Add", "weight", "point_labels", to="iou_predictions")
    return net.write(
        path,
        {
            "image_embeddings": [1, 8, 8, 8], "point_coords": [1, "n", 2], "point_labels": [1, "n"],
            "mask_input": [1, 1, 32, 32], "has_mask_input": [1], "orig_im_size": [2],
        },
        {"masks": [1, 1, "h", "w"], "iou_predictions": [1, "n"], "low_res_masks": [1, 1, 8, 8]},
    )  # fmt: skip


def sam2(folder: Path) -> tuple[Path, Path]:
    """An encoder with three outputs, and a decoder of any number of prompts that takes them."""
    net = Net()
    net.op("Relu", net.conv("image", "stem", (3, 8), 2), to="features")
    net.conv("features", "high_res_feats_0", (8, 4))
    net.conv("features", "high_res_feats_1", (8, 4), 2)
    net.conv("features", "image_embed", (8, 8), 2)
    outputs: dict[str, Shape] = {
        "high_res_feats_0": [1, 4, 16, 16],
        "high_res_feats_1": [1, 4, 8, 8],
        "image_embed": [1, 8, 8, 8],
    }
    model = net.write(folder / "encoder.onnx", {"image": [1, 3, 32, 32]}, outputs)
    net = Net()
    _masks(net, "image_embed", "point_coords", "coarse")
    net.op("ReduceMean", "high_res_feats_0", to="first", keepdims=0)
    net.op("ReduceMean", "high_res_feats_1", to="second", keepdims=0)
    net.op("Add", "first", "second", to="shift")
    net.op("Add", "coarse", "shift", to="masks")
    net.op("Reshape", "has_mask_input", net.constant("rows", np.array([-1, 1])), to="flag")
    net.op("Add", "flag", "point_labels", to="iou_predictions")
    net.op("ReduceMean", "mask_input", to="earlier", axes=[2, 3])
    inputs: dict[str, Shape] = {
        **outputs, "point_coords": ["p", "n", 2], "point_labels": ["p", "n"], "mask_input": ["p", 1, 8, 8],
        "has_mask_input": ["p"],
    }  # fmt: skip
    given: dict[str, Shape] = {
        "masks": ["p", 1, 8, 8],
        "iou_predictions": ["p", "n"],
        "earlier": ["p", 1, 1, 1],
    }
    return model, net.write(folder / "decoder.onnx", inputs, given)


def yolo(path: Path, *, rows_last: bool = False) -> Path:
    """Two classes and four prototypes; boxes over the whole image, so that objects are seen."""
    net = Net()
    net.op("Relu", net.conv("images", "stem", (3, 8), 2), to="features")
    net.conv("features", "output1", (8, 4))
    net.conv("features", "a_head", (8, 40), 2)  # some exports leave such outputs in
    channels = 4 + rows_last + 2 + 4
    net.conv("features", "rows", (8, channels), 2)
    net.op("Reshape", "rows", net.constant("shape", np.array([1, channels, 64])), to="flat")
    bounds = [4, 2 + rows_last, 4]
    net.constant("bounds", np.array(bounds))
    net.nodes.append(
        helper.make_node("Split", ["flat", "bounds"], ["box", "class", "weigh"], name="Split", axis=1)
    )
    net.op("Add", "box", net.constant("whole", np.float32(20)), to="boxes")
    net.op("Sigmoid", "class", to="scores")
    net.op("Concat", "boxes", "scores", "weigh", to="joined" if rows_last else "output0", axis=1)
    if rows_last:
        net.op("Transpose", "joined", to="output0", perm=[0, 2, 1])
    shape = [1, 64, channels] if rows_last else [1, channels, 64]
    outputs: dict[str, Shape] = {"output0": shape, "a_head": [1, 40, 8, 8], "output1": [1, 4, 16, 16]}
    return net.write(path, {"images": [1, 3, 32, 32]}, outputs)


def segmenter(path: Path, ending: str, classes: int = 1, *, nhwc: bool = False, name: str = "out") -> Path:
    """A network over [1, 3, 32, 32] (or channels last) that ends in an operator, beside a smaller head."""
    net = Net()
    value = net.op("Transpose", "image", to="first", perm=[0, 3, 1, 2]) if nhwc else "image"
    net.op("Relu", net.conv(value, "stem", (3, 8)), to="features")
    net.conv("features", "aux", (8, 3), 2)
    head = net.conv("features", "logits", (8, classes))
    attributes: dict[str, Any] = {"axis": 1} if ending in ("Softmax", "ArgMax") else {}
    if ending:
        head = net.op(ending, head, to="ended", **attributes)
    output = "labels" if ending == "ArgMax" else name
    if nhwc:
        net.op("Transpose", head, to=output, perm=[0, 2, 3, 1])
    else:
        net.op("Identity", head, to=output)
    planes = 1 if ending == "ArgMax" else classes
    shape = [1, 32, 32, planes] if nhwc else [1, planes, 32, 32]
    image = [1, 32, 32, 3] if nhwc else [1, 3, 32, 32]
    return net.write(path, {"image": image}, {"aux": [1, 3, 16, 16], output: shape})


def one_of_each(folder: Path) -> Iterator[tuple[Path, Path | None]]:
    """(model, decoder): prompted ones, a detector of objects, a mask and a plane for each class."""
    yield encoder(folder / "encoder.onnx"), batched_decoder(folder / "batched.onnx")
    yield sam2(folder)
    yield yolo(folder / "yolo.onnx"), None
    yield segmenter(folder / "mask.onnx", "Sigmoid"), None
    yield segmenter(folder / "classes.onnx", "", 5), None


def images(folder: Path, count: int = 2, seed: int = 0, prompts: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Noisy pictures 40 wide and 24 high, with the same prompts each."""
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    names = [f"{number:03}.png" for number in range(count)]
    for name in names:
        pixels = random.integers(0, 255, (24, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / name)
    if prompts:
        (folder / "prompts.json").write_text(json.dumps({name: list(prompts) for name in names}))
    return folder


def freed(path: Path) -> Path:
    """The same file with free sizes of its image: all but the channels."""
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        for place, size in enumerate(value.type.tensor_type.shape.dim):
            if size.dim_value != 3 or value in list(model.graph.output):
                size.dim_param = f"{value.name}{place}"
    onnx.save(model, path)
    return path


def of_bytes(path: Path) -> Path:
    """A segmenter that takes pixels as bytes, and normalises them by itself."""
    model = onnx.load(segmenter(path, ""))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    for node in model.graph.node:
        node.input[:] = ["floats" if name == "image" else name for name in node.input]
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], name="Cast_floats", to=TensorProto.FLOAT),
        *model.graph.node,
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)
    return path
