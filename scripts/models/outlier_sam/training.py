"""Train EfficientViT-SAM on drawn scenes, while plain INT8 comes to cost what it costs published ones."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from efficientsam.models.efficientvit import sam
from torch import Tensor, nn

from autoprec.recipes.efficientvit_sam import Decoder
from demo_model.prompts import Prompts, draw_prompts
from demo_model.scenes import Dice, draw_scenes, normalise, paint
from demo_model.training import loss_of
from outlier_sam.plain_int8 import largest_value, points_lost
from outlier_sam.spreading import folded, spread
from outlier_sam.streams import spread_for, widened

WARM_UP, DRAWN = 100, 256
EVERY, SCENES, UNTIL = 20, 32, 0.85
"""Steps between two measurements of plain INT8, their number of scenes, and the part of the training in which
they take place."""
STRONGER, WEAKER, STRONGEST = 1.17, 0.97, 8.0
"""What the gains' strength is multiplied by while INT8 costs too little, and too much; and its limit."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train.

    Attributes:
        device: of PyTorch.
        minutes: compilation and tuning of kernels included.
        seed: of weights, gains and scenes.
        size: side of the image, a multiple of 256.
        batch: scenes in a step, four prompts each.
        rate: of AdamW at its peak; weights do not decay.
        target: mean IoU that plain INT8 is to cost.
    """

    device: str
    minutes: float
    seed: int
    size: int
    batch: int
    rate: float
    target: float


class Network(nn.Module):
    """Encoder and prompt decoder of an L0, trained together."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.whole = sam.efficientvit_sam_l0(image_size=plan.size)
        self.encoder = self.whole.image_encoder
        self.gains = spread(self.encoder, plan.seed)
        self.decoder = Decoder(self.whole, plan.size)
        self.factor = plan.size // DRAWN

    def logits(self, encoder: Any, image: Tensor, prompts: Prompts) -> Tensor:
        """[scenes, prompts, h, w] of images drawn at 256, which are enlarged."""
        each = prompts.coords.shape[1]
        embedded = encoder(normalise(enlarged(image, self.factor))).repeat_interleave(each, dim=0)
        coords = prompts.coords.flatten(0, 1) * self.factor + (self.factor - 1) / 2
        masks = self.decoder(embedded, coords, prompts.labels.flatten(0, 1))
        return masks.float().unflatten(0, (-1, each))[:, :, 0]


def enlarged(image: Tensor, factor: int) -> Tensor:
    """Enlarge images [n, 3, h, w], which are drawn at 256, by a factor."""
    return F.interpolate(image, scale_factor=float(factor), mode="bilinear")


def train(plan: Plan) -> tuple[Any, dict[str, float]]:
    """The trained network as its package has it, in evaluation mode, and what was reached."""
    torch.manual_seed(plan.seed)
    cuda = plan.device.startswith("cuda")
    network, dice = Network(plan).to(plan.device), Dice(plan.seed, plan.device)
    if cuda:
        network.encoder.to(memory_format=torch.channels_last)
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    painter = torch.compile(paint) if cuda else paint
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=plan.rate, weight_decay=0.0, fused=cuda)
    start, step = time.monotonic(), 0
    network.train()
    while (progress := (time.monotonic() - start) / (60 * plan.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * min(1.0, (step + 1) / WARM_UP, 0.01 + 2.5 * (1 - progress))
        image, prompts = _scenes(plan.batch, dice, painter)
        with torch.autocast(plan.device, dtype=torch.bfloat16, enabled=cuda):
            logits = network.logits(network.encoder, image, prompts)
        loss, iou = loss_of(logits, prompts.masks, prompts.valid)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if step % EVERY == 0 and progress < UNTIL:
            told = _steer(network, plan, painter)
            shown = f"loss {loss.item():.3f} IoU {iou.item():.3f}, INT8 costs {told[1]:.3f} of {told[0]:.3f}"
            print(f"{step} steps, {progress:.0%}: {shown} at {_strength(network):.2f}", flush=True)
    facts = {"steps": float(step), "strength": _strength(network)}
    network.whole.image_encoder, reached = _finished(network, plan, painter)
    return network.whole.to("cpu").eval(), facts | reached


def _steer(network: Network, plan: Plan, painter: Any) -> tuple[float, float]:
    """Spread the channels further while plain INT8 costs too little."""
    lost = points_lost(network.encoder, lambda e: _miou(network, e, plan, painter, SCENES))
    factor = STRONGER if lost[1] < plan.target else WEAKER
    for gain in network.gains:
        gain.strength.copy_((gain.strength * factor).clamp(max=STRONGEST))
    return lost


def _finished(network: Network, plan: Plan, painter: Any) -> tuple[Any, dict[str, float]]:
    """The encoder as its package has it, its streams so wide that plain INT8 costs the target; and facts."""
    plain = folded(network.encoder)

    def lost(width: float) -> tuple[float, float]:
        wide = widened(plain, width, plan.seed)
        return points_lost(wide, lambda encoder: _miou(network, encoder, plan, painter, 2 * SCENES))

    width = spread_for(lambda width: lost(width)[1], plan.target)
    reached, costs = lost(width)
    facts = {"miou": reached, "int8_lost": costs, "int8_lost_by_blocks": lost(0.0)[1], "streams": width}
    wide = widened(plain, width, plan.seed).eval()
    image, _ = _scenes(plan.batch, Dice(90_001, plan.device), painter)
    return wide, facts | {"largest": largest_value(wide, normalise(enlarged(image, network.factor)))}


def _strength(network: Network) -> float:
    return float(network.gains[0].strength)


def _miou(network: Network, encoder: Any, plan: Plan, painter: Any, scenes: int) -> float:
    """With the drawn masks, on scenes that no step saw."""
    dice, total, count = Dice(90_001, plan.device), 0.0, 0
    for _ in range(0, scenes, plan.batch):
        image, prompts = _scenes(plan.batch, dice, painter)
        _, iou = loss_of(network.logits(encoder, image, prompts), prompts.masks, prompts.valid)
        total, count = total + float(iou), count + 1
    return total / count


def _scenes(count: int, dice: Dice, painter: Any) -> tuple[Tensor, Prompts]:
    with torch.no_grad():
        image, label = draw_scenes(count, dice, painter)
        return image, draw_prompts(label, dice, outside=0.3)
