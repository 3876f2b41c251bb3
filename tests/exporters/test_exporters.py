"""Every exporter keeps to its folder; what it writes works."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import openvino
import pytest

from autoprec.errors import StudyError
from autoprec.exporters import EXPORTERS, read_manifest, readme, write_export
from autoprec.exporters._script import SCRIPTS
from autoprec.records import Implicit, Preprocessing
from tiny_export import NASTY, REFERENCE, export_of
from trial_records import IDENTITY, complete, failed


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    where = {**os.environ, **environment}
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, env=where)


@pytest.mark.parametrize("target", EXPORTERS)
def test_an_exporter_writes_only_into_its_folder(target: str, tmp_path: Path) -> None:
    export = export_of(tmp_path / "study")
    before = set(tmp_path.rglob("*"))
    written = write_export(export, tmp_path / "out", [target])
    assert written
    new = {path for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    assert new == set(written)
    assert all(path.is_relative_to(tmp_path / "out") and path.stat().st_size for path in written)


@pytest.mark.parametrize("target", EXPORTERS)
def test_a_script_is_sound_whatever_the_names_are(target: str, tmp_path: Path) -> None:
    for path in write_export(export_of(tmp_path / "study", image=NASTY), tmp_path / "out", [target]):
        if path.suffix == ".sh":
            checked = run("sh", "-n", path)
            assert checked.returncode == 0, checked.stderr
        if path.suffix == ".py":
            ast.parse(path.read_text())


def test_modelopt_names_the_blocks_that_it_leaves_in_floats(tmp_path: Path) -> None:
    trial = complete(17, 5.0, 0.01, choices="int8 nvfp4")
    export = export_of(tmp_path / "study", trial=trial)
    floats = Implicit(model_path=export.model_path, scales=(), layers=(), limits=())
    export = msgspec.structs.replace(export, implicit=floats)
    write_export(export, tmp_path / "out", ["modelopt"])
    settings = json.loads((tmp_path / "out" / "modelopt.json").read_text())
    assert (settings["quantize_mode"], settings["left_out"]) == ("int8", {"neck": "nvfp4"})


@pytest.mark.parametrize("precision", ["fp16", "nvfp4"])
def test_the_script_says_what_nvfp4_needs_where_it_is_used(precision: str, tmp_path: Path) -> None:
    trial = complete(17, 5.0, 0.01, choices=f"int8 {precision}")
    write_export(export_of(tmp_path / "study", trial=trial), tmp_path / "out", ["trtexec"])
    script = tmp_path / "out" / "trtexec.sh"
    assert ("compute capability 10.0" in script.read_text()) == (precision == "nvfp4")
    assert run("sh", "-n", script).returncode == 0


def test_the_manifest_reads_back_and_its_digests_hold(tmp_path: Path) -> None:
    export = export_of(tmp_path / "study")
    written = write_export(export, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert (manifest.trial, manifest.reference, manifest.identity) == (export.trial, REFERENCE, IDENTITY)
    assert (manifest.speedup, manifest.latency_ms, manifest.loss) == (2.0, 5.0, 0.01)
    names = {path.relative_to(tmp_path / "out").as_posix() for path in written}
    assert {file.name for file in manifest.files} == names - {"manifest.json"}
    for file in manifest.files:
        data = (tmp_path / "out" / file.name).read_bytes()
        assert (file.sha256, file.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert "trial 17" in manifest.reproduce.replace("--trial", "trial")


def test_models_are_copied_byte_for_byte(tmp_path: Path) -> None:
    write_export(export_of(tmp_path / "study"), tmp_path / "out")
    for source, target in (("typed.onnx", "model.onnx"), ("tail.onnx", "decoder.onnx")):
        assert (tmp_path / "out" / target).read_bytes() == (tmp_path / "study" / source).read_bytes()


def test_weights_outside_the_model_come_along(tmp_path: Path) -> None:
    export = export_of(tmp_path / "study")
    model = onnx.load(export.model_path)
    weights = onnx.numpy_helper.from_array(np.arange(512, dtype=np.float32), "weights")
    model.graph.initializer.append(weights)
    onnx.save_model(model, export.model_path, save_as_external_data=True, location="somewhere.bin")
    write_export(export, tmp_path / "out")
    (tmp_path / "study" / "somewhere.bin").unlink()
    copied = onnx.load(tmp_path / "out" / "model.onnx").graph.initializer[0]
    assert onnx.numpy_helper.to_array(copied)[-1] == 511
    assert "model.onnx.data" in {file.name for file in read_manifest(tmp_path / "out").files}


@pytest.mark.parametrize(("help_text", "flags"), [("--stronglyTyped", ["--stronglyTyped"]), ("--onnx", [])])
def test_trtexec_gets_exactly_the_flags_that_it_knows(
    help_text: str, flags: list[str], tmp_path: Path
) -> None:
    write_export(export_of(tmp_path / "study", batch="N", image=NASTY), tmp_path / "out", ["trtexec"])
    tool = tmp_path / "bin" / "trtexec"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\n[ "$1" = --help ] && echo "{help_text}" && exit\nprintf "%s\\0" "$@"\n')
    tool.chmod(0o755)
    ran = run("sh", tmp_path / "out" / "trtexec.sh", PATH=f"{tool.parent}:{os.environ['PATH']}")
    asked = ran.stdout.split("\0")
    assert [flag for flag in asked if "Typed" in flag] == flags
    assert f"--shapes='{NASTY}':1x3x8x8" in asked
    assert not list(tmp_path.rglob("owned"))


def test_a_static_model_takes_no_shapes(tmp_path: Path) -> None:
    write_export(export_of(tmp_path / "study"), tmp_path / "out", ["trtexec"])
    assert "--shapes" not in (tmp_path / "out" / "trtexec.sh").read_text()


@pytest.mark.parametrize("batch", [1, "N"])
def test_the_openvino_script_runs_the_model(batch: int | str, tmp_path: Path) -> None:
    write_export(export_of(tmp_path / "study", batch=batch), tmp_path / "out")
    ran = run(sys.executable, tmp_path / "out" / "run_openvino.py", "--seconds", "0.05")
    assert ran.returncode == 0, ran.stderr
    told = "the manifest:  5.000 ms of wall time on 3 threads, openvino 2026.4.1 on EPYC"
    assert told in ran.stdout
    assert f"OpenVINO {openvino.__version__}, 3 threads" in ran.stdout
    assert "output 'y': f32 [1, 3, 8, 8]" in ran.stdout


@pytest.mark.parametrize("batch", [1, "N"])
def test_the_polygraphy_script_builds_an_engine(batch: int | str, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    pytest.importorskip("polygraphy")
    write_export(export_of(tmp_path / "study", batch=batch), tmp_path / "out")
    script = tmp_path / "out" / "build_polygraphy.py"
    ran = run(sys.executable, script, "--compute-capability", "8.9", POLYGRAPHY_USE_TENSORRT_RTX="1")
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out" / "model.engine").stat().st_size > 1000


def test_an_earlier_export_is_replaced(tmp_path: Path) -> None:
    write_export(export_of(tmp_path / "study"), tmp_path / "out")
    write_export(export_of(tmp_path / "study", trial=complete(18, 4.0, 0.02)), tmp_path / "out", ["trtexec"])
    assert read_manifest(tmp_path / "out").number == 18
    assert not (tmp_path / "out" / "run_openvino.py").exists()
    assert len(list((tmp_path / "out" / "examples").glob("*.npz"))) == 1


@pytest.mark.parametrize("name", ["model.engine", "manifest.json"])
def test_a_folder_with_other_files_is_refused_and_kept(name: str, tmp_path: Path) -> None:
    if name != "manifest.json":
        write_export(export_of(tmp_path / "study"), tmp_path / "out")
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / name).write_text("built for an hour")
    before = sorted(path.name for path in (tmp_path / "out").iterdir())
    with pytest.raises(StudyError, match="another folder"):
        write_export(export_of(tmp_path / "study"), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == before


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    export = msgspec.structs.replace(export_of(tmp_path / "study"), decoder_path=str(tmp_path / "gone.onnx"))
    with pytest.raises(StudyError, match=r"gone\.onnx: cannot be exported \(No such file"):
        write_export(export, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def test_what_cannot_be_exported_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="trial 3 of study 'demo' has no measurement"):
        write_export(export_of(tmp_path / "study", trial=failed(3)), tmp_path / "out")
    with pytest.raises(StudyError, match=r"unknown export target 'coreml'; known: .*onnx"):
        write_export(export_of(tmp_path / "study"), tmp_path / "out", ["coreml"])
    with pytest.raises(StudyError, match="contains no export"):
        read_manifest(tmp_path)


def test_kernel_timings_travel_with_the_export_and_builds_write_beside_them(tmp_path: Path) -> None:
    timings = tmp_path / "TensorRT-11.4.0.106-GPU.cache"
    timings.write_bytes(b"timings")
    export = msgspec.structs.replace(export_of(tmp_path / "study"), timing_cache_path=str(timings))
    write_export(export, tmp_path / "out", ["trtexec", "polygraphy"])
    assert (tmp_path / "out" / "timing.cache").read_bytes() == b"timings"
    assert read_manifest(tmp_path / "out").timing_cache == timings.name
    script = (tmp_path / "out" / "trtexec.sh").read_text()
    assert ("--timingCacheFile=build.cache" in script, "OPTIMIZATION_LEVEL:-3" in script) == (True, True)


def test_trtexec_builds_with_the_study_s_level(tmp_path: Path) -> None:
    export = export_of(tmp_path / "study")
    assert export.recipe is not None
    recipe = msgspec.structs.replace(export.recipe, options={"optimization_level": 5, "tf32": False})
    write_export(msgspec.structs.replace(export, recipe=recipe), tmp_path / "out", ["trtexec"])
    script = (tmp_path / "out" / "trtexec.sh").read_text()
    assert ("OPTIMIZATION_LEVEL:-5" in script, "--noTF32" in script) == (True, True)


def test_precisions_that_no_command_can_take_are_refused_with_a_way_out(tmp_path: Path) -> None:
    export = export_of(tmp_path / "study")
    layers = tuple((f"/blocks/{'scope.' * 20}{number}", "int8") for number in range(1000))
    told = Implicit(model_path=export.model_path, scales=(), layers=layers, limits=())
    write_export(msgspec.structs.replace(export, implicit=told), tmp_path / "out", ["implicit"])
    done = run("sh", tmp_path / "out" / "implicit_trtexec.sh")
    assert done.returncode == 2
    assert "trtexec.sh" in done.stderr


def test_the_script_for_polygraphy_says_what_to_install(tmp_path: Path) -> None:
    pytest.importorskip("polygraphy")
    if importlib.util.find_spec("tensorrt"):
        pytest.skip("TensorRT is installed")
    write_export(export_of(tmp_path / "study"), tmp_path / "out", ["polygraphy"])
    done = run(sys.executable, "-W", "ignore", tmp_path / "out" / "build_polygraphy.py")
    assert (done.returncode, "pip install tensorrt" in done.stderr) == (2, True)


def test_how_images_become_inputs_travels_with_an_export(tmp_path: Path) -> None:
    how = Preprocessing(input="image", size=None, resize="letterbox", mean=(0.25,), std=(0.5,), white=4095.0)
    export = export_of(tmp_path / "study")
    assert export.recipe is not None
    recipe = msgspec.structs.replace(export.recipe, preprocessing=how)
    write_export(msgspec.structs.replace(export, recipe=recipe), tmp_path / "out")
    read = read_manifest(tmp_path / "out").recipe
    assert read is not None
    assert read.preprocessing == how
    text = (tmp_path / "out" / "README.md").read_text()
    assert "the middle of a grey (114) 8 x 8 (height x width, bilinear), RGB, divided by 4095" in text
    assert "minus the mean [0.25], divided by the standard deviation [0.5]" in text


def test_the_readme_is_of_this_model_and_says_what_each_file_is_and_needs(tmp_path: Path) -> None:
    export = msgspec.structs.replace(export_of(tmp_path), model_name="sam_l0.onnx", clock="its own time")
    written = write_export(export, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert text.startswith("# sam_l0: trial 17 of study demo")
    assert "5 ms of its own time" in text
    assert "| `verify.py` | measures both models here" in text
    assert "`pip install openvino numpy` |" in text
    assert "| `model.onnx` | input | image | float32 | 1 x 3 x 8 x 8 |" in text
    told = {path.relative_to(tmp_path / "out").parts[0] for path in written} - {"README.md"}
    unexplained = {name for name in told if not re.search(rf"\| `{name}/?` \|", text)}
    assert unexplained == set()


@pytest.mark.parametrize(
    "text", ["#!/bin/sh\n# Builds it with mine.\n", '#!/usr/bin/python\n"""Builds it with mine."""\n']
)
def test_the_readme_takes_a_new_script_by_its_own_words(text: str, tmp_path: Path) -> None:
    export = export_of(tmp_path)
    write_export(export, tmp_path / "out", ["onnx"])
    name = "mine.sh" if "sh" in text else "mine.py"
    (tmp_path / "out" / name).write_text(text)
    readme.write(export, tmp_path / "out")
    assert f"| `{name}` | Builds it with mine. |" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.name)
def test_a_script_that_lacks_a_package_says_so_in_one_line(path: Path, tmp_path: Path) -> None:
    if path.name in ("__init__.py", "paired_timing.py", "mask_picture.py"):  # run by others alone
        return
    bare = run(sys.executable, "-S", path)  # without what is installed beside Python
    assert (bare.returncode, bare.stderr.count("\n")) == (2, 1), bare.stderr
    assert "pip install" in bare.stderr


def test_a_script_for_trtexec_says_where_that_is_from(tmp_path: Path) -> None:
    write_export(export_of(tmp_path), tmp_path / "out", ["trtexec"])
    done = run("/bin/sh", tmp_path / "out" / "trtexec.sh", PATH="/usr/bin:/bin")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "comes with TensorRT" in done.stderr


def test_a_trtexec_that_types_do_not_bind_builds_nothing(tmp_path: Path) -> None:
    write_export(export_of(tmp_path / "study"), tmp_path / "out", ["trtexec"])
    tool = tmp_path / "bin" / "trtexec"
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/sh\n[ "$1" = --help ] || touch built\necho "  --precisionConstraints=spec  Control"\n'
    )
    tool.chmod(0o755)
    done = run("sh", tmp_path / "out" / "trtexec.sh", PATH=f"{tool.parent}:{os.environ['PATH']}")
    assert (done.returncode, "older than 10" in done.stderr) == (2, True)
    assert not (tmp_path / "out" / "built").exists()
