"""Fake quantisation with gradients: what Q/DQ does to numbers, and straight through it for training.

Steps of activations are learned as in Esser et al., "Learned Step Size Quantization", ICLR 2020
(arXiv:1902.08153). Weights keep the scale that the rewriter gives them, from their largest magnitude, so what
is learned comes back into the model without loss.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SMALLEST = 2.0**-14


def fake_activation(x: Tensor, log_step: Tensor, low: float, high: float, *, integer: bool) -> Tensor:
    """An activation on a grid of step exp(`log_step`), clipped to [low, high] steps; float32, same shape.

    Args:
        x: float32 values.
        log_step: logarithm of the step, a learned scalar.
        low: of the grid, in steps.
        high: of the grid, in steps.
        integer: whether the grid is even; else it is FP8's.
    """
    # The gradient of one step is a sum over all values: scaled down as in the paper, section 2.2.
    scale = 1 / math.sqrt(x.numel() * high)
    step = log_step * scale + (log_step - log_step * scale).detach()  # its gradient, made smaller
    step = step.exp().clamp(min=SMALLEST)
    scaled = (x / step).clamp(low, high)
    return _rounded(scaled, integer=integer) * step


def fake_weight(w: Tensor, axis: int | None, high: float, *, integer: bool) -> Tensor:
    """Weights on the grid of their largest magnitude, by channel along `axis`; float32, same shape.

    Args:
        w: float32 weights.
        axis: that of the channels; None gives all one scale.
        high: of the grid, in steps.
        integer: whether the grid is even; else it is FP8's.
    """
    others = [i for i in range(w.ndim) if i != axis]
    # Detached: the scale follows the weights, and is no parameter that could drift from the rewriter's.
    largest = w.detach().abs().amax(dim=others, keepdim=True) if axis is not None else w.detach().abs().max()
    step = (largest / high).clamp(min=torch.finfo(torch.float32).tiny)
    return _rounded((w / step).clamp(-high, high), integer=integer) * step


def _rounded(x: Tensor, *, integer: bool) -> Tensor:
    """The nearest value of the grid; the gradient is 1."""
    with torch.no_grad():
        near = x.round() if integer else x.to(torch.float8_e4m3fn).float()
    return x + (near - x).detach()
