"""What the engine takes is asked before the first trial, once, and off the table after it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec
import pytest

import tiny_study
from autoprec.backends import create_backend
from autoprec.legality.verdicts import Verdict
from autoprec.measurement import Bench
from autoprec.spec import BackendSection, StudySpec, load_spec
from autoprec.store import Store
from autoprec.study.preparation import asking
from autoprec.study.preparation.calibrating import calibrate
from autoprec.study.preparation.probing import Prober
from autoprec.study.preparation.stages import Loaded, based, load, silent_basis


def loaded_by_openvino(spec: StudySpec) -> Loaded:
    """For calibration where the engine itself cannot run."""
    return load(msgspec.structs.replace(spec, backend=BackendSection()), print, scores=False)


write_study = partial(tiny_study.write_study, asked=False)


def refusals(
    path: Path, section: BackendSection, precisions: tuple[str, ...], workers: int = 1
) -> tuple[dict[tuple[str, str], str], list[str]]:
    """What the engine of `section` refuses the tiny study, and what was said."""
    spec = load_spec(path)
    spec = msgspec.structs.replace(
        spec, backend=section, search=msgspec.structs.replace(spec.search, precisions=precisions)
    )
    said: list[str] = []
    loaded = load(spec, print, scores=False)
    calibrated = calibrate(loaded_by_openvino(spec), said.append)
    said.clear()
    folder = path.parent
    with ExitStack() as stack:
        store = stack.enter_context(Store.open(folder / "facts.db"))
        benches = [stack.enter_context(Bench(folder / f"worker-{n}.log")) for n in range(workers)]
        prober = Prober(spec, benches, store, said.append)
        basis = silent_basis(loaded)
        return dict(prober.refused(based(loaded, basis), calibrated, basis)), said


def test_openvino_is_asked_once_and_refuses_fp8_alone(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    first, said = refusals(path, BackendSection(), ("fp32", "int8", "fp8", "fp8+smooth"))
    again, silence = refusals(path, BackendSection(), ("fp32", "int8", "fp8", "fp8+smooth"))
    assert {precision for _, precision in first} == {"fp8", "fp8+smooth"}
    assert again == first
    assert (bool(said), silence) == (True, [])


def test_studies_of_one_engine_share_what_they_found_out(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    precisions = ("fp32", "int8", "fp8")
    one, said = refusals(write_study(tmp_path / "one"), BackendSection(), precisions)
    two, silence = refusals(write_study(tmp_path / "two"), BackendSection(), precisions)
    assert two == one
    assert (bool(said), silence) == (True, [])
    with Store.open(tmp_path / "two" / "facts.db") as store:
        kind = f"verdict {create_backend('openvino', {}).fingerprint().digest}"
        assert store.facts("tiny", kind, Verdict)  # resumed without the cache, it knows
    (cache,) = Path(os.environ["XDG_CACHE_HOME"]).rglob("*.json")
    cache.write_text("damaged")
    (tmp_path / "three").mkdir()
    assert refusals(write_study(tmp_path / "three"), BackendSection(), precisions)[0] == one


def test_all_workers_are_asked_and_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    precisions = ("fp32", "int8", "fp8")
    one, _ = refusals(write_study(tmp_path / "one"), BackendSection(), precisions)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(asking, "_EACH", 1)
    many, _ = refusals(write_study(tmp_path / "many"), BackendSection(), precisions, workers=2)
    assert many == one
    assert (tmp_path / "many" / "worker-1.log").exists()


def test_a_gpu_without_fp8_has_it_off_the_table(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    path = write_study(tmp_path)
    for target, refused in {"8.6": {"fp8"}, "8.9": set()}.items():
        section = BackendSection(name="tensorrt", options={"compute_capabilities": target})
        pairs, _ = refusals(path, section, ("fp16", "int8", "fp8"))
        assert {precision for _, precision in pairs} == refused


def test_a_search_without_a_gpu_ends_in_one_line_with_the_way_out(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    if getattr(create_backend("tensorrt", {}), "has_device", False):
        pytest.skip("there is a GPU")
    path = write_study(tmp_path)
    path.write_text(path.read_text() + '\n[backend]\nname = "tensorrt"\n')
    command = [sys.executable, "-m", "autoprec", "search", "--study", str(path), "--budget", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("autoprec: no NVIDIA GPU with a driver is found")
    assert done.stderr.count("\n") == 1
    assert "calibrating" not in done.stdout  # which takes minutes, of which nothing could be measured
