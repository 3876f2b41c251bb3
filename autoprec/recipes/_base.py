"""What recipes are made from, and what they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from autoprec.quality import Layout
from autoprec.records import ModelOutput
from autoprec.samples import Frame
from autoprec.spec import SamplesSection

IMAGENET = (
    SamplesSection(calibration="", evaluation="").mean,
    SamplesSection(calibration="", evaluation="").std,
)
"""Mean and deviation of ImageNet's pixels, which most encoders were trained with."""
PLAIN = ((0.0,) * 3, (1.0,) * 3)
"""Pixels from 0 to 1, as they are."""


class Facts(NamedTuple):
    """What the model and the decoder behind it say of themselves.

    Attributes:
        model: the searched model's file.
        inputs: its inputs' sizes, by name; `kinds` are their NumPy types.
        frame: its image input; None if it has none.
        outputs: of the model.
        decoder: the file behind it, or None; `decoder_inputs` and `decoder_outputs` are its own.
        shapes: of inputs that have free sizes in the file; `guessed` says which of them nobody gave.
    """

    model: Path
    inputs: Mapping[str, tuple[int, ...]]
    kinds: Mapping[str, str]
    frame: Frame | None
    outputs: tuple[ModelOutput, ...]
    decoder: Path | None = None
    decoder_inputs: tuple[str, ...] = ()
    decoder_outputs: tuple[ModelOutput, ...] = ()
    shapes: Mapping[str, tuple[int, ...]] = {}
    guessed: tuple[str, ...] = ()

    @property
    def last(self) -> tuple[ModelOutput, ...]:
        """The outputs that masks are among."""
        return self.decoder_outputs if self.decoder else self.outputs

    def prompts(self) -> list[str]:
        """The decoder's inputs that the model does not give."""
        given = {output.name for output in self.outputs}
        return [name for name in self.decoder_inputs if name not in given]


class Plan(NamedTuple):
    """What a first definition says, and why.

    Attributes:
        output, layout: where masks are.
        metric, threshold: how they are scored.
        mean, std: of the image's channels.
        resize: how images come into the frame.
        blocks: keys of `[blocks]`.
        made: a decoder that the recipe makes, ONNX bytes; written beside the definition.
        reasons: a line each.
    """

    output: ModelOutput
    layout: Layout = "nchw"
    metric: str = "mask_iou"
    threshold: float = 0.0
    mean: Sequence[float] = IMAGENET[0]
    std: Sequence[float] = IMAGENET[1]
    resize: str = "stretch"
    blocks: Mapping[str, Any] = {}
    made: bytes = b""
    reasons: tuple[str, ...] = ()
