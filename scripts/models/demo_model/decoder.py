"""The prompt encoder and the two-way mask decoder, in SAM's style: one mask for each prompt."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from demo_model.encoder import EMBEDDING_SIZE, IMAGE_SIZE, LayerNorm2d

MASK_SIZE = 4 * EMBEDDING_SIZE
LABELS = 5  # -1 padding, 0 background point, 1 foreground point, 2 and 3 the corners of a box


class FourierPosition(nn.Module):
    """Random Fourier features of a position in [0, 1] x [0, 1]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(2, width // 2) * 2.0 * math.pi)
        steps = (torch.arange(EMBEDDING_SIZE) + 0.5) / EMBEDDING_SIZE
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        self.register_buffer("grid", torch.stack([x, y], dim=-1).reshape(1, EMBEDDING_SIZE**2, 2))

    def forward(self, position: Tensor) -> Tensor:
        """Encode [..., 2] as [..., width]."""
        angle = torch.matmul(2.0 * position - 1.0, self.frequencies)
        return torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1)


class Attention(nn.Module):
    """Softmax attention; the keys' batch may be 1 and then serves every query."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, inner // heads
        self.q, self.k, self.v = (nn.Linear(width, inner) for _ in range(3))
        self.out = nn.Linear(inner, width)

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(-1, int(x.shape[1]), self.heads, self.head_width).transpose(1, 2)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend from [P, N, C] to [P or 1, M, C]."""
        q, k, v = self._split(self.q(query)), self._split(self.k(key)), self._split(self.v(value))
        score = torch.matmul(q * self.head_width**-0.5, k.transpose(2, 3))
        mixed = torch.matmul(torch.softmax(score, dim=-1), v).transpose(1, 2)
        return self.out(mixed.reshape(-1, int(query.shape[1]), self.heads * self.head_width))


class Mlp(nn.Module):
    """Two linear layers."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.act = nn.GELU(approximate="tanh")
        self.out = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Apply both."""
        return self.out(self.act(self.hidden(x)))


class TwoWayLayer(nn.Module):
    """Tokens look at each other and at the image, then the image looks at the tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own = Attention(width, width, 4)
        self.to_image = Attention(width, width // 2, 4)
        self.mlp = Mlp(width, 4 * width, width)
        self.to_tokens = Attention(width, width // 2, 4)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width) for _ in range(4))

    def forward(
        self, tokens: Tensor, image: Tensor, prompt: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the updated tokens [P, T, C] and image [P, N, C].

        Args:
            tokens: [P, T, C] of P prompts.
            image: [1 or P, N, C], the embedding as a sequence.
            prompt: [P, T, C], the tokens before the first layer, added anew as their positions.
            position: of the image's N places, broadcast to its shape.
        """
        placed = tokens + prompt
        tokens = self.norm1(tokens + self.own(placed, placed, tokens))
        tokens = self.norm2(tokens + self.to_image(tokens + prompt, image + position, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.to_tokens(image + position, tokens + prompt, tokens))
        return tokens, image


class Decoder(nn.Module):
    """Embedding [1 or P, C, 32, 32] and P prompts to mask logits [P, 1, 128, 128]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.position = FourierPosition(width)
        self.label = nn.Embedding(LABELS, width)
        self.mask_token = nn.Parameter(torch.randn(1, 1, width))
        self.layers = nn.ModuleList(TwoWayLayer(width) for _ in range(2))
        self.final = Attention(width, width // 2, 4)
        self.final_norm = nn.LayerNorm(width)
        self.up1 = nn.ConvTranspose2d(width, width // 2, 2, 2)
        self.up_norm = LayerNorm2d(width // 2)
        self.up_act = nn.GELU(approximate="tanh")
        self.up2 = nn.ConvTranspose2d(width // 2, width // 4, 2, 2)
        self.hyper = Mlp(width, width, width // 4)

    def forward(self, image_embeddings: Tensor, point_coords: Tensor, point_labels: Tensor) -> Tensor:
        """Decode one mask for each prompt."""
        real = (point_labels >= 0).unsqueeze(-1).to(point_coords.dtype)
        points = self.label(point_labels + 1) + real * self.position((point_coords + 0.5) / IMAGE_SIZE)
        mask_token = self.mask_token + 0.0 * points[:, :1]  # one for each prompt, without computing shapes
        prompt = torch.cat([mask_token, points], dim=1)
        position = self.position(self.position.grid)
        width = int(image_embeddings.shape[1])
        image = image_embeddings.reshape(-1, width, EMBEDDING_SIZE**2).transpose(1, 2)
        tokens = prompt
        for layer in self.layers:
            tokens, image = layer(tokens, image, prompt, position)
        tokens = self.final_norm(tokens + self.final(tokens + prompt, image + position, image))
        grid = image.transpose(1, 2).reshape(-1, width, EMBEDDING_SIZE, EMBEDDING_SIZE)
        fine = self.up_act(self.up2(self.up_act(self.up_norm(self.up1(grid)))))
        kernel = self.hyper(tokens[:, :1])
        mask = torch.matmul(kernel, fine.reshape(-1, width // 4, MASK_SIZE**2))
        return mask.reshape(-1, 1, MASK_SIZE, MASK_SIZE)
