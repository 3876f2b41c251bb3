"""Exports a user's checkpoint of EfficientViT-SAM to the two ONNX files of a study.

The networks come from `efficientsam` and need PyTorch; both are imported only when a checkpoint is named.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autoprec.errors import ModelError, SpecError, how_to_install

RECIPE = "efficientvit-sam"


def export_checkpoint(
    checkpoint: Path, recipe: str, folder: Path, say: Callable[[str], None] = lambda _: None
) -> tuple[Path, Path]:
    """Write `encoder.onnx` and `decoder.onnx`, compared with PyTorch, into a folder of the checkpoint's name.

    Args:
        checkpoint: a `.pt` file of L0, L1, L2, XL0 or XL1; its tensors show which one.
        recipe: the recipe that the user named.
        folder: where folders of models are.
        say: receives a line about each slow step.

    Raises `SpecError` for another recipe or a missing package, `ModelError` for a file that is no such
    checkpoint, or whose export differs from it.
    """
    if recipe != RECIPE:
        raise SpecError(f"a checkpoint is exported by `--recipe {RECIPE}` alone; export others to ONNX")
    if not checkpoint.is_file():
        raise ModelError(f"{checkpoint}: no such checkpoint; give the path of a .pt file")
    target = folder / checkpoint.stem
    encoder, decoder = target / "encoder.onnx", target / "decoder.onnx"
    if encoder.exists() or decoder.exists():
        raise SpecError(
            f"{target} holds an export already: move it away, or take it with "
            f"`autoprec init {encoder} --decoder {decoder} --recipe {RECIPE}`"
        )
    network = _network()
    name, model = network.load_checkpoint(checkpoint)
    say(f"{checkpoint} is EfficientViT-SAM {name.upper()}: exporting")
    network.write_both(model, network.SIZES[name], target, say=say)
    return encoder, decoder


def _network() -> Any:
    try:
        return importlib.import_module("autoprec.recipes.efficientvit_sam")
    except (ImportError, RuntimeError, OSError) as error:  # RuntimeError: a torchvision of another PyTorch
        raise SpecError(
            f"a checkpoint needs PyTorch and the network's own package ({error}): "
            f"{how_to_install('efficientvit-sam')}"
        ) from error
