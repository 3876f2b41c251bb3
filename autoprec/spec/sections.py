"""The definition's schema: one frozen record for each table of the TOML, with its defaults.

`study_spec.py` puts them together. The reference of the TOML keys is generated from these docstrings.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Strategy = Literal["autoprec", "tpe", "nsga2", "random"]
SAFE_REFERENCE = "fp16-safe"
"""The reference in FP16, except for blocks that overflow it, which stay in FP32."""
SMALL_MASK = 0.001
"""Default share of a plane's pixels below which a mask counts less."""
RangeMethod = Literal["min-max", "percentile", "entropy", "mse"]


# A misspelt key would otherwise leave its default in force, and nobody would notice.
class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the definition's tables: an unknown key is an error."""


class ModelSection(Section, frozen=True, kw_only=True):
    """`[model]`: the model to search.

    Attributes:
        path: the ONNX file.
        shapes: sizes of dynamic inputs, as `{ image = [1, 3, 512, 512] }`.
        departure: what to do where an engine computes something other than the file: "stop" the study, or
            "tell" the user and search all the same.
    """

    path: str
    # Not shared: msgspec gives each record an empty dict of its own.
    shapes: dict[str, tuple[Count, ...]] = {}
    departure: Literal["stop", "tell"] = "stop"


class PipelineSection(Section, frozen=True, kw_only=True):
    """`[pipeline]`: where the masks come from.

    Attributes:
        decoder: a fixed ONNX model behind the searched one. Its inputs that have the name of an output of the
            model take that output; the others are prompts.
        output: the output that holds the mask logits.
        layout: "nchw" for logits [..., height, width], "nhwc" for [..., height, width, masks].
    """

    decoder: str | None = None
    output: str = "masks"
    layout: Literal["nchw", "nhwc"] = "nchw"


class SamplesSection(Section, frozen=True, kw_only=True):
    """`[samples]`: the calibration and evaluation sets, and how images are preprocessed.

    A set is a folder of images (with `prompts.json` and `masks/`), a folder of `.npz` files, or
    `module:function`, which returns an iterable of dictionaries from input names to arrays. An image is
    resized, scaled to 0..1, and normalised as `(pixel - mean) / std`.

    Attributes:
        calibration: the set that activation ranges are taken from.
        evaluation: the set that masks are scored on; it must differ from the calibration set.
        input: the model's image input; "" takes the only one.
        size: height and width that images are resized to; by default those of the input.
        mean: per channel, of pixels in 0..1, as in the model's training.
        std: per channel, of pixels in 0..1, as in the model's training.
        resize: "stretch" to `size`; "pad" keeps the aspect ratio and pads at the bottom and the right, as SAM
            does; "letterbox" keeps it and centres the image, as YOLO does.
        white: the pixel value that becomes 1; by default the largest that the file's bit depth holds.
        calibration_limit: use at most this many calibration samples.
        evaluation_limit: use at most this many evaluation samples.
    """

    calibration: str
    evaluation: str
    input: str = ""
    size: tuple[Count, Count] | None = None
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[Positive, ...] = (0.229, 0.224, 0.225)
    resize: Literal["stretch", "pad", "letterbox"] = "stretch"
    white: Positive | None = None
    calibration_limit: Count | None = None
    evaluation_limit: Count | None = None


class BlocksSection(Section, frozen=True, kw_only=True):
    """`[blocks]`: how nodes are grouped into blocks.

    Attributes:
        minimum: the smallest number of blocks to aim for.
        maximum: the largest number of blocks.
        depth: the depth of module scopes to group by; by default the one that fits the limits.
        pin: fixed precisions by glob pattern of block names, as `{ "neck.*" = "fp16" }`.
    """

    minimum: Count = 8
    maximum: Count = 40
    depth: Count | None = None
    pin: dict[str, str] = {}


class CalibrationSection(Section, frozen=True, kw_only=True):
    """`[calibration]`: how activation ranges are chosen from the stored histograms.

    Attributes:
        method: "min-max", "percentile", "entropy" or "mse".
        percentile: the share of values, in per cent, that the method "percentile" keeps.
    """

    method: RangeMethod = "percentile"
    percentile: Annotated[float, msgspec.Meta(gt=50, le=100)] = 99.99


class QualitySection(Section, frozen=True, kw_only=True):
    """`[quality]`: how masks are scored against the reference's.

    Attributes:
        metric: "mask_iou"; "argmax_iou" for a channel per class; "label_iou" for a map of classes;
            "alpha_mae" for mattes; or a function of your own, "module:function".
        threshold: the value above which a pixel belongs to the mask, for "mask_iou"; 0.5 for probabilities.
        small_mask: a mask of fewer pixels than this share of the plane counts in proportion to its size; 0
            counts every mask in full. The default is 0.001, and 0 in studies begun before the key existed.
        reference_limit: a reference that loses more than this against FP32 stops the study.
    """

    metric: str = "mask_iou"
    threshold: float = 0.0
    # None, not the default: a study from before the key must be told from one that sets it.
    small_mask: Annotated[float, msgspec.Meta(ge=0, lt=1)] | None = None
    reference_limit: Positive = 0.05

    @property
    def small_share(self) -> float:
        """`small_mask`, or its default."""
        return SMALL_MASK if self.small_mask is None else self.small_mask


class SearchSection(Section, frozen=True, kw_only=True):
    """`[search]`: what takes part in the search, and how it looks.

    Attributes:
        precisions: the precisions and variants that blocks may have.
        reference: the precision of the reference engine; "fp16-safe" keeps blocks that overflow FP16 in FP32.
            "" is "fp16", or "fp32" on an engine that runs FP16 as FP32.
        strategy: "autoprec", "tpe", "nsga2" or "random".
        seed: of the strategy's random numbers.
        budget: of a run, where the command line gives none: trials ("50") or time ("90s", "30m", "8h").
        finalists: how many of the best are measured again at the end of a run; fewer in a short one.
        accepted_loss: the search looks hardest for speed within this mask loss.
        max_memory_mb: a candidate whose peak memory (weights, activations, workspace; MB of 10**6 bytes)
            exceeds this is kept, but is not on the front.
    """

    precisions: tuple[str, ...] = ("fp32", "fp16", "bf16", "int8")
    reference: str = ""
    strategy: Strategy = "autoprec"
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    budget: str = "50"
    finalists: Annotated[int, msgspec.Meta(ge=0)] = 3
    accepted_loss: Positive = 0.01
    max_memory_mb: Count | None = None


class BackendSection(Section, frozen=True, kw_only=True):
    """`[backend]`: the engine, its options, and the limits of a trial's worker process.

    Attributes:
        name: "openvino", "tensorrt" or "simulated".
        base: the float precision of the float parts of quantised blocks; "" lets the engine choose.
        options: of the backend, as `{ threads = 1 }`.
        trial_seconds: the time limit of each step of a trial.
        memory_mb: the memory limit of a worker process, MB of 2**20 bytes; by default none.
    """

    name: str = "openvino"
    base: str = ""
    options: dict[str, str | int | float | bool] = {}
    trial_seconds: Positive = 600.0
    memory_mb: Count | None = None


class TargetSection(Section, frozen=True, kw_only=True):
    """`[target]`: the machine that builds, runs and times engines, if it is not this one.

    Attributes:
        address: `ssh://user@host:port`, or `local:` for an agent on this machine; several of one kind, with
            commas, are searched on at a time; "" is this process.
        python: the path of Python 3.8 or later on the target, with numpy and the engine's bindings.
        folder: where the agent keeps models and samples, at most 8 GiB of them.
        ssh_config: a configuration file for ssh, in place of the user's own.
        trtexec: the path of trtexec on the target, as /usr/src/tensorrt/bin/trtexec; it serves in place of
            the agent, and Python is not needed.
        logits: whether an agent sends the values of masks, 32 times as much as the masks alone: only with
            them is it known how far a candidate's logits are from the reference's.
    """

    address: str = ""
    python: str = ""
    folder: str = ""
    ssh_config: str = ""
    trtexec: str = ""
    logits: bool = False

    @property
    def options(self) -> dict[str, str | bool]:
        """The section as options of a backend."""
        named = {
            "target_python": self.python,
            "target_folder": self.folder,
            "target_ssh_config": self.ssh_config,
            "target_trtexec": self.trtexec,
        }
        told = {key: text for key, text in named.items() if text}
        return {"target": self.address, **told, **({"target_logits": True} if self.logits else {})}


class TimingSection(Section, frozen=True, kw_only=True):
    """`[timing]`: how long the candidate and the reference are timed in turn.

    Attributes:
        interval: stop when the 95 % interval of their ratio is this narrow, as a share of the ratio,
        seconds: or after this time,
        minimum_rounds: but never before this many rounds.
        warmup: inferences before the first round.
        builds: builds of each engine that take turns: a narrower interval on a CPU, where builds of one model
            differ, for that many times the memory and build time.
    """

    interval: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.01
    seconds: Positive = 6.0
    minimum_rounds: Annotated[int, msgspec.Meta(ge=5)] = 40
    warmup: Annotated[int, msgspec.Meta(ge=0)] = 5
    builds: Annotated[int, msgspec.Meta(ge=1)] = 1
