"""A whole definition: its tables, where its evidence is stored, and the digest of what decides a
measurement."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from autoprec.spec.sections import (
    BackendSection,
    BlocksSection,
    CalibrationSection,
    ModelSection,
    PipelineSection,
    QualitySection,
    SamplesSection,
    SearchSection,
    Section,
    TargetSection,
    TimingSection,
)


class StudySpec(Section, frozen=True, kw_only=True):
    """A whole definition; the tables' own keys are described with them.

    Attributes:
        name: of the study; by default the file's stem.
        default: this is the default study: commands without `--study` use it.
        folder: the folder that the study writes into; by default its name, beside the file.
        storage: the database's SQLAlchemy URL, for a study on several machines; "" is the SQLite file
            `study.db` in the folder.
    """

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
        """Where the evidence is stored: a SQLite file, or an SQLAlchemy URL."""
        if self.storage.startswith("sqlite:///"):
            return Path(self.storage.removeprefix("sqlite:///"))
        return self.storage or Path(self.folder) / "study.db"

    @property
    def digest(self) -> str:
        """16 hexadecimal digits over what decides a measurement.

        Strategy, precisions, seed, budget and limits may change between runs, and so may how long is timed,
        what is done about a departure, and where a target is. Everything else may not.
        """
        # Not where samples are: their content has a digest of its own, and folders get moved.
        samples = msgspec.structs.replace(self.samples, calibration="", evaluation="")
        # Studies of 0.1 must keep their digest, so newer keys are left out at the values that 0.1 implied.
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
            self.search.reference or "fp16", self.model.shapes,  # in 0.1 empty meant fp16
        )  # fmt: skip
        if self.search.max_memory_mb is not None:  # a newer key, too
            measured = (*measured, self.search.max_memory_mb)
        # Sorted: keys may stand in any order in the file.
        return hashlib.sha256(msgspec.json.encode(measured, order="sorted")).hexdigest()[:16]


def _measured(options: dict[str, str | int | float | bool]) -> list[tuple[str, str | int | float | bool]]:
    """The options that change what is measured: not a target's address, since its fingerprint counts."""
    return sorted((key, value) for key, value in options.items() if not key.startswith("target"))
