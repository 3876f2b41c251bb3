"""Kept files of every kind: how to write a sound one, and how to read it as its owner does.

A damaged file is reported in one line and made again, so a reader that returns nothing must have said why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from autoprec.backends.tensorrt import timing_cache
from autoprec.graph.statistics.moments import Moments, load_moments, save_moments
from autoprec.graph.statistics.ranges import Histograms
from autoprec.graph.variants.edits import Edits
from autoprec.graph.variants.refined import load_refined, save_refined
from autoprec.kept import keep
from autoprec.measurement.masks import ReferenceMasks
from autoprec.records import Inspection, KernelTime, Picture, to_json
from autoprec.spec import load_spec
from autoprec.study.findings import inspections
from autoprec.study.findings.inspections import Inspections
from tiny_study import write_study
from trial_records import IDENTITY

T = TypeVar("T")
_TRIAL = "80931856fd251b78"


def write(folder: Path) -> dict[str, Path]:
    """Write a sound file of each kind; returns their paths by the kind's name."""
    folder.mkdir()
    histograms = Histograms()
    histograms.observe("x", np.linspace(-1, 1, 1000))
    histograms.samples = 1
    histograms.save(folder / "h.npz")
    moments = Moments(np.eye(4, dtype=np.float32)[None], np.ones((1, 4), np.float32))
    save_moments({"n": moments}, folder / "m.npz")
    kept_masks = ReferenceMasks(folder, folder / "reference.masks", 4096)
    for number in range(4):
        kept_masks.append(f"{number}.png", np.full((1, 24, 24), number + 1, np.float32))
    timing_cache.replace_file(folder / "RTX 4.timings", b"timings" * 99)
    weight = ir.tensor(np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8), name="w")
    digest = save_refined(Edits({("/a/Conv", 1): weight}, (), {"x": 1.5}), folder / "refined")
    seen = _inspection(folder / "study")
    return {
        "histograms": folder / "h.npz",
        "moments": folder / "m.npz",
        "masks": folder / "reference.masks",
        "timing cache": folder / "RTX 4.timings",
        "refined weights": folder / "refined" / f"{digest}.npz",
        "inspection": seen,
        "picture of an inspection": seen.with_name("0-candidate.webp"),
    }


def histograms(path: Path) -> object:
    """The ranges computed from kept histograms."""
    read = _told(path, lambda say: Histograms.load(path, say=say))
    return None if read is None else read.ranges("entropy", 99.99)


def moments(path: Path) -> object:
    """Kept moments, byte by byte."""
    read = _told(path, lambda say: load_moments(path, say=say))
    return None if read is None else {n: (m.second.tobytes(), m.mean.tobytes()) for n, m in read.items()}


def masks(path: Path) -> object:
    """Kept masks, each as it was written."""
    masks = ReferenceMasks(path.parent, path)
    for index in range(len(masks)):
        assert (masks[index] == index + 1).all(), "changed masks were believed"
    return len(masks)


def timings(path: Path) -> object:
    """Kept timings of kernels; kept kernels have the same format."""
    return timing_cache.read_sealed(path) or None


def refined(path: Path) -> object:
    """Refined weights, byte by byte."""
    edits = load_refined(path.parent, path.stem)
    constants = {key: np.asarray(tensor.numpy()).tobytes() for key, tensor in edits.constants.items()}
    return constants, dict(edits.ranges)


def inspection(path: Path) -> object:
    """A kept inspection, with the bytes of its pictures."""
    study = path.parents[4]
    folder = path.parent
    spec = load_spec(study / "tiny.toml")
    read = _told(folder / "inspection.json", lambda say: Inspections(spec, IDENTITY, say)._load(_TRIAL))
    if read is None:
        return None
    return read.kernels, [Path(picture.candidate).read_bytes() for picture in read.pictures]


def _told(path: Path, load: Callable[[Callable[[str], None]], T | None]) -> T | None:
    said: list[str] = []
    read = load(said.append)
    if read is None and path.exists():
        assert [line.count("\n") for line in said] == [0], f"not told in one line: {said}"
    return read


def _inspection(study: Path) -> Path:
    study.mkdir()
    spec = load_spec(write_study(study))
    folder = Path(spec.folder) / "inspections" / IDENTITY.fingerprint.digest / _TRIAL
    folder.mkdir(parents=True)
    picture = folder / "0-candidate.webp"
    picture.write_bytes(b"RIFF" * 50)
    seen = inspections._Seen(
        inspection=Inspection(
            kernels=(KernelTime(nodes=("/a/Conv",), kernel="brgconv", precision="i8", time_ms=1.5),),
            pictures=(
                Picture(
                    sample="0.npz", mask=0, score=0.5, kind="worst", image="", reference="",
                    candidate=str(picture), difference="",
                ),
            ),
        ),
        digests={picture.name: hashlib.sha256(picture.read_bytes()).hexdigest()},
    )  # fmt: skip
    path = folder / inspections._FILE
    of = Inspections(spec, IDENTITY)._of(_TRIAL)
    keep(path, inspections._KIND, of, lambda file: file.write(to_json(seen).encode()))
    return path
