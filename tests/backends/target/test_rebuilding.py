"""What a target with TensorRT 8 built can be built again from the export, layer by layer."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest

from autoprec.exporters import write_export
from tiny_export import export_of

from .test_trtexec import STANDIN, trtexec


def on_the_path(folder: Path, version: str) -> str:
    """A PATH with the stand-in of that version on it."""
    folder.mkdir()
    tool = folder / "trtexec"
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} {STANDIN} {version} "$@"\n')
    tool.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_the_engine_of_a_target_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = export_of(tmp_path / "study")
    target = trtexec(tmp_path / "a", "8601")
    told = target.told(Path(export.model_path), tmp_path / "told.onnx")
    write_export(msgspec.structs.replace(export, told=told), tmp_path / "out", ["tensorrt8"])
    monkeypatch.setenv("PATH", on_the_path(tmp_path / "bin", "8601"))
    subprocess.run([tmp_path / "out" / "tensorrt8_trtexec.sh"], check=True, capture_output=True)
    built = zipfile.ZipFile(tmp_path / "out" / "tensorrt8.engine")
    searched = zipfile.ZipFile(io.BytesIO(target.plan(Path(export.model_path))))
    assert built.read("layers") == searched.read("layers")
    assert built.read("model") == searched.read("model")


def test_a_target_that_keeps_to_types_needs_no_words(tmp_path: Path) -> None:
    export = export_of(tmp_path / "study")
    assert trtexec(tmp_path / "a", "100300").told(Path(export.model_path), tmp_path / "told.onnx") is None
    write_export(export, tmp_path / "out")
    assert not list((tmp_path / "out").glob("tensorrt8*"))
