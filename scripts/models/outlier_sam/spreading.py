"""Channels of unequal size in the depthwise half of EfficientViT-SAM, as strong as its sensitivities are.

In the published checkpoints plain INT8 fails on the inputs of late MBConvs' depthwise and last convolutions,
where one scale has to serve large channels and small ones. Minutes of training do not produce what hundreds
of epochs do, so channels are spread by hand: each output of a convolution is multiplied by a gain, and the
next one's weights are divided by it. Between them is GELU, which is not linear, so the network trains with
its gains. They are no parameters: each convolution trains at its usual scale.
"""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = ROOT / "scripts" / "bench" / "search" / "efficientvit_sam_int8.json"
LARGEST, WIDEST = 2.2, 2.4
"""Log-normal spread of the most sensitive block's channels at strength 1, others by the root of theirs; and
the widest: of some thousand channels the largest is then some thousand times the smallest."""
MOST = 256.0
"""The largest gain: where one would be more, all are smaller by as much. INT8 feels only what channels are to
one another, but FP16 ends at 65504."""


class SpreadMBConv(nn.Module):
    """An MBConv of the `efficientsam` package whose inner channels have gains of log-normal size.

    Args:
        block: the MBConv, whose parameters stay its own.
        spread: of the logarithms, at strength 1.
        seed: of the gains.
    """

    first: Tensor
    second: Tensor
    strength: Tensor

    def __init__(self, block: Any, spread: float, seed: int) -> None:
        super().__init__()
        self.block, self.spread = block, spread
        generator = torch.Generator().manual_seed(seed)
        width = block.depth_conv.conv.out_channels
        for name in ("first", "second"):
            self.register_buffer(name, torch.randn(width, generator=generator).abs())
        self.register_buffer("strength", torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """The block's output with scaled weights."""
        block, (up, depth, down) = self.block, self._weights()
        inner = block.depth_conv.conv
        x = block.inverted_conv.act(F.conv2d(x, *up))
        x = F.conv2d(x, *depth, stride=inner.stride, padding=inner.padding, groups=inner.groups)
        return block.point_conv.norm(F.conv2d(block.depth_conv.act(x), down))

    def _weights(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor]:
        spread = (self.strength * self.spread).clamp(max=WIDEST)
        first, second = gains(spread * self.first), gains(spread * self.second)
        up, depth = self.block.inverted_conv.conv, self.block.depth_conv.conv
        rows = (-1, 1, 1, 1)
        return (
            (up.weight * first.reshape(rows), up.bias * first),
            (depth.weight * (second / first).reshape(rows), depth.bias * second),
            self.block.point_conv.conv.weight / second.reshape(1, -1, 1, 1),
        )

    @torch.no_grad()
    def folded(self) -> Any:
        """The plain MBConv with the gains in its weights."""
        (up, depth, down), block = self._weights(), copy.deepcopy(self.block)
        for layer, (weight, bias) in ((block.inverted_conv, up), (block.depth_conv, depth)):
            layer.conv.weight.copy_(weight)
            layer.conv.bias.copy_(bias)
        block.point_conv.conv.weight.copy_(down)
        return block


def gains(logs: Tensor, most: float = MOST) -> Tensor:
    """exp of `logs` (channels,), all scaled down by one factor if the largest would exceed `most`."""
    return torch.exp(logs - (logs.max() - math.log(most)).clamp(min=0.0))


def published_spreads(name: str = "L0") -> dict[str, float]:
    """`stage:block` to the spread of the block's inner channels at strength 1."""
    losses = json.loads(PUBLISHED.read_text(encoding="utf-8"))["loss_with_one_block_int8"][name]
    most = max(losses.values())
    return {block: LARGEST * math.sqrt(max(loss, 0.0) / most) for block, loss in losses.items()}


def spread(encoder: Any, seed: int) -> list[SpreadMBConv]:
    """Put gains into every MBConv of an encoder, in place; returns what holds them."""
    spreads, blocks = published_spreads(), list[SpreadMBConv]()
    for stage in (3, 4):
        for number, block in enumerate(encoder.backbone.stages[stage].op_list):
            owner = block if hasattr(block, "main") else block.local_module  # attention comes before it
            owner.main = SpreadMBConv(owner.main, spreads[f"stage{stage}:{number}"], seed + len(blocks))
            blocks.append(owner.main)
    return blocks


def folded(encoder: Any) -> Any:
    """A copy of an encoder with all gains in the weights: the network as its package has it."""
    plain = copy.deepcopy(encoder)
    for module in list(plain.modules()):
        main = getattr(module, "main", None)
        if isinstance(main, SpreadMBConv):
            module.main = main.folded()
    return plain
