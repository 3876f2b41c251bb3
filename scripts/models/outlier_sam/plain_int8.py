"""A rough simulation of plain INT8 in PyTorch, which steers the training; and the largest value of an
encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from outlier_sam.spreading import folded

LEVELS = 127.0


@torch.no_grad()
def quantised(encoder: Any) -> Any:
    """A copy whose convolutions round weights by channel and inputs by tensor, with min-max ranges."""
    plain = folded(encoder).eval()
    for module in plain.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.copy_(
                _rounded(module.weight, module.weight.abs().amax(dim=(1, 2, 3), keepdim=True))
            )
            module.register_forward_pre_hook(lambda _, inputs: (_rounded(inputs[0], inputs[0].abs().amax()),))
    return plain


def _rounded(values: Tensor, largest: Tensor) -> Tensor:
    scale = largest.clamp(min=1e-12) / LEVELS
    return (values / scale).round() * scale


@torch.no_grad()
def points_lost(encoder: Any, miou: Callable[[Any], float]) -> tuple[float, float]:
    """Mean IoU with the drawn masks, and how much plain INT8 lowers it."""
    encoder.eval()
    whole = miou(encoder)
    lost = whole - miou(quantised(encoder))
    encoder.train()
    return whole, lost


@torch.no_grad()
def largest_value(encoder: Any, images: Tensor) -> float:
    """The largest magnitude that a convolution or a norm of an encoder takes or gives, in FP32.

    Args:
        encoder: in evaluation mode.
        images: [n, 3, h, w], normalised.
    """
    largest = 0.0

    def look(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal largest
        largest = max(largest, float(inputs[0].abs().max()), float(output.abs().max()))

    seen = [m for m in encoder.modules() if isinstance(m, (nn.Conv2d, nn.BatchNorm2d, nn.LayerNorm))]
    hooks = [module.register_forward_hook(look) for module in seen]
    encoder(images)
    for hook in hooks:
        hook.remove()
    return largest
