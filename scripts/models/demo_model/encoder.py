"""The image encoder: an EfficientViT-SAM in small, of the shape of the L series.

Dense convolutions early (residual and fused MBConv blocks), depthwise MBConv and ReLU linear attention
late, a neck that adds three stages at the finest one's size, and a LayerNorm over channels at the end.
As in the L series the late MBConvs normalise only their last convolution ("fewer norms"), which is where
the wide, heavy-tailed activations come from that plain INT8 cannot hold.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

IMAGE_SIZE = 256
EMBEDDING_SIZE = 32


@dataclasses.dataclass(frozen=True, slots=True)
class Widths:
    """Channels and block counts, chosen by measured speed before any training (see `measure.py`)."""

    stages: tuple[int, int, int, int, int] = (32, 64, 112, 160, 192)
    depths: tuple[int, int, int, int, int] = (1, 1, 2, 2, 1)
    early_expansion: int = 4
    late_expansion: int = 5
    head_width: int = 32
    neck_depth: int = 2
    embedding: int = 96


class ConvNorm(nn.Module):
    """A convolution with what may follow it: BatchNorm, which export folds away, and hard-swish.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: its size; padding keeps the image's size.
        stride: of the convolution.
        groups: of the convolution.
        norm: append BatchNorm, in place of a bias.
        activation: append hard-swish.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        norm: bool = True,
        activation: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=not norm)
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        self.act = nn.Hardswish() if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, normalise, activate."""
        return self.act(self.norm(self.conv(x)))

    def fold(self) -> None:
        """Put BatchNorm into the convolution's weights; only for a model that will not train again."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class ResBlock(nn.Module):
    """Two 3x3 convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, width, 3)
        self.conv2 = ConvNorm(width, width, 3, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the branch alone; `Residual` adds the skip."""
        return self.conv2(self.conv1(x))


class FusedMBConv(nn.Module):
    """A dense 3x3 expansion and a 1x1 projection: most of the arithmetic, and what INT8 speeds up best.

    Args:
        inputs: channels in.
        outputs: channels out.
        expansion: channels between the two, as a multiple of `inputs`.
        stride: of the 3x3 convolution.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, *, stride: int = 1) -> None:
        super().__init__()
        self.spatial = ConvNorm(inputs, inputs * expansion, 3, stride=stride)
        self.point = ConvNorm(inputs * expansion, outputs, 1, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """Expand with 3x3, project with 1x1."""
        return self.point(self.spatial(x))


class MBConv(nn.Module):
    """1x1 expansion, 3x3 depthwise, 1x1 projection; only the projection is normalised.

    Args:
        inputs: channels in.
        outputs: channels out.
        expansion: channels in the middle, as a multiple of `inputs`.
        stride: of the depthwise convolution.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, *, stride: int = 1) -> None:
        super().__init__()
        middle = inputs * expansion
        self.inverted = ConvNorm(inputs, middle, 1, norm=False)
        self.depth = ConvNorm(middle, middle, 3, stride=stride, groups=middle, norm=False)
        self.point = ConvNorm(middle, outputs, 1, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """Expand, filter each channel, project."""
        return self.point(self.depth(self.inverted(x)))


class LinearAttention(nn.Module):
    """Multi-scale ReLU linear attention: relu(Q) (relu(K)^T V) over its row sums, no softmax."""

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.head_width, self.heads = head_width, width // head_width
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.gather = nn.Conv2d(3 * width, 3 * width, 5, padding=2, groups=3 * width, bias=False)
        self.mix = nn.Conv2d(3 * width, 3 * width, 1, groups=3 * width // head_width, bias=False)
        self.project = ConvNorm(2 * width, width, 1, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attend among all positions, in float32 also under autocast: the sums over positions need it."""
        qkv = self.qkv(x)
        qkv = torch.cat([qkv, self.mix(self.gather(qkv))], dim=1)
        height, width = int(x.shape[2]), int(x.shape[3])
        if torch.is_autocast_enabled(x.device.type):  # not always: it would leave a Cast in the ONNX
            qkv = qkv.float()
        with torch.autocast(x.device.type, enabled=False):
            heads = qkv.reshape(-1, 2 * self.heads, 3 * self.head_width, height * width)
            query, key, value = heads.split(self.head_width, dim=2)
            key = torch.relu(key).transpose(2, 3) / (
                height * width
            )  # means, because FP16 cannot hold the sums
            query = torch.relu(query)
            total = torch.matmul(torch.matmul(value, key), query)
            weight = torch.matmul(key.sum(dim=2, keepdim=True), query)
            mixed = total / (weight + 1e-4)  # 1e-4, because FP16 would round a smaller one to zero
        return self.project(mixed.reshape(-1, 2 * x.shape[1], height, width))


class Residual(nn.Module):
    """A branch with its Add."""

    def __init__(self, main: nn.Module) -> None:
        super().__init__()
        self.main = main

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to its input."""
        return x + self.main(x)


class Stage(nn.Module):
    """Blocks in a row, named `blocks.N` in the ONNX node names."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Apply each block."""
        for block in self.blocks:
            x = block(x)
        return x


class AttentionBlock(nn.Module):
    """Linear attention for context, then MBConv for what is local."""

    def __init__(self, width: int, expansion: int, head_width: int) -> None:
        super().__init__()
        self.context = Residual(LinearAttention(width, head_width))
        self.local = Residual(MBConv(width, width, expansion))

    def forward(self, x: Tensor) -> Tensor:
        """Attend, then filter."""
        return self.local(self.context(x))


class LayerNorm2d(nn.Module):
    """LayerNorm over the channels of NCHW: two Transposes around one LayerNormalization in ONNX."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each position's channel vector."""
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Neck(nn.Module):
    """1x1 convolutions bring three stages to one width; they are added at the finest one's size.

    Args:
        inputs: channels of the stages, finest first.
        width: channels of the sum.
        depth: number of blocks after the sum.
        outputs: channels of the embedding.
    """

    def __init__(self, inputs: Sequence[int], width: int, depth: int, outputs: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(ConvNorm(channels, width, 1, activation=False) for channels in inputs)
        self.up = nn.ModuleList(
            nn.Upsample(scale_factor=float(2**i), mode="bilinear") if i else nn.Identity()
            for i in range(len(inputs))
        )
        self.middle = Stage(*[Residual(FusedMBConv(width, width, 1)) for _ in range(depth)])
        self.out = ConvNorm(width, outputs, 1, norm=False, activation=False)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Take features finest first; return the embedding before its LayerNorm."""
        sized = [up(lateral(x)) for x, lateral, up in zip(features, self.lateral, self.up, strict=True)]
        total = sized[0]
        for x in sized[1:]:
            total = total + x
        return self.out(self.middle(total))


class Encoder(nn.Module):
    """Image 1x3x256x256 to embedding 1xCx32x32."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        stem, *stages = widths.stages
        self.stem = Stage(
            ConvNorm(3, stem, 3, stride=2), *[Residual(ResBlock(stem)) for _ in range(widths.depths[0])]
        )
        self.stages = nn.ModuleList()
        for number, (inputs, outputs) in enumerate(itertools.pairwise((stem, *stages))):
            self.stages.append(self._stage(number, inputs, outputs, widths))
        self.neck = Neck(stages[1:], widths.embedding, widths.neck_depth, widths.embedding)
        self.norm = LayerNorm2d(widths.embedding)

    @staticmethod
    def _stage(number: int, inputs: int, outputs: int, widths: Widths) -> Stage:
        depth = widths.depths[number + 1]
        early, late = widths.early_expansion, widths.late_expansion
        if number == 0:
            return Stage(
                FusedMBConv(inputs, outputs, early, stride=2),
                *[Residual(FusedMBConv(outputs, outputs, early)) for _ in range(depth)],
            )
        if number == 1:
            return Stage(
                FusedMBConv(inputs, outputs, early, stride=2),
                *[Residual(MBConv(outputs, outputs, early)) for _ in range(depth)],
            )
        return Stage(
            MBConv(inputs, outputs, late, stride=2),
            *[
                AttentionBlock(outputs, early if number == 2 else late, widths.head_width)
                for _ in range(depth)
            ],
        )

    def forward(self, image: Tensor) -> Tensor:
        """Embed a normalised image."""
        x = self.stem(image)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return self.norm(self.neck(features[1:]))

    def fold(self) -> None:
        """Fold every BatchNorm, for export."""
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fold()
