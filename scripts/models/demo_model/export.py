"""PyTorch modules to clean ONNX files, compared with PyTorch before they count."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import shape_inference
from torch import Tensor, nn

from demo_model.decoder import Decoder
from demo_model.encoder import EMBEDDING_SIZE, IMAGE_SIZE, Encoder

OPSET = 20  # the first with Gelu as one node
TOLERANCE = 2e-3


def _trace(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    names: tuple[list[str], list[str]],
    path: Path,
    dynamic: dict[str, dict[int, str]],
) -> None:
    """Export by tracing: this exporter names nodes by module scope, and blocks are named from scopes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            inputs,
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=names[0],
            output_names=names[1],
            dynamic_axes=dynamic,
            do_constant_folding=True,
        )
    _tidy(path)


def _tidy(path: Path) -> None:
    """Make constants initializers, drop Identity nodes, store every shape, pin the IR version."""
    model = onnx.load(path)
    graph = model.graph
    renamed: dict[str, str] = {}
    kept = []
    for node in graph.node:
        if node.op_type == "Constant":
            tensor = node.attribute[0].t
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
        elif node.op_type == "Identity":
            renamed[node.output[0]] = renamed.get(node.input[0], node.input[0])
        else:
            kept.append(node)
            for i, name in enumerate(node.input):
                node.input[i] = renamed.get(name, name)
    del graph.node[:]
    graph.node.extend(kept)
    model.ir_version = 10
    model = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _compare(path: Path, inputs: dict[str, Tensor], expected: Tensor) -> float:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    output = session.run(None, {name: value.numpy() for name, value in inputs.items()})[0]
    error = float(np.abs(output - expected.numpy()).max())
    if not error < TOLERANCE * max(1.0, float(expected.abs().max())):
        raise ValueError(f"{path.name} differs from PyTorch by {error}")
    return error


@torch.no_grad()
def export_encoder(encoder: Encoder, path: Path) -> float:
    """Write the encoder with BatchNorm folded; return the largest difference from PyTorch."""
    encoder = copy.deepcopy(encoder).cpu().float().eval()
    image = torch.randn(1, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(0))
    expected = encoder(image)
    encoder.fold()
    _trace(encoder, (image,), (["image"], ["image_embeddings"]), path, {})
    return _compare(path, {"image": image}, expected)


@torch.no_grad()
def export_decoder(decoder: Decoder, width: int, path: Path) -> float:
    """Write the decoder with a free number of prompts; return the largest difference from PyTorch."""
    decoder = copy.deepcopy(decoder).cpu().float().eval()
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(1, width, EMBEDDING_SIZE, EMBEDDING_SIZE, generator=generator)
    names = ["image_embeddings", "point_coords", "point_labels"]
    free = {name: {0: "prompts"} for name in ("point_coords", "point_labels", "masks")}
    worst = 0.0
    for prompts in (3, 1, 5):
        coords = torch.rand(prompts, 2, 2, generator=generator) * IMAGE_SIZE
        labels = torch.tensor([[1, -1], [2, 3], [0, 1], [1, -1], [2, 3]])[:prompts]
        inputs = (embedding, coords, labels)
        if prompts == 3:  # trace once, then try other counts on the same file
            _trace(decoder, inputs, (names, ["masks"]), path, free)
        worst = max(worst, _compare(path, dict(zip(names, inputs, strict=True)), decoder(*inputs)))
    return worst
