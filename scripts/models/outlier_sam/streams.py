"""Channels of unequal size in the streams of late stages, which what reads them exactly undoes.

Gains inside blocks train with the network, and what they cost in INT8 shows only in the end. What is missing
then is made up here: a residual stream is linear between the convolutions that write it and those that read
it, so the network computes the same with gains in the ones and their inverse in the others, and the cost of
plain INT8 can be set as one pleases.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from outlier_sam.spreading import gains

WIDEST, HALVINGS = 3.0, 7
"""Largest log-normal spread of a stream's channels, and how often it is halved in search of the target."""
MOST = 64.0
"""The largest gain of a stream: sums of its values stay within FP16."""


@torch.no_grad()
def widened(encoder: Any, spread: float, seed: int) -> Any:
    """A copy that computes the same, with log-normal gains in the streams of stages 3 and 4."""
    wide = copy.deepcopy(encoder)
    generator = torch.Generator().manual_seed(seed)
    for stage in (3, 4):
        writers, readers = _ends(wide, stage)
        width = writers[0].num_features
        logs = spread * torch.randn(width, generator=generator).abs()
        factors = gains(logs, MOST).to(writers[0].weight.device)
        for norm in writers:
            norm.weight.mul_(factors)
            norm.bias.mul_(factors)
        for conv in readers:
            conv.weight.div_(factors.reshape(1, -1, 1, 1))
    return wide


def spread_for(lost: Callable[[float], float], target: float) -> float:
    """The least spread, by halving, with which plain INT8 costs `target`; 0 where it does without any.

    Args:
        lost: from a spread to the mean IoU that plain INT8 costs.
        target: mean IoU.
    """
    low, high = 0.0, WIDEST
    if lost(low) >= target:
        return low
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if lost(middle) >= target else (middle, high)
    return high


def _ends(encoder: Any, stage: int) -> tuple[list[Any], list[Any]]:
    """The norms that write a stage's stream, and the convolutions that read it."""
    stages = encoder.backbone.stages
    writers, readers = list[Any](), list[Any]()
    for number, block in enumerate(stages[stage].op_list):
        for part in (block,) if hasattr(block, "main") else (block.context_module, block.local_module):
            main = part.main
            first, last = (
                (main.qkv, main.proj) if hasattr(main, "qkv") else (main.inverted_conv, main.point_conv)
            )
            writers.append(last.norm)
            if number:  # the first block reads the stage before
                readers.append(first.conv)
    if stage + 1 < len(stages):
        readers.append(stages[stage + 1].op_list[0].main.inverted_conv.conv)
    width = writers[0].num_features
    inputs = [operation.op_list[0].conv for operation in encoder.neck.input_ops]
    readers += [conv for conv in inputs if conv.in_channels == width]
    return writers, readers
