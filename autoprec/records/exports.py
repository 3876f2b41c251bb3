"""How an export is measured again, wherever it goes."""

from __future__ import annotations

from typing import Literal

from autoprec.records._base import Interval, Record


class Preprocessing(Record, frozen=True, kw_only=True):
    """How an image becomes an input, as in `[samples]`; channels are in the order of the file, so RGB.

    `size` is (height, width), None for the model's own; `white` is the pixel value that becomes 1, None for
    the largest that the file's bits hold.
    """

    input: str
    size: tuple[int, int] | None
    resize: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    white: float | None = None


class Recipe(Record, frozen=True, kw_only=True):
    """What a definition says of measuring, without its paths.

    Attributes:
        backend, options: the engine.
        output: the value that holds mask logits.
        layout: where that value has its masks, "nchw" or "nhwc".
        metric, threshold, small_mask: how masks are compared.
        interval, seconds, minimum_rounds, warmup: how latencies are paired, as in `[timing]`.
        trial_seconds: limit of one measurement.
        preprocessing: of images; says nothing of a study whose samples are arrays.
    """

    backend: str
    # Values as TOML has them: an export on another machine must build with the same ones, or compare nothing.
    options: dict[str, str | int | float | bool]
    output: str
    metric: str
    threshold: float
    interval: float
    seconds: float
    minimum_rounds: int
    warmup: int
    trial_seconds: float
    # Not the default of today: manifests without the key are of versions that counted every mask in full.
    small_mask: float = 0.0
    layout: Literal["nchw", "nhwc"] = "nchw"
    preprocessing: Preprocessing | None = None


class Examples(Record, frozen=True, kw_only=True):
    """Samples that travel with an export, and the mask loss on them where it was made.

    `folder` holds `00.npz` and so on, one array for each input and prompt; `outputs/00.npz` beside them holds
    the float32 logits `reference`, `candidate` and `original`, of the original model, [masks, h, w].
    `original_loss` is the candidate's against the last ones; None where nothing independent runs that model.
    """

    folder: str
    count: int
    loss: float
    loss_interval: Interval
    original_loss: float | None = None
    original_loss_interval: Interval | None = None
