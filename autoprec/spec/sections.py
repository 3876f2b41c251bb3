"""The definition's schema: one frozen record for each table of the TOML, with its defaults."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Strategy = Literal["autoprec", "tpe", "nsga2", "random"]
SAFE_REFERENCE = "fp16-safe"
"""The reference whose blocks are FP16 but for those that overflow it, which stay FP32."""
SMALL_MASK = 0.001
"""The share of a plane's pixels below which a mask counts less, where a definition does not say."""
RangeMethod = Literal["min-max", "percentile", "entropy", "mse"]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the definition's tables: an unknown key is an error."""


class ModelSection(Section, frozen=True, kw_only=True):
    """`[model]`: what is searched. `shapes` fixes dynamic inputs: `image = [1, 3, 512, 512]`. A `departure`
    of what is measured from what the file computes stops the study, or is told and searched on."""

    path: str
    shapes: dict[str, tuple[Count, ...]] = {}
    departure: Literal["stop", "tell"] = "stop"


class PipelineSection(Section, frozen=True, kw_only=True):
    """`[pipeline]`: how masks come out. `decoder` is a fixed model behind the searched one.

    The decoder's inputs that carry the name of a model's output take it; the rest are prompts. `output`
    names the value that holds mask logits: [..., height, width], or [..., height, width, masks] for the
    layout "nhwc".
    """

    decoder: str | None = None
    output: str = "masks"
    layout: Literal["nchw", "nhwc"] = "nchw"


class SamplesSection(Section, frozen=True, kw_only=True):
    """`[samples]`: folders of images (with `prompts.json`, `masks/`) or `.npz` files, and how to feed them;
    or `module:function`, which returns an iterable of arrays by name.

    `input` is the model's image input ("" takes the only one); `size` is (height, width); `resize` says how
    images of another form are brought to it. Pixels are scaled to 0..1 (`white` is what becomes 1; by default
    the largest value that the file's bits hold), then `mean` is taken away and the rest divided by `std`.
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
    """`[blocks]`: how nodes are grouped, and blocks whose precision is fixed (`pin`, by glob pattern)."""

    minimum: Count = 8
    maximum: Count = 40
    depth: Count | None = None
    pin: dict[str, str] = {}


class CalibrationSection(Section, frozen=True, kw_only=True):
    """`[calibration]`: how ranges are chosen from the stored histograms."""

    method: RangeMethod = "percentile"
    percentile: Annotated[float, msgspec.Meta(gt=50, le=100)] = 99.99


class QualitySection(Section, frozen=True, kw_only=True):
    """`[quality]`: the metric's name and the value above which a pixel is mask.

    A mask of fewer pixels than the share `small_mask` of the plane counts in proportion to them; 0 lets every
    mask count in full. None takes `SMALL_MASK`, and 0 for a study that was begun before there was such a
    rule. A reference that loses more than `reference_limit` against FP32 stops the study.
    """

    metric: str = "mask_iou"
    threshold: float = 0.0
    small_mask: Annotated[float, msgspec.Meta(ge=0, lt=1)] | None = None
    reference_limit: Positive = 0.05

    @property
    def small_share(self) -> float:
        """`small_mask`, whether it is given or not."""
        return SMALL_MASK if self.small_mask is None else self.small_mask


class SearchSection(Section, frozen=True, kw_only=True):
    """`[search]`: precisions that take part, reference, strategy, seed, default budget, finalists.

    An empty `reference` is "fp16", or "fp32" on an engine that runs FP16 as FP32: there FP16 has the
    roundings and not the speed.

    `finalists` is how many points of the front are measured again before a run ends; speed within
    `accepted_loss` is what the search looks hardest for. A candidate whose peak memory (weights,
    activations, workspace) is over `max_memory_mb` (10**6 bytes) is kept, but is on no front.
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
    """`[backend]`: the engine, its options, and the limits of one trial's worker."""

    name: str = "openvino"
    base: str = ""
    options: dict[str, str | int | float | bool] = {}
    trial_seconds: Positive = 600.0
    memory_mb: Count | None = None


class TargetSection(Section, frozen=True, kw_only=True):
    """`[target]`: where engines are built, run and timed, if not here.

    Attributes:
        address: `ssh://user@host:port`, or `local:` for an agent on this machine; "" is this process.
        python: Python 3.8 or later there, with numpy and the engine's bindings.
        folder: where the agent keeps models and samples, in at most 8 GiB.
        ssh_config: a configuration file for ssh, instead of the user's own.
    """

    address: str = ""
    python: str = ""
    folder: str = ""
    ssh_config: str = ""

    @property
    def options(self) -> dict[str, str]:
        """As options of a backend."""
        named = {
            "target_python": self.python,
            "target_folder": self.folder,
            "target_ssh_config": self.ssh_config,
        }
        return {"target": self.address, **{key: text for key, text in named.items() if text}}


class TimingSection(Section, frozen=True, kw_only=True):
    """`[timing]`: rounds go on until the ratio's interval is `interval` wide or `seconds` are over.

    More `builds` of both engines take turns where luck of a build counts, on a CPU: a narrower interval, for
    that many times the memory and the time to build.
    """

    interval: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.01
    seconds: Positive = 6.0
    minimum_rounds: Annotated[int, msgspec.Meta(ge=5)] = 40
    warmup: Annotated[int, msgspec.Meta(ge=0)] = 5
    builds: Annotated[int, msgspec.Meta(ge=1)] = 1


class StudySpec(Section, frozen=True, kw_only=True):
    """A whole definition. `name` defaults to the file's stem; `default` marks the study that is meant
    when none is named; `folder` is what the study writes into; `storage` is SQLAlchemy's address of its
    database, for a study on several machines ("" is a SQLite file in the folder)."""

    model: ModelSection
    samples: SamplesSection
    pipeline: PipelineSection = PipelineSection()
    blocks: BlocksSection = BlocksSection()
    calibration: CalibrationSection = CalibrationSection()
    quality: QualitySection = QualitySection()
    search: SearchSection = SearchSection()
    backend: BackendSection = BackendSection()
    target: TargetSection = TargetSection()
    timing: TimingSection = TimingSection()
    name: str = ""
    default: bool = False
    folder: str = ""
    storage: str = ""

    @property
    def database(self) -> Path | str:
        """Where the evidence is: a SQLite file, or an address."""
        if self.storage.startswith("sqlite:///"):
            return Path(self.storage.removeprefix("sqlite:///"))
        return self.storage or Path(self.folder) / "study.db"

    @property
    def digest(self) -> str:
        """16 hexadecimal digits over what decides a measurement.

        Strategy, seed, budget and limits may change from night to night; the rest may not.
        """
        # Where samples are does not matter: their content has a digest of its own, and folders are moved.
        samples = msgspec.structs.replace(self.samples, calibration="", evaluation="")
        # What came after 0.1 is left out at the value that stands for what was before.
        told = msgspec.to_builtins(samples)
        if samples.resize == "stretch":
            del told["resize"]
        if samples.white is None:
            del told["white"]
        quality = msgspec.to_builtins(
            msgspec.structs.replace(self.quality, small_mask=self.quality.small_share)
        )
        if not quality["small_mask"]:
            del quality["small_mask"]
        pipeline = self.pipeline
        output = pipeline.output if pipeline.layout == "nchw" else (pipeline.output, pipeline.layout)
        measured: tuple[object, ...] = (
            output, told, self.blocks, self.calibration, quality,
            self.backend.name, self.backend.base, _measured(self.backend.options),
            self.search.reference or "fp16", self.model.shapes,  # what an empty one meant until 0.1
        )  # fmt: skip
        if self.search.max_memory_mb is not None:  # studies from before it was there keep their digest
            measured = (*measured, self.search.max_memory_mb)
        return hashlib.sha256(msgspec.json.encode(measured, order="sorted")).hexdigest()[:16]


def _measured(options: dict[str, str | int | float | bool]) -> list[tuple[str, str | int | float | bool]]:
    """Options that change what is measured. Where a target is does not; its fingerprint tells what it is."""
    return sorted((key, value) for key, value in options.items() if not key.startswith("target"))
