"""An export of a real study is measured again, anywhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from autoprec import Study
from autoprec.errors import StudyError, UserError
from autoprec.exporters import read_manifest
from autoprec.exporters.manifest import described
from autoprec.records import to_json
from autoprec.spec import TargetSection
from autoprec.study import verify_export
from tiny_study import write_searched


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All-INT8, moved away from its study."""
    folder = tmp_path_factory.mktemp("verification")
    study = Study.load(write_searched(folder))
    study.export(folder / "out", trial=2, examples=2)
    moved = tmp_path_factory.mktemp("elsewhere") / "export"
    shutil.move(folder / "out", moved)
    shutil.rmtree(folder)
    return moved


def test_the_manifest_records_the_loss_on_the_examples(exported: Path) -> None:
    examples = read_manifest(exported).examples
    assert examples is not None
    assert (examples.folder, examples.count) == ("examples", 2)
    checks = {check.name: check for check in verify_export(exported).checks}
    assert checks["files"].is_same
    assert checks["mask loss"].is_same
    assert f"{examples.loss:.4f} on 2 examples, recorded {examples.loss:.4f}" in checks["mask loss"].words
    assert examples.loss > 0


def test_an_export_carries_how_far_it_is_from_the_model_as_it_was_given(exported: Path) -> None:
    manifest = read_manifest(exported)
    assert [(one.step, one.is_beyond) for one in manifest.fidelity] == [
        ("loading", False),
        ("engine", False),
        ("reference", False),
    ]
    assert manifest.examples is not None
    assert manifest.examples.original_loss is not None
    checks = {check.name: check for check in verify_export(exported).checks}
    assert checks["original"].is_same
    assert f"recorded {manifest.examples.original_loss:.4f}" in checks["original"].words


def test_masks_that_are_not_those_of_the_model_as_it_was_given_are_told_apart(
    exported: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    shutil.copytree(exported, folder)
    for path in (folder / "examples" / "outputs").glob("*.npz"):
        arrays = dict(np.load(path))
        np.savez(path, **{**arrays, "original": -arrays["original"]})
    list_anew(folder)
    different = [check.name for check in verify_export(folder).checks if not check.is_same]
    assert [name for name in different if name != "latency"] == ["original"]  # a tiny model's is noise
    command = [sys.executable, str(folder / "verify.py"), "--seconds", "0.2"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "FAIL original" in ran.stdout


def list_anew(folder: Path) -> None:
    """Write the manifest with the files as they are, as whoever changed them would."""
    manifest = read_manifest(folder)
    files = tuple(described(folder / file.name, folder) for file in manifest.files)
    unsealed = msgspec.structs.replace(manifest, files=files, format=2, checksum="")
    (folder / "manifest.json").write_text(to_json(unsealed))


@pytest.mark.parametrize(
    ("original", "told"),
    [
        (np.array([{}], object), r"00\.npz: 'original' holds object, not numbers"),
        (np.zeros((2, 9, 9), np.float32), r"00\.npz: the outputs .* are \[2, 9, 9\]"),
    ],
)
def test_outputs_that_are_not_of_the_export_are_refused(
    original: NDArray[Any], told: str, exported: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    shutil.copytree(exported, folder)
    np.savez(folder / "examples" / "outputs" / "00.npz", original=original)
    list_anew(folder)
    with pytest.raises(UserError, match=told):
        verify_export(folder)


def test_figures_that_were_better_are_told_apart(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    shutil.copytree(exported, folder)
    manifest = read_manifest(folder)
    assert manifest.examples is not None
    better = msgspec.structs.replace(
        manifest.examples, loss=-1.0, loss_interval=manifest.examples.loss_interval.scaled(0.0)
    )
    unsealed = msgspec.structs.replace(manifest, examples=better, format=2, checksum="")
    (folder / "manifest.json").write_text(to_json(unsealed))
    checks = verify_export(folder)
    assert not {check.name: check.is_same for check in checks.checks}["mask loss"]
    assert not checks.is_same


def test_a_target_with_the_same_engine_and_device_is_not_called_different(exported: Path) -> None:
    assert not verify_export(exported, target=TargetSection(address="local:")).note


def test_a_changed_file_ends_it(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    shutil.copytree(exported, folder)
    (folder / "model.onnx").write_bytes(b"")
    (check,) = verify_export(folder).checks
    assert not check.is_same
    assert check.words == "changed or missing: model.onnx"


def test_a_folder_without_an_export_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="contains no export"):
        verify_export(str(tmp_path))
