"""What was exported, its measurements, and how to export it again: `manifest.json`, `assignment.json`."""

from __future__ import annotations

import contextlib
import hashlib
import math
import platform
import shlex
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from autoprec.errors import StudyError
from autoprec.files import read_small
from autoprec.records import (
    Departure,
    Examples,
    Export,
    Identity,
    Interval,
    Recipe,
    Record,
    Reference,
    TrialRecord,
    from_json,
    to_json,
)

MANIFEST = "manifest.json"
ASSIGNMENT = "assignment.json"
EXAMPLES = "examples"
PACKAGES = ("autoprec", "onnx", "onnx-ir", "numpy", "openvino", "tensorrt-rtx", "tensorrt")


class ExportedFile(Record, frozen=True, kw_only=True):
    """One file beside or below the manifest; `sha256` in hexadecimal."""

    name: str
    sha256: str
    bytes: int


class Manifest(Record, frozen=True, kw_only=True):
    """The contents of an export, as its scripts read them.

    Attributes:
        model: file name of the model that was searched; empty in manifests of earlier versions.
        latency_ms: paired ratio times the study's reference latency; `speedup` is one over that ratio.
        clock: what the latency is: processor time, wall time, or time on a GPU.
        loss: mask loss against the reference.
        model_digest, decoder_digest: as the study computes them; `files` has plain SHA-256.
        input_shapes: (input, sizes) that were measured.
        trial: everything that was measured; `reference` and `identity`: what it is to be compared with.
        versions: software that exported; the engine that measured is in `identity.fingerprint`.
        reproduce: the command that exports the same again.
        recipe, examples: how and on what to measure it elsewhere; `examples.folder` is beside the manifest.
        timing_cache: the study's file of kernel timings that `timing.cache` is a copy of, named after
            library, version and GPU; empty for an engine that keeps none.
        fidelity: how far the study's steps are from the original model.
        checksum: SHA-256 of the manifest's text with an empty one; empty up to format 2.
    """

    format: int = 3
    checksum: str = ""
    study: str
    number: int
    label: str
    model: str = ""
    latency_ms: float
    clock: str = ""
    speedup: float
    speedup_interval: Interval
    loss: float
    loss_interval: Interval
    model_digest: str
    decoder_digest: str
    input_shapes: tuple[tuple[str, tuple[int, ...]], ...]
    files: tuple[ExportedFile, ...]
    reproduce: str
    versions: dict[str, str]
    identity: Identity
    reference: Reference
    trial: TrialRecord
    timing_cache: str = ""
    recipe: Recipe | None = None
    examples: Examples | None = None
    fidelity: tuple[Departure, ...] = ()


def write(export: Export, folder: Path) -> tuple[Path, ...]:
    """Write both files; the manifest covers every file that is in `folder` by then."""
    assignment = folder / ASSIGNMENT
    assignment.write_text(_pretty(export.trial.assignment.as_dict()), encoding="utf-8")
    # With the assignment in it, but not the manifest, which cannot hold its own digest.
    there = sorted(path for path in folder.rglob("*") if path.is_file())
    files = tuple(described(path, folder) for path in there)
    manifest = folder / MANIFEST
    # The checksum covers the text with an empty checksum, which is then filled in: scripts verify it
    # without knowing how the text was encoded.
    text = _pretty(_manifest(export, files))
    manifest.write_text(text.replace(_sealed(""), _sealed(_digest(text)), 1), encoding="utf-8")
    return (assignment, manifest)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an export. Raises `StudyError` if there is none, or if it was changed."""
    path = folder / MANIFEST
    if path.is_symlink():
        raise StudyError(
            f"{path}: is a link, and no link in an export is followed; copy the file itself there"
        )
    try:
        text = read_small(path).decode().replace("\r\n", "\n")  # as `verify.py` reads it
        manifest = from_json(text, Manifest)
    except OSError as error:
        why = "" if isinstance(error, FileNotFoundError) else f" ({error.strerror})"
        raise StudyError(f"{folder}: contains no export{why}; `autoprec export` writes one") from error
    except (UnicodeDecodeError, msgspec.MsgspecError, RecursionError) as error:
        raise StudyError(
            f"{path}: is not a manifest of autoprec ({error}); export to another folder"
        ) from error
    _refuse_changed(path, text, manifest)
    return manifest


def _refuse_changed(path: Path, text: str, manifest: Manifest) -> None:
    """Raises `StudyError` for a manifest that was changed, or whose figures cannot have been measured."""
    measured = manifest.trial.measurement
    # The first of these only: what stands further down may read the same.
    blank = text.replace(_sealed(manifest.checksum), _sealed(""), 1)
    # Formats 1 and 2 had no checksum; the number itself may be what was changed.
    if (manifest.format > 2 or manifest.checksum) and _digest(blank) != manifest.checksum:
        raise StudyError(f"{path}: was changed after it was written; export it again")
    # Whoever reads it divides by the ratio.
    if measured is None or not 0 < measured.latency.ratio < math.inf:
        raise StudyError(f"{path}: holds no measurement; export a complete trial")


def _sealed(checksum: str) -> str:
    return f'"checksum": "{checksum}"'


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _manifest(export: Export, files: tuple[ExportedFile, ...]) -> Manifest:
    trial = export.trial
    measured = trial.measurement
    assert measured is not None
    ratio = measured.latency.ratio_interval
    command = f"autoprec export --study {shlex.quote(trial.study)} --trial {trial.number}"
    return Manifest(
        study=trial.study,
        number=trial.number,
        label=trial.label,
        model=export.model_name,
        latency_ms=measured.latency_ms,
        clock=export.clock,
        speedup=1 / measured.latency.ratio,
        speedup_interval=Interval(low=1 / ratio.high, high=1 / ratio.low, level=ratio.level),
        loss=measured.quality.loss,
        loss_interval=measured.quality.loss_interval,
        model_digest=export.model_digest,
        decoder_digest=export.decoder_digest,
        input_shapes=export.input_shapes,
        files=files,
        reproduce=command,
        versions=_versions(),
        identity=export.identity,
        reference=export.reference,
        trial=trial,
        timing_cache=Path(export.timing_cache_path).name,
        recipe=export.recipe,
        fidelity=export.fidelity,
        examples=export.examples and msgspec.structs.replace(export.examples, folder=EXAMPLES),
    )


def _versions() -> dict[str, str]:
    """Versions of Python and of the installed `PACKAGES`."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def described(path: Path, folder: Path) -> ExportedFile:
    """A file's name within `folder`, size and digest."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ExportedFile(name=path.relative_to(folder).as_posix(), sha256=digest, bytes=path.stat().st_size)


def _pretty(value: object) -> str:
    return msgspec.json.format(to_json(value), indent=2) + "\n"
