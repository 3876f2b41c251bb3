"""EfficientViT-SAM as two ONNX files: the image encoder, which is searched, and the prompt decoder.

The encoder takes `image` [1, 3, S, S] and gives `image_embeddings` [1, 256, 64, 64]. The decoder takes those,
`point_coords` [P, 2, 2] in pixels of the S x S image and `point_labels` [P, 2], and gives `masks`
[P, 1, 256, 256], one for each of P prompts: a point is (x, y) with label 1 and a filler with label -1, a box
is its corners with labels 2 and 3. Both files are compared with PyTorch before they are used.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from efficientsam.models.efficientvit import sam
from torch import Tensor, nn

from autoprec.errors import ModelError

SIZES = {"l0": 512, "l1": 512, "l2": 512, "xl0": 1024, "xl1": 1024}
"""Side of the images that each network was trained on."""
OPSET = 20  # the first with Gelu as one node
PROMPTS = (3, 1, 5)  # the first is traced, the others are tried on the same file
TOLERANCE = 1e-3  # of the largest value
Say = Callable[[str], None]


class Decoder(nn.Module):
    """SAM's prompt encoder and mask decoder, without control flow; gives the mask of token 0.

    `size` is the side of the image; the prompt encoder has its own frame, and the side of the embeddings.
    """

    def __init__(self, model: Any, size: int) -> None:
        super().__init__()
        self.prompts, self.masks = model.prompt_encoder, model.mask_decoder
        self.frame, self.side = self.prompts.input_image_size[0], self.prompts.image_embedding_size[0]
        self.scale = self.frame / size
        self.register_buffer("position", model.prompt_encoder.get_dense_pe())

    def forward(self, image_embeddings: Tensor, point_coords: Tensor, point_labels: Tensor) -> Tensor:
        """Logits [P, 1, 4 x side, 4 x side]."""
        decoder, count = self.masks, point_coords.shape[0]
        tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight], dim=0)
        tokens = tokens.unsqueeze(0).expand(count, -1, -1)
        tokens = torch.cat([tokens, self._embedded(point_coords, point_labels)], dim=1)
        image = image_embeddings + self.prompts.no_mask_embed.weight.reshape(1, -1, 1, 1)
        image = image.expand(count, -1, -1, -1)
        tokens_out, image = decoder.transformer(image, self.position.expand(count, -1, -1, -1), tokens)
        fine = decoder.output_upscaling(image.transpose(1, 2).reshape(count, 256, self.side, self.side))
        kernel = decoder.output_hypernetworks_mlps[0](tokens_out[:, 1:2, :])
        return (kernel @ fine.flatten(2)).reshape(count, 1, 4 * self.side, 4 * self.side)

    def _embedded(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Like `PromptEncoder._embed_points`: embeddings [P, 2, 256] of points."""
        prompts = self.prompts
        points = prompts.pe_layer._pe_encoding((coords * self.scale + 0.5) / self.frame)
        # Sums over masks: exporters turn assignments to selected rows into operators on indices.
        is_label = [(labels == label).unsqueeze(-1).to(points.dtype) for label in range(-1, 4)]
        rows = [prompts.not_a_point_embed.weight, *(e.weight for e in prompts.point_embeddings)]
        return points * (1 - is_label[0]) + sum(m * row for m, row in zip(is_label, rows, strict=True))


def load_checkpoint(path: Path) -> tuple[str, Any]:
    """The name of a checkpoint's network, and the network with its weights, in evaluation mode.

    Only tensors are read, so nothing in the file is executed. Raises `ModelError` for any other file.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch raises whatever its archive reader or unpickler does
        raise ModelError(f"{path}: cannot be read as a checkpoint of tensors ({_short(error)})") from error
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else {}
    shapes = {name: tuple(value.shape) for name, value in state.items() if isinstance(value, Tensor)}
    for name, size in SIZES.items():
        model = getattr(sam, f"efficientvit_sam_{name}")(image_size=size)
        if {key: tuple(value.shape) for key, value in model.state_dict().items()} == shapes:
            model.load_state_dict(state)
            return name, model.eval()
    raise ModelError(
        f"{path}: its {len(shapes)} tensors match no EfficientViT-SAM ({', '.join(SIZES)}); give the "
        ".pt file that the authors publish, or your own of the same network"
    )


def export(module: nn.Module, inputs: dict[str, Tensor], output: str, path: Path, *, dynamo: bool) -> None:
    """Write one file; the first dimension of `point_*` inputs is free.

    Args:
        module: the module to trace.
        inputs: an example of each input, by name.
        output: name of the output.
        path: the file to write.
        dynamo: use PyTorch's newer exporter.
    """
    free = [name for name in inputs if name.startswith("point_")]
    how: dict[str, Any] = {
        "dynamic_axes": {name: {0: "prompts"} for name in (*free, output)} if free else None
    }
    if dynamo:
        prompts = torch.export.Dim("prompts", min=1, max=256)
        shapes = tuple({0: prompts} if name in free else None for name in inputs)
        how = {"dynamic_shapes": shapes, "external_data": False, "verbose": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about sizes that are constant here
        torch.onnx.export(
            module, tuple(inputs.values()), str(path), dynamo=dynamo, opset_version=OPSET,
            input_names=list(inputs), output_names=[output], **how,
        )  # fmt: skip
    onnx.checker.check_model(str(path), full_check=True)


def compare(path: Path, inputs: dict[str, Tensor], expected: Tensor) -> float:
    """The largest difference between file and PyTorch, relative to the largest value.

    Raises `ModelError` if it exceeds `TOLERANCE`.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    error = float(np.abs(output - expected.numpy()).max() / expected.abs().max())
    if not error < TOLERANCE:  # true of NaN too
        raise ModelError(f"{path}: differs from PyTorch by {error:.2g} of the largest value")
    return error


@torch.no_grad()
def write_both(model: Any, size: int, folder: Path, *, dynamo: bool = False, say: Say = print) -> None:
    """Write `encoder.onnx` and `decoder.onnx` of a SAM, and report their errors against PyTorch.

    Args:
        model: a SAM as `efficientsam` builds it.
        size: side of the image.
        folder: where to write.
        dynamo: use PyTorch's newer exporter.
        say: receives each file and its error.

    Raises `ModelError` if a file differs from PyTorch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    image = {"image": torch.randn(1, 3, size, size)}
    embeddings = model.image_encoder(image["image"])
    export(model.image_encoder, image, "image_embeddings", folder / "encoder.onnx", dynamo=dynamo)
    say(f"{folder / 'encoder.onnx'}: error {compare(folder / 'encoder.onnx', image, embeddings):.1e}")
    decoder = Decoder(model, size).eval()
    for count in PROMPTS:
        labels = torch.tensor([[1, -1], [2, 3], [0, 1], [1, -1], [2, 3]])[:count]
        coords = torch.rand(count, 2, 2) * size
        inputs = {"image_embeddings": embeddings, "point_coords": coords, "point_labels": labels}
        if count == PROMPTS[0]:
            _check_prompts(model, decoder, inputs)
            export(decoder, inputs, "masks", folder / "decoder.onnx", dynamo=dynamo)
        error = compare(folder / "decoder.onnx", inputs, decoder(**inputs))
        say(f"{folder / 'decoder.onnx'}: {count} prompt{'s' * (count > 1)}, error {error:.1e}")


def _check_prompts(model: Any, decoder: Decoder, inputs: dict[str, Tensor]) -> None:
    """Compare this decoder with the package's own, on a point and on a box."""
    ours = decoder(**inputs)
    point, box = inputs["point_coords"][:2] * decoder.scale
    as_point = {"points": (point[None, :1], torch.ones(1, 1)), "boxes": None, "masks": None}
    as_box = {"points": None, "boxes": box.reshape(1, 4), "masks": None}
    for row, prompts in enumerate((as_point, as_box)):
        sparse, dense = model.prompt_encoder(**prompts)
        theirs, _ = model.mask_decoder(
            inputs["image_embeddings"],
            model.prompt_encoder.get_dense_pe(),
            sparse,
            dense,
            multimask_output=False,
        )
        torch.testing.assert_close(ours[row : row + 1], theirs, rtol=1e-3, atol=1e-4)


def _short(error: Exception) -> str:
    """The first line of an error of PyTorch's."""
    return str(error).strip().partition("\n")[0][:200]
