"""Writing the chosen point for a build tool: one file per target, and the table below.

An exporter is a function `(export, folder) -> paths` that writes into `folder` and nowhere else. A new one
is one new file, a module or a script, and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from autoprec.errors import StudyError
from autoprec.exporters import (
    examples,
    implicit,
    manifest,
    modelopt,
    onnx,
    predict,
    readme,
    tensorrt8,
    trtexec,
    verify,
)
from autoprec.exporters._folder import replacing
from autoprec.exporters._script import script
from autoprec.exporters.manifest import Manifest, read_manifest
from autoprec.records import Export

EXPORTERS: Mapping[str, Callable[[Export, Path], tuple[Path, ...]]] = MappingProxyType(
    {
        "onnx": onnx.write,
        "examples": examples.write,
        "verify": verify.write,
        "python": predict.write,
        "trtexec": trtexec.write,
        "tensorrt8": tensorrt8.write,
        "implicit": implicit.write,
        "modelopt": modelopt.write,
        "polygraphy": script("build_polygraphy.py"),
        "openvino": script("run_openvino.py"),
        "readme": readme.write,
        "json": manifest.write,
    }
)
"""By target, in the order of writing; the manifest comes last, because it lists the files of the others."""

ALWAYS = frozenset({"onnx", "examples", "verify", "readme", "json"})

__all__ = ["EXPORTERS", "Manifest", "read_manifest", "write_export"]


def write_export(export: Export, folder: Path, targets: Sequence[str] | None = None) -> tuple[Path, ...]:
    """Write `targets` (all by default) into `folder`, completely or not at all; returns the files.

    Models, examples, manifest and `verify.py` are always written. An earlier export is replaced. Raises
    `StudyError` for an unknown target, a trial without a measurement, a folder that holds anything else, or a
    disk that refuses the files.
    """
    wanted = set(EXPORTERS if targets is None else targets)
    if unknown := sorted(wanted - set(EXPORTERS)):
        raise StudyError(f"unknown export target {unknown[0]!r}; known: {', '.join(EXPORTERS)}")
    if export.trial.measurement is None:
        raise StudyError(
            f"trial {export.trial.number} of study {export.trial.study!r} has no measurement "
            f"({export.trial.state}); export a complete one, `autoprec front` lists the best"
        )
    with replacing(folder) as fresh:
        # In the table's order whatever was asked for: some look at what those before them wrote.
        written = [
            path
            for name, write in EXPORTERS.items()
            if name in wanted | ALWAYS
            for path in write(export, fresh)
        ]
    return tuple(folder / path.relative_to(fresh) for path in written)
