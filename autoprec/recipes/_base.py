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
"""Mean and standard deviation of ImageNet's pixels, which most encoders were trained with."""
PLAIN = ((0.0,) * 3, (1.0,) * 3)
"""Pixels from 0 to 1, as they are."""


class Facts(NamedTuple):
    """What the files of the model and its decoder reveal.

    Attributes:
        model: the searched model's file.
        inputs: shapes of its inputs, by name; `kinds` are their NumPy dtypes.
        frame: its image input; None if it has none.
        outputs: of the model.
        decoder: the decoder's file, or None; `decoder_inputs` and `decoder_outputs` are the decoder's.
        shapes: of inputs with free sizes in the file; `guessed` says which of them were not given by the
            user.
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
        """The decoder's inputs that are no output of the model."""
        given = {output.name for output in self.outputs}
        return [name for name in self.decoder_inputs if name not in given]


class Plan(NamedTuple):
    """What a first definition says, and why.

    Attributes:
        output, layout: where the masks are.
        metric, threshold: how they are scored.
        mean, std: of the image's channels, for pixels in 0..1.
        resize: how images are fitted to the input, as in `[samples]`.
        blocks: keys of `[blocks]`.
        made: a decoder made by the recipe, as ONNX bytes, to be written beside the definition.
        reasons: one line each.
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
