"""Export EfficientViT-SAM as two ONNX files: the image encoder, which is searched, and the prompt decoder.

    python scripts/models/export_efficientvit_sam.py l0 --checkpoint efficientvit_sam_l0.pt

Needs `pip install efficientsam onnxruntime onnx`, and `onnxscript` for `--exporter dynamo`. Inputs and
outputs of the files are described in `autoprec/recipes/efficientvit_sam.py`; `autoprec init --recipe
efficientvit-sam --checkpoint FILE` does the same and writes the study as well. This script also exports other
sizes, and random weights for timing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from efficientsam.models.efficientvit import sam
from torch import Tensor, nn

from autoprec.recipes.efficientvit_sam import SIZES, load_checkpoint, write_both


def load_model(name: str, size: int, checkpoint: Path | None, seed: int) -> Any:
    """The network in evaluation mode, from a checkpoint or with random weights.

    Args:
        name: of the network, a key of `SIZES`.
        size: side of the image in pixels.
        checkpoint: its `.pt` file; None for random weights.
        seed: of the random weights.
    """
    torch.manual_seed(seed)
    model = getattr(sam, f"efficientvit_sam_{name}")(image_size=size)
    if checkpoint is not None:
        model.load_state_dict(load_checkpoint(checkpoint)[1].state_dict())
        return model.eval()
    print(
        f"No --checkpoint: RANDOM weights of seed {seed}. Latency is right, masks mean NOTHING.",
        file=sys.stderr,
    )
    return _with_sane_statistics(model, size)


@torch.no_grad()
def _with_sane_statistics(model: Any, size: int) -> Any:
    """Give BatchNorms statistics with which activations neither vanish nor explode."""
    # Clouds of colour with edges, so that the statistics hold on other images too.
    images = sum(
        nn.functional.interpolate(torch.randn(4, 3, cells, cells), size=(size, size), mode="bicubic")
        for cells in (1, 4, 16, 64)
    )

    def measure(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        norm.running_var, norm.running_mean = torch.var_mean(inputs[0], dim=(0, 2, 3))

    # One after the other, each behind norms that have theirs. Measured all at once, in training mode,
    # activations reach 1e12 in the last attention.
    norms = [module for module in model.image_encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    model.eval().image_encoder(torch.where(images > 0, images.round(), images))
    for hook in hooks:
        hook.remove()
    return model


def export_both(
    name: str, size: int, checkpoint: Path | None, folder: Path, seed: int, *, dynamo: bool
) -> None:
    """Write `encoder.onnx` and `decoder.onnx`, and print their errors against PyTorch.

    Args:
        name: of the network, a key of `SIZES`.
        size: side of the image in pixels.
        checkpoint: its `.pt` file; None for random weights.
        folder: where both files go.
        seed: of the random weights.
        dynamo: export by `torch.export` instead of tracing.
    """
    write_both(load_model(name, size, checkpoint, seed), size, folder, dynamo=dynamo)


def main() -> None:
    """Parse and export."""
    parser = argparse.ArgumentParser(description="Export EfficientViT-SAM as encoder.onnx and decoder.onnx.")
    parser.add_argument("name", choices=SIZES, help="which network")
    parser.add_argument("--checkpoint", type=Path, help="its .pt file; without it the weights are random")
    parser.add_argument("--out", type=Path, help="folder (default: studies/efficientvit_sam_NAME/models)")
    parser.add_argument("--size", type=int, help="side of the image (default: 512 for L, 1024 for XL)")
    parser.add_argument("--exporter", choices=("legacy", "dynamo"), default="legacy")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    given = parser.parse_args()
    folder = given.out or Path(__file__).parents[2] / "studies" / f"efficientvit_sam_{given.name}" / "models"
    size = given.size or SIZES[given.name]
    export_both(given.name, size, given.checkpoint, folder, given.seed, dynamo=given.exporter == "dynamo")


if __name__ == "__main__":
    main()
