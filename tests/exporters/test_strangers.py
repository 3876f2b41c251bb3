"""An export may come from anybody: nothing in it is run, nothing outside it is read."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import autoprec.exporters.scripts
from autoprec.errors import UserError
from autoprec.exporters import read_manifest, write_export
from autoprec.exporters.manifest import described
from autoprec.records import Interval, TrialRecord, to_json
from autoprec.study import verify_export
from tiny_export import export_of
from trial_records import complete

TRAP = "import pathlib; pathlib.Path(__file__).with_name('owned').touch(); raise ImportError('a trap')"
SCRIPTS = Path(autoprec.exporters.scripts.__file__).parent
MODULES = ("numpy", "psutil", "onnx", "msgspec", "argparse", "hashlib", "openvino", "typing_extensions")


def slow() -> TrialRecord:
    """A trial so slow that every machine is as fast."""
    record = complete(17, 100.0, 0.0)
    assert record.measurement is not None
    interval = Interval(low=9.0, high=11.0)
    latency = msgspec.structs.replace(record.measurement.latency, ratio_interval=interval)
    return msgspec.structs.replace(
        record, measurement=msgspec.structs.replace(record.measurement, latency=latency)
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    export = export_of(tmp_path / "study", trial=slow())
    write_export(msgspec.structs.replace(export, decoder_path="", decoder_digest=""), tmp_path / "out")
    return tmp_path / "out"


def change(folder: Path, **recipe: Any) -> None:
    """Write the manifest anew, with another recipe."""
    manifest = read_manifest(folder)
    assert manifest.recipe is not None
    files = tuple(described(folder / file.name, folder) for file in manifest.files)
    changed = msgspec.structs.replace(manifest.recipe, **recipe)
    unsealed = msgspec.structs.replace(manifest, recipe=changed, files=files, format=2, checksum="")
    (folder / "manifest.json").write_text(to_json(unsealed))


def test_no_script_of_an_export_imports_modules_beside_it(tmp_path: Path) -> None:
    scripts = [path for path in SCRIPTS.glob("*.py") if "__main__" in path.read_text()]
    for name in (*MODULES, "json", "re"):
        (tmp_path / f"{name}.py").write_text(TRAP)
    for script in scripts:
        shutil.copy(script, tmp_path)
        ran = subprocess.run(
            [sys.executable, tmp_path / script.name, "--help"], capture_output=True, check=False
        )
        assert b"Traceback" not in ran.stderr
    assert len(scripts) == 5
    assert not (tmp_path / "owned").exists()
    # Each has to have it before it can import anything, and Python 3.10 must take it.
    guards = {
        path.read_text().partition('if __name__ == "__main__":')[2].partition("\n\n")[0] for path in scripts
    }
    assert len(guards) == 1


@pytest.mark.parametrize(
    "command",
    [
        (str(Path(sys.executable).with_name("autoprec")), "verify", "."),
        pytest.param((sys.executable, "-m", "autoprec", "verify", "."), marks=pytest.mark.slow),
        pytest.param((sys.executable, "verify.py", "--seconds", "0.1"), marks=pytest.mark.slow),
        pytest.param((sys.executable, "predict.py"), marks=pytest.mark.slow),
    ],
    ids=["verify", "module", "script", "predict"],
)
def test_modules_that_lie_in_an_export_are_not_imported(command: tuple[str, ...], folder: Path) -> None:
    for name in MODULES:
        (folder / f"{name}.py").write_text(TRAP)
    # An empty entry is the current folder; `PYTHONPATH=$PYTHONPATH:/other` leaves one.
    environment = os.environ | {"PYTHONPATH": f"{os.pathsep}/nowhere"}
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert not (folder / "owned").exists()


def test_a_metric_that_the_export_names_is_not_run(folder: Path) -> None:
    change(folder, metric="os:system")
    with pytest.raises(UserError, match=r"'os:system' is code of its own; .*--trust-metric"):
        verify_export(folder)


def test_a_target_that_the_export_names_is_not_reached(folder: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/owned\n")
    trap.chmod(0o755)
    change(folder, options={"target": f"local:{trap}", "target_trtexec": str(trap)})
    assert verify_export(folder).checks
    assert not (tmp_path / "owned").exists()


def test_a_metric_that_the_user_names_is_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("import numpy as np\ndef same(a, b): return np.ones(len(a))")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    change(folder, metric="mine:same")
    checks = verify_export(folder, trusted_metric="mine:same")
    assert {check.name for check in checks.checks if not check.is_same} <= {"latency"}  # of a tiny model


@pytest.mark.parametrize("outside", ["../secret", "/etc/hostname", "linked", "loop/model.onnx"])
def test_files_outside_an_export_are_not_read(outside: str, folder: Path) -> None:
    (folder.parent / "secret").write_text("secret")
    (folder / "linked").symlink_to("/etc/hostname")
    (folder / "loop").symlink_to(".")
    path = folder / "manifest.json"
    listed = json.loads(path.read_text())
    listed["files"].append({"name": outside, "sha256": "0" * 64, "bytes": 1})
    path.write_text(json.dumps(listed | {"format": 2, "checksum": ""}))
    (check,) = verify_export(folder).checks
    assert not check.is_same
    assert f"changed or missing: {outside}" in check.words


def test_a_model_that_is_a_link_is_told(folder: Path) -> None:
    (folder / "model.onnx").rename(folder.parent / "model.onnx")
    (folder / "model.onnx").symlink_to(folder.parent / "model.onnx")
    (difference,) = verify_export(folder).checks
    assert "model.onnx" in difference.words
    ran = subprocess.run([sys.executable, folder / "verify.py"], capture_output=True, text=True, check=False)
    assert ran.returncode == 4


def test_an_example_that_is_not_listed_is_refused(folder: Path) -> None:
    (folder / "examples" / "01.npz").write_bytes((folder / "examples" / "00.npz").read_bytes())
    with pytest.raises(UserError, match=r"examples/01\.npz is not in its manifest"):
        verify_export(folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [('"loss": 0.0', '"loss": 0.5'), ('"format": 3', '"format": 2'), ('"format": 3', '"format": -9')],
)
def test_a_manifest_with_another_figure_is_refused(old: str, new: str, folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match="was changed after it was written"):
        verify_export(folder)
    ran = subprocess.run([sys.executable, folder / "verify.py"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "was changed after it was written" in ran.stderr


def test_a_generated_script_steers_no_terminal_and_says_the_same(tmp_path: Path) -> None:
    name = "a\x1b[2J\u202e%\\b"
    export = export_of(tmp_path / "study", batch="n", image=name)
    write_export(msgspec.structs.replace(export, decoder_path="", decoder_digest=""), tmp_path / "out")
    text = (tmp_path / "out" / "trtexec.sh").read_text()
    assert not {"\x1b", "\u202e"} & set(text)
    (word,) = {line.strip(" \\") for line in text.splitlines() if "--shapes" in line}
    shown = subprocess.run(["sh", "-c", f"printf %s {word}"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"--shapes='{name}':1x3x8x8"


@pytest.mark.parametrize(
    ("script", "file", "text"),
    [
        ("run_openvino", "manifest.json", "{}"),
        ("run_openvino", "model.onnx", "\x1b[2J"),
        ("modelopt_quantize", "modelopt.json", "[" * 5000),
    ],
)
def test_a_script_tells_of_a_file_that_is_none_in_one_line(
    script: str, file: str, text: str, tmp_path: Path
) -> None:
    write_export(export_of(tmp_path / "study"), tmp_path / "out")
    shutil.copy(SCRIPTS / f"{script}.py", tmp_path / "out")
    (tmp_path / "out" / file).write_text(text)
    path = tmp_path / "out" / f"{script}.py"
    ran = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    # The engine's parser may have written lines of its own before.
    assert ran.stderr.splitlines()[-1].startswith(f"{script}.py: ")
    assert not re.search("Traceback|\x1b", ran.stderr)
