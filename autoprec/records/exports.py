"""How an export is measured again, wherever it goes."""

from __future__ import annotations

from typing import Literal

from autoprec.records._base import Interval, Record


class Recipe(Record, frozen=True, kw_only=True):
    """What a definition says of measuring, without its paths.

    Attributes:
        backend, options: the engine.
        output: the value that holds mask logits.
        layout: where that value has its masks, "nchw" or "nhwc".
        metric, threshold, small_mask: how masks are compared.
        interval, seconds, minimum_rounds, warmup: how latencies are paired, as in `[timing]`.
        trial_seconds: limit of one measurement.
    """

    backend: str
    options: dict[str, str | int | float | bool]
    output: str
    metric: str
    threshold: float
    interval: float
    seconds: float
    minimum_rounds: int
    warmup: int
    trial_seconds: float
    small_mask: float = 0.0
    layout: Literal["nchw", "nhwc"] = "nchw"


class Examples(Record, frozen=True, kw_only=True):
    """Samples that travel with an export, and the mask loss on them where it was made.

    `folder` holds `00.npz` and so on, one array for each input and prompt; `outputs/00.npz` beside them holds
    the float32 logits `reference`, `candidate` and `original`, of the model as it was given, [masks, h, w].
    `original_loss` is the candidate's against the last ones; None where nothing independent runs that model.
    """

    folder: str
    count: int
    loss: float
    loss_interval: Interval
    original_loss: float | None = None
    original_loss_interval: Interval | None = None
