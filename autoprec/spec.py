"""A study's definition: a TOML file parsed once, at the edge, into frozen records.

Owns the schema, its defaults and its messages. Paths in the file are relative to the file's folder and
come out absolute.
"""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from autoprec.entry import is_entry
from autoprec.errors import SpecError
from autoprec.precisions import PRECISIONS, listed

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Strategy = Literal["autoprec", "tpe", "nsga2", "random"]
SAFE_REFERENCE = "fp16-safe"
"""The reference whose blocks are FP16 but for those that overflow it, which stay FP32."""
RangeMethod = Literal["min-max", "percentile", "entropy", "mse"]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the definition's tables: an unknown key is an error."""


class ModelSection(Section, frozen=True, kw_only=True):
    """`[model]`: what is searched. `shapes` fixes dynamic inputs: `image = [1, 3, 512, 512]`."""

    path: str
    shapes: dict[str, tuple[Count, ...]] = {}


class PipelineSection(Section, frozen=True, kw_only=True):
    """`[pipeline]`: how masks come out. `decoder` is a fixed model behind the searched one.

    The decoder's inputs that carry the name of a model's output take it; the rest are prompts. `output`
    names the value that holds mask logits.
    """

    decoder: str | None = None
    output: str = "masks"


class SamplesSection(Section, frozen=True, kw_only=True):
    """`[samples]`: folders of images (with `prompts.json`, `masks/`) or `.npz` files, and how to feed them;
    or `module:function`, which returns an iterable of arrays by name.

    `input` is the model's image input ("" takes the only one); `size` is (height, width).
    Pixels are scaled to 0..1, then `mean` is taken away and the rest divided by `std`.
    """

    calibration: str
    evaluation: str
    input: str = ""
    size: tuple[Count, Count] | None = None
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[Positive, ...] = (0.229, 0.224, 0.225)
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
    """`[quality]`: the metric's name and the logit above which a pixel is mask.

    A reference that loses more than `reference_limit` against FP32 stops the study.
    """

    metric: str = "mask_iou"
    threshold: float = 0.0
    reference_limit: Positive = 0.05


class SearchSection(Section, frozen=True, kw_only=True):
    """`[search]`: precisions that take part, reference, strategy, seed, default budget, finalists.

    `finalists` is how many points of the front are measured again before a run ends; speed within
    `accepted_loss` is what the search looks hardest for. A candidate whose peak memory (weights,
    activations, workspace) is over `max_memory_mb` (10**6 bytes) is kept, but is on no front.
    """

    precisions: tuple[str, ...] = ("fp32", "fp16", "bf16", "int8")
    reference: str = "fp16"
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
    when none is named; `folder` is what the study writes into."""

    model: ModelSection
    samples: SamplesSection
    pipeline: PipelineSection = PipelineSection()
    blocks: BlocksSection = BlocksSection()
    calibration: CalibrationSection = CalibrationSection()
    quality: QualitySection = QualitySection()
    search: SearchSection = SearchSection()
    backend: BackendSection = BackendSection()
    timing: TimingSection = TimingSection()
    name: str = ""
    default: bool = False
    folder: str = ""

    @property
    def digest(self) -> str:
        """16 hexadecimal digits over what decides a measurement.

        Strategy, seed, budget and limits may change from night to night; the rest may not.
        """
        # Where samples are does not matter: their content has a digest of its own, and folders are moved.
        samples = msgspec.structs.replace(self.samples, calibration="", evaluation="")
        measured: tuple[object, ...] = (
            self.pipeline.output, samples, self.blocks, self.calibration, self.quality,
            self.backend.name, self.backend.base, sorted(self.backend.options.items()),
            self.search.reference, self.model.shapes,
        )  # fmt: skip
        if self.search.max_memory_mb is not None:  # studies from before it was there keep their digest
            measured = (*measured, self.search.max_memory_mb)
        return hashlib.sha256(msgspec.json.encode(measured, order="sorted")).hexdigest()[:16]


def load_spec(path: Path) -> StudySpec:
    """Parse a definition and make its paths absolute.

    Raises `SpecError` for a missing or malformed file, an unknown key, an impossible combination.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such study definition; `autoprec init MODEL.onnx` writes one") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SpecError(f"{path}: cannot be read as TOML: {error}") from error
    try:
        spec = msgspec.convert(table, StudySpec)
    except msgspec.ValidationError as error:
        raise SpecError(f"{path}: {_told(str(error))}") from error
    spec = _located(spec, path.absolute())
    _check(spec, path)
    try:
        parse_budget(spec.search.budget)
    except SpecError as error:
        raise SpecError(f"{path}: search.{error}") from error
    return spec


def _told(words: str) -> str:
    """msgspec's words, with the way out: `Invalid enum value 'x' - at `$.search.strategy``."""
    what, _, where = words.partition(" - at `$")
    keys = where.strip("`.").split(".") if where else []
    section: Any = StudySpec
    try:
        for key in keys:
            section = {field.encode_name: field.type for field in msgspec.structs.fields(section)}[key]
    except (KeyError, TypeError):
        section = None
    name = ".".join(keys)
    if "unknown field" in what and section is not None:
        unknown = what.split("`")[1]
        known = [field.encode_name for field in msgspec.structs.fields(section)]
        near = difflib.get_close_matches(unknown, known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known ones: {', '.join(known)}"
        return f"unknown key `{'.'.join([*keys, unknown])}`; {hint}"
    if choices := get_args(section) if get_origin(section) is Literal else ():
        return f"{what}; the key `{name}` takes one of: {', '.join(choices)}"
    return f"{what}; mend the key `{name}`" if name else what


def _located(spec: StudySpec, path: Path) -> StudySpec:
    """The definition with absolute paths, a name and a folder."""

    def absolute(name: str) -> str:
        return name if is_entry(name) else str((path.parent / name).absolute())

    replace = msgspec.structs.replace
    decoder = spec.pipeline.decoder
    return replace(
        spec,
        name=spec.name or path.stem,
        folder=absolute(spec.folder or path.stem),
        model=replace(spec.model, path=absolute(spec.model.path)),
        pipeline=replace(spec.pipeline, decoder=absolute(decoder) if decoder else None),
        samples=replace(
            spec.samples,
            calibration=absolute(spec.samples.calibration),
            evaluation=absolute(spec.samples.evaluation),
        ),
    )


def _check(spec: StudySpec, path: Path) -> None:
    """Combinations that no type can rule out."""
    search = spec.search
    if not search.precisions:
        raise SpecError(f"{path}: search.precisions is empty; name at least two of: {listed()}")
    base = (spec.backend.base,) if spec.backend.base else ()
    reference = "fp16" if search.reference == SAFE_REFERENCE else search.reference
    for name in (*search.precisions, reference, *base, *spec.blocks.pin.values()):
        if name not in PRECISIONS:
            raise SpecError(f"{path}: unknown precision {name!r}; known ones: {listed()}")
    if len(set(search.precisions)) != len(search.precisions):
        raise SpecError(f"{path}: search.precisions names a precision twice")
    roles = {"search.reference": reference, "backend.base": spec.backend.base or reference}
    for role, name in roles.items():
        if PRECISIONS[name].is_quantized:
            raise SpecError(f"{path}: {role} is {name!r}, but it must be a float precision such as 'fp16'")
    if spec.blocks.minimum > spec.blocks.maximum:
        raise SpecError(f"{path}: blocks.minimum is above blocks.maximum")
    if spec.samples.calibration == spec.samples.evaluation:
        raise SpecError(
            f"{path}: samples.calibration and samples.evaluation are the same; calibrating on the images "
            "that are scored hides the loss: name disjoint sets"
        )
    if len(spec.samples.mean) != len(spec.samples.std):
        raise SpecError(f"{path}: samples.mean and samples.std must have one number for each channel")


class Budget(Section, frozen=True, kw_only=True):
    """How far one run goes: a number of trials, or seconds of wall time. One of them is None."""

    trials: int | None = None
    seconds: float | None = None


def parse_budget(text: str) -> Budget:
    """`50` is trials; `90s`, `30m`, `8h` are time. Raises `SpecError` for anything else."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], text[-1:]) if text[-1:] in units else (text, "")
    try:
        budget = Budget(seconds=float(number) * units[unit]) if unit else Budget(trials=int(number))
    except ValueError:
        budget = Budget()
    if not ((budget.trials or 0) > 0 or 0 < (budget.seconds or 0) < float("inf")):
        raise SpecError(f"budget {text!r} is neither trials (`50`) nor time (`90s`, `30m`, `8h`)")
    return budget
