"""What another node needs of a study: its definition, model, decoder and samples, in one archive.

Calibration statistics travel through the study's database, once they are made.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from autoprec.entry import is_entry
from autoprec.errors import ModelError, StudyError
from autoprec.files import is_inside
from autoprec.graph.model.files import read_model
from autoprec.spec import StudySpec

_SPEC = "study.json"


def pack(spec: StudySpec) -> bytes:
    """Pack a study's files.

    Raises `StudyError` for samples or a metric that are code of the user's, or files that cannot be read.
    """
    for name in (spec.samples.calibration, spec.samples.evaluation, spec.quality.metric):
        if is_entry(name):
            raise StudyError(
                f"{name!r} is code, which does not travel: install it on every node, and start "
                "`autoprec search --storage ADDRESS` there"
            )
    packed, places = io.BytesIO(), dict[str, str]()
    with zipfile.ZipFile(packed, "w") as archive:
        for role, path in _roles(spec):
            try:
                places[role] = _add(archive, role, path)
            except OSError as error:
                raise StudyError(f"{path}: cannot be read ({error.strerror})") from error
        archive.writestr(_SPEC, msgspec.json.encode(_moved(spec, places)))
    return packed.getvalue()


def unpack(parcel: bytes, folder: Path) -> StudySpec:
    """Unpack a study into a folder of this machine. Raises `StudyError` if a file is missing."""
    with zipfile.ZipFile(io.BytesIO(parcel)) as archive:
        archive.extractall(folder)  # never writes outside the folder
        spec = msgspec.json.decode(archive.read(_SPEC), type=StudySpec)
    for _, path in _roles(spec):
        if not (folder / path).exists():
            raise StudyError(f"{path} is not in what was sent")
    places = {role: str((folder / path).absolute()) for role, path in _roles(spec)}
    return msgspec.structs.replace(_moved(spec, places), folder=str((folder / "study").absolute()))


def _roles(spec: StudySpec) -> Iterator[tuple[str, Path]]:
    """The roles and paths of the files to pack."""
    yield "model", Path(spec.model.path)
    if spec.pipeline.decoder:
        yield "decoder", Path(spec.pipeline.decoder)
    yield "calibration", Path(spec.samples.calibration)
    yield "evaluation", Path(spec.samples.evaluation)


def _moved(spec: StudySpec, places: dict[str, str]) -> StudySpec:
    """The definition with its files at other places, by role."""
    replace = msgspec.structs.replace
    return replace(
        spec,
        model=replace(spec.model, path=places["model"]),
        pipeline=replace(spec.pipeline, decoder=places.get("decoder")),
        samples=replace(spec.samples, calibration=places["calibration"], evaluation=places["evaluation"]),
    )


def _add(archive: zipfile.ZipFile, role: str, path: Path) -> str:
    """Add a folder or a file, a model with its external weights; returns its name in the archive."""
    name = f"{role}/{path.name}"
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                archive.write(file, f"{name}/{file.relative_to(path)}")
        return name
    archive.write(path, name)
    if role in ("model", "decoder"):
        for data in _weights(path):
            archive.write(path.parent / data, f"{role}/{data}")
    return name


def _weights(path: Path) -> list[str]:
    """Names of a model's files of external weights. Raises `ModelError` for one outside its folder."""
    tensors = _tensors(read_model(path, weights=False).graph)
    names = {ExternalDataInfo(tensor).location for tensor in tensors if uses_external_data(tensor)}
    for name in sorted(names):
        if not is_inside(path.parent, name):
            raise ModelError(f"{path}: its weights are in {name!r}, which is no file beside it")
    return sorted(names)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All weights, including those in subgraphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)
