"""Training on scenes that are drawn as they are needed, for a given number of minutes."""

from __future__ import annotations

import math
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from demo_model.decoder import Decoder
from demo_model.encoder import ConvNorm, Encoder, MBConv, Widths
from demo_model.prompts import draw_prompts
from demo_model.scenes import Dice, draw_scenes, normalise, paint

WARM_UP = 300
PEAK_RATE = 2e-3


def mask_logits(encoder: Encoder, decoder: Decoder, image: Tensor, coords: Tensor, labels: Tensor) -> Tensor:
    """Logits [B, Q, 128, 128] of Q prompts for each image.

    Args:
        encoder: image to embedding.
        decoder: embedding and prompts to masks.
        image: [B, 3, 256, 256].
        coords: [B, Q, T, 2] of the prompts' points.
        labels: [B, Q, T] of the points.
    """
    each = coords.shape[1]
    embedding = encoder(image).repeat_interleave(each, dim=0)
    masks = decoder(embedding, coords.flatten(0, 1), labels.flatten(0, 1))
    return masks.float().unflatten(0, (-1, each))[:, :, 0]


def loss_of(logits: Tensor, masks: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Five times cross entropy plus Dice at full size, and the mean IoU, over valid prompts."""
    size = (masks.shape[2], masks.shape[3])
    logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    target = masks.float()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=(2, 3))
    chance = torch.sigmoid(logits)
    overlap = (chance * target).sum(dim=(2, 3))
    dice = 1 - (2 * overlap + 1) / (chance.sum(dim=(2, 3)) + target.sum(dim=(2, 3)) + 1)
    with torch.no_grad():
        predicted = logits > 0
        iou = (predicted & masks).sum(dim=(2, 3)) / (predicted | masks).sum(dim=(2, 3)).clamp(min=1)
    weight = valid.float() / valid.sum().clamp(min=1)
    return ((5 * entropy + dice) * weight).sum(), (iou * weight).sum()


def _rate(step: int, progress: float) -> float:
    return min(1.0, (step + 1) / WARM_UP) * (0.002 + 0.499 * (1 + math.cos(math.pi * min(1.0, progress))))


@torch.no_grad()
def spread_channels(encoder: Encoder, spread: float) -> None:
    """Start the depthwise half of the network from channels of unequal size, as long training leaves them.

    Gains are log-normal: a convolution's outputs are multiplied by them and the next one's inputs divided, so
    that the function stays nearly the same while one INT8 scale has to serve large and small channels.
    Minutes of training do not produce the outliers that hundreds of epochs do, and those are what plain INT8
    fails on.
    """
    for module in encoder.modules():
        if isinstance(module, MBConv):
            middle = module.depth.conv.out_channels
            first, second = (torch.exp(spread * torch.randn(middle)) for _ in range(2))
            for convolution, gain in ((module.inverted.conv, first), (module.depth.conv, second)):
                convolution.weight.mul_(gain.reshape(-1, 1, 1, 1))
                convolution.bias.mul_(gain)
            module.depth.conv.weight.div_(first.reshape(-1, 1, 1, 1))
            module.point.conv.weight.div_(second.reshape(1, -1, 1, 1))
    for stage, lateral in zip(encoder.stages[1:], encoder.neck.lateral, strict=True):
        gain = torch.exp(0.6 * spread * torch.randn(lateral.conv.in_channels))
        for name, module in stage.named_modules():
            if isinstance(module, ConvNorm) and name.endswith(("point", "project")):
                module.norm.weight.mul_(gain)
            elif (name.endswith("inverted") and not name.startswith("blocks.0")) or name.endswith("qkv"):
                convolution = module.conv if isinstance(module, ConvNorm) else module
                convolution.weight.div_(gain.reshape(1, -1, 1, 1))
        lateral.conv.weight.div_(gain.reshape(1, -1, 1, 1))
    for stage, earlier in zip(encoder.stages[2:], encoder.stages[1:], strict=False):
        gain = earlier.blocks[0].point.norm.weight
        stage.blocks[0].inverted.conv.weight.div_(gain.reshape(1, -1, 1, 1))


def train(
    widths: Widths, *, device: str, minutes: float, seed: int, batch: int, spread: float
) -> tuple[Encoder, Decoder]:
    """Train both networks together; the learning rate falls to nearly 0 as the minutes run out.

    Args:
        widths: sizes of the networks.
        device: PyTorch's name of the device.
        minutes: training time, without compilation.
        seed: of weights and scenes.
        batch: scenes per step.
        spread: log-normal spread of late channels' first gains.
    """
    torch.manual_seed(seed)
    encoder, decoder = Encoder(widths), Decoder(widths.embedding)
    spread_channels(encoder, spread)
    encoder, decoder = encoder.to(device), decoder.to(device)
    cuda = device.startswith("cuda")
    if cuda:
        encoder = encoder.to(memory_format=torch.channels_last)
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    painter = torch.compile(paint) if cuda else paint
    dice = Dice(seed, device)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    # No weight decay, and nothing bounds activations: the demo shows what plain INT8 does to a network that
    # was not trained for it.
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_RATE, weight_decay=0.0, fused=cuda)
    step, start, running = 0, 0.0, torch.zeros(2, device=device)
    while (progress := (time.monotonic() - start) / (60 * minutes) if step > 10 else 0.0) < 1:
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * _rate(step, progress)
        with torch.no_grad():
            image, label = draw_scenes(batch, dice, painter)
            prompts = draw_prompts(label, dice, outside=0.3)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=cuda):
            logits = mask_logits(encoder, decoder, normalise(image), prompts.coords, prompts.labels)
        loss, iou = loss_of(logits, prompts.masks, prompts.valid)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        running += torch.stack([loss.detach(), iou])
        step += 1
        if step == 10:  # compilation and tuning stay outside the minutes
            start = time.monotonic()
        if step % 200 == 0:
            shown = (running / 200).tolist()
            running.zero_()
            print(f"step {step} progress {progress:.3f} loss {shown[0]:.4f} iou {shown[1]:.4f}", flush=True)
    print(f"{step} steps", flush=True)
    return encoder.eval(), decoder.eval()
