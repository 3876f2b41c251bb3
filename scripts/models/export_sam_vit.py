"""Export SAM with a plain ViT encoder as two ONNX files: an image encoder dominated by matrix products.

    python scripts/models/export_sam_vit.py b --checkpoint sam_vit_b_01ec64.pth --size 1024

Needs `pip install efficientsam onnxruntime onnx onnxscript`. Inputs and outputs are those of
`export_efficientvit_sam.py`: the encoder gives `image_embeddings` [1, 256, S/16, S/16], the decoder `masks`
[P, 1, S/4, S/4]. Without a checkpoint the weights are random, at any size; `--depth` then makes it smaller.
The legacy exporter records how windows are cut as arithmetic on shapes, which ONNX Runtime then folds.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import onnxruntime
import torch
from efficientsam.segment_anything.modeling import (
    MaskDecoder,
    PromptEncoder,
    TwoWayTransformer,
    image_encoder,
)
from torch import Tensor, nn

from autoprec.recipes.efficientvit_sam import write_both

PATCH = 16
WINDOW = 14


class Network(NamedTuple):
    """Size of a network; `attends` are the blocks with attention over the whole image."""

    width: int
    depth: int
    heads: int
    attends: tuple[int, ...]


NETWORKS = {
    "s": Network(384, 12, 6, (2, 5, 8, 11)),  # never published for SAM: for random weights
    "b": Network(768, 12, 12, (2, 5, 8, 11)),
    "l": Network(1024, 24, 16, (5, 11, 17, 23)),
    "h": Network(1280, 32, 16, (7, 15, 23, 31)),
}


class Sam(nn.Module):
    """Encoder, prompt encoder and mask decoder under the names of the published checkpoints."""

    def __init__(self, network: Network, depth: int, size: int) -> None:
        super().__init__()
        side = size // PATCH
        self.image_encoder = image_encoder.ImageEncoderViT(
            img_size=size, patch_size=PATCH, embed_dim=network.width, depth=depth, num_heads=network.heads,
            norm_layer=functools.partial(nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=WINDOW,
            global_attn_indexes=network.attends,
        )  # fmt: skip
        self.prompt_encoder = PromptEncoder(256, (side, side), (size, size), 16)
        transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
        self.mask_decoder = MaskDecoder(transformer_dim=256, transformer=transformer)


def add_relative_positions(
    attention: Tensor,
    queries: Tensor,
    rel_pos_h: Tensor,
    rel_pos_w: Tensor,
    q_size: tuple[int, int],
    k_size: tuple[int, int],
) -> Tensor:
    """Like the package's `add_decomposed_rel_pos`, but without Einsum, which has no BF16 in ONNX.

    Args:
        attention: [B, queries, keys], before the softmax.
        queries: [B, queries, channels].
        rel_pos_h: embeddings of vertical distances [2 * height - 1, channels].
        rel_pos_w: embeddings of horizontal distances [2 * width - 1, channels].
        q_size: height and width of the queries' grid.
        k_size: height and width of the keys' grid.
    """
    (rows, columns), (key_rows, key_columns) = q_size, k_size
    along_h = image_encoder.get_rel_pos(rows, key_rows, rel_pos_h).transpose(1, 2)
    along_w = image_encoder.get_rel_pos(columns, key_columns, rel_pos_w).transpose(1, 2)
    grid = queries.reshape(-1, rows, columns, queries.shape[-1])
    by_row = grid @ along_h
    by_column = (grid.transpose(1, 2) @ along_w).transpose(1, 2)
    shape = (-1, rows, columns, key_rows, key_columns)
    biased = attention.reshape(shape) + by_row[..., None] + by_column[:, :, :, None, :]
    return biased.reshape(attention.shape)


def load_model(name: str, depth: int | None, size: int, checkpoint: Path | None, seed: int) -> Any:
    """The network in evaluation mode, from a checkpoint or with random weights.

    Args:
        name: a key of `NETWORKS`.
        depth: number of blocks; None for the network's own.
        size: side of the image in pixels.
        checkpoint: its file; None for random weights.
        seed: of the random weights.
    """
    torch.manual_seed(seed)
    theirs, ours = image_encoder.add_decomposed_rel_pos, add_relative_positions
    _check_positions(theirs, ours)
    image_encoder.add_decomposed_rel_pos = ours
    model = Sam(NETWORKS[name], depth or NETWORKS[name].depth, size)
    if checkpoint is not None:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        # Without the published pixel statistics, which belong to the samples here.
        model.load_state_dict({key: value for key, value in state.items() if not key.startswith("pixel_")})
        return model.eval()
    print(
        f"No --checkpoint: RANDOM weights of seed {seed}. Latency is right, masks mean NOTHING.",
        file=sys.stderr,
    )
    for parameter_name, parameter in model.image_encoder.named_parameters():
        if "pos" in parameter_name:  # all zero at first, which would compute nothing
            nn.init.normal_(parameter, std=0.5)
    return model.eval()


def fold(path: Path) -> None:
    """Fold what is computed from constants and fixed shapes, in place."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def _check_positions(theirs: Callable[..., Tensor], ours: Callable[..., Tensor]) -> None:
    """Compare these relative positions with the package's own, in a window that is not square."""
    heads, width, size = 3, 8, (5, 7)
    attention, queries = torch.randn(heads, 35, 35), torch.randn(heads, 35, width)
    positions = torch.randn(2 * size[0] - 1, width), torch.randn(2 * size[1] - 1, width)
    torch.testing.assert_close(
        ours(attention, queries, *positions, size, size), theirs(attention, queries, *positions, size, size)
    )


def main() -> None:
    """Parse and export."""
    parser = argparse.ArgumentParser(description="Export SAM's ViT as encoder.onnx and decoder.onnx.")
    parser.add_argument("name", choices=NETWORKS, help="which network")
    parser.add_argument("--checkpoint", type=Path, help="its .pth file; without it the weights are random")
    parser.add_argument("--out", type=Path, help="folder (default: studies/sam_vit_NAME/models)")
    parser.add_argument("--size", type=int, default=1024, help="side of the image")
    parser.add_argument("--depth", type=int, help="number of blocks, for random weights")
    parser.add_argument("--exporter", choices=("legacy", "dynamo"), default="dynamo")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    given = parser.parse_args()
    folder = given.out or Path(__file__).parents[2] / "studies" / f"sam_vit_{given.name}" / "models"
    model = load_model(given.name, given.depth, given.size, given.checkpoint, given.seed)
    write_both(model, given.size, folder, dynamo=given.exporter == "dynamo")
    if given.exporter == "legacy":
        fold(folder / "encoder.onnx")


if __name__ == "__main__":
    main()
