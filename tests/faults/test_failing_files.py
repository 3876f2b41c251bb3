"""Every file that is written fails once, wherever it is opened: told in one line, and nothing is lost."""

from __future__ import annotations

import ast
import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from failing_files import failing_once, refused
from PIL import Image
from worker_here import WorkerHere

import autoprec
from autoprec.demo import write_demo
from autoprec.errors import AutoprecError
from autoprec.graph.variants.edits import Edits
from autoprec.graph.variants.refined import save_refined
from autoprec.isolation import WorkerProcess
from autoprec.records import to_json
from autoprec.store import Store, rebuild
from command_line import autoprec as run
from tiny_study import timed_for, write_model, write_study

pytestmark = pytest.mark.slow
STUDY = ("--study", "tiny.toml")
EXPORT = ("export", *STUDY, "--trial", "0", "out", "--zip", "--examples")
COMMANDS = (
    ("init", "tiny.onnx"),
    ("init", "other.onnx"),  # becomes the default in the place of the first
    ("search", *STUDY, "--budget", "1"),
    ("report", *STUDY),
    ("report", *STUDY, "--png"),
    ("trials", *STUDY, "-o", "trials.csv"),
    (*EXPORT, "0"),
    (*EXPORT, "1"),
    ("verify", "out"),
    ("where", "1", *STUDY),
)
ELSEWHERE = (
    "backends/target/",  # on the target: tests/backends/target fills its disk
    "backends/tensorrt/",  # on a GPU
    "cli/_boundary.py",  # the details of a fault of autoprec
    "exporters/scripts/",  # where an export arrives
    "exporters/tensorrt8.py",  # for a target with TensorRT 8: tests/backends/target
    "measurement/fidelity/exactness.py",  # where an engine departs from its file
    "recipes/efficientvit_sam.py",  # needs PyTorch
    "store/_artifacts.py",  # where hosts share a database: tests/store
    "study/cluster/",  # needs Ray
    "study/night/early.py",  # on a GPU, with five workers
    "study/shipping/export.py",  # an engine, of a GPU
)
"""Where nothing is written by what is walked over here."""
WRITERS = frozenset(
    {"write_text", "write_bytes", "mkdir", "mkstemp", "TemporaryDirectory", "copyfile", "copytree"}
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny study, with all that is written in its folder."""
    home = tmp_path / "home"
    (home / "tmp").mkdir(parents=True)
    monkeypatch.setattr("autoprec.measurement.bench.WorkerProcess", WorkerHere)
    monkeypatch.setattr(tempfile, "tempdir", str(home / "tmp"))
    definition = write_study(home)
    timed_for(definition, 0.02)
    (tmp_path / "record").touch()
    return home


def test_whatever_cannot_be_written_is_told_and_written_the_next_time(home: Path) -> None:
    write_model(home / "other.onnx")
    for command in COMMANDS:
        assert all(told.startswith("autoprec: ") for told in walk_command(command, home))
    walk(lambda: write_demo(home / "demo"), home)
    walk(lambda: rebuild(home / "tiny" / "study.db"), home)
    walk(lambda: save_refined(Edits({}, (), {"x": 1.5}), home / "refined"), home)
    walk(lambda: start_worker(home / "worker.log"), home)
    met = {module for _, module in refused(home)}
    assert {module for module in writers() if not module.startswith(ELSEWHERE)} <= met


@pytest.mark.parametrize("suffix", ["npz", "png"])
def test_no_file_is_blamed_where_too_many_are_open(suffix: str, home: Path) -> None:
    if suffix == "png":
        for place in home.glob("*/0.npz"):
            Image.fromarray(np.full((32, 32, 3), len(place.parent.name), np.uint8)).save(
                place.with_suffix(".png")
            )
        for place in home.glob("*/*.npz"):
            place.unlink()
    words = ("search", *STUDY, "--budget", "1")
    assert all("ulimit -n" in told for told in walk_command(words, home, reading=True))


def walk_command(words: tuple[str, ...], home: Path, *, reading: bool = False) -> Iterator[str]:
    """Run a command until nothing new fails, and it succeeds; gives the error of each time before that."""
    failed = -1
    while failed < (failed := len(refused(home))):
        before = trials(home)
        with failing_once(home, reading=reading):
            ran = run(*words, folder=home)
        what = f"{' '.join(words)}: {refused(home)[failed:]}: exit code {ran.returncode}: {ran.stderr}"
        assert ran.returncode in (0, 2), what
        assert "Traceback" not in ran.stderr, what
        assert before.items() <= trials(home).items(), what
        if ran.returncode:
            yield ran.stderr.splitlines()[-1]
    assert ran.returncode == 0 or "already exists" in ran.stderr, (
        what
    )  # a definition, not yet the default one


def walk(write: Callable[[], object], home: Path) -> None:
    """Call a function until nothing new fails; it succeeds then."""
    failed = -1
    while failed < (failed := len(refused(home))):
        with failing_once(home), contextlib.suppress(AutoprecError, OSError):
            write()
    write()


def start_worker(log: Path) -> None:
    """Start one, and end it."""
    with WorkerProcess("autoprec.measurement", log) as worker:
        worker._started()


def trials(home: Path) -> dict[int, str]:
    """All that has been finished."""
    database = home / "tiny" / "study.db"
    if not database.exists():
        return {}
    with Store.open(database, read_only=True) as store:
        return {trial.number: to_json(trial) for trial in store.trials("tiny") if trial.state != "running"}


def writers() -> set[str]:
    """Modules of the package that open files for writing, or make folders."""
    package = Path(autoprec.__file__).parent
    return {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(_writes(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    }


def _writes(call: ast.Call) -> bool:
    if ast.unparse(call.func).startswith("Path('/proc/self/"):
        return False  # the kernel's: in no folder, and on no disk
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    modes = [word.value for word in call.args[:2] if isinstance(word, ast.Constant)]
    is_mode = any(len(str(mode)) <= len("w+b") and set(str(mode)) & set("wax+") for mode in modes)
    return name in WRITERS or (name == "open" and is_mode)
