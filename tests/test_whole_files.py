"""Files are whole, regular, and gone when nobody needs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoprec.files import ensure_regular, is_inside, remove_folder, replacing, scratch
from autoprec.store import exclusive


def test_what_a_killed_process_left_goes_when_the_next_one_begins(tmp_path: Path) -> None:
    left = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
    (tmp_path / f".export-{left}-abc").mkdir()
    (tmp_path / f".export-{left}-abc" / "model.onnx").touch()
    (tmp_path / f".export-{os.getppid()}-abc").mkdir()
    (tmp_path / ".export-mine").mkdir()
    with scratch(".export-", tmp_path) as folder:
        assert folder.is_dir()
        assert {path.name for path in tmp_path.iterdir()} == {
            folder.name,
            f".export-{os.getppid()}-abc",
            ".export-mine",
        }
    assert not folder.exists()


def test_a_search_sweeps_what_a_killed_one_left_and_nothing_else(tmp_path: Path) -> None:
    for name in ("scratch/tmpx", ".export-1-x", ".exact-y", "autoprec-probe-1-x"):
        (tmp_path / name).mkdir(parents=True)
    for name in (".a.npz.1.part", "calibration/.b.1.part", "calibration/b.npz", "study.db", "scratch/tmpx/f"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "scratch" / "link").symlink_to(tmp_path / "calibration")
    with exclusive(tmp_path):
        left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
        assert left == {"calibration/b.npz", "study.db", "search.lock"}


def test_a_file_that_is_half_written_takes_no_name(tmp_path: Path) -> None:
    def write() -> None:
        with replacing(tmp_path / "new" / "file") as part:
            part.write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write()
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../out/a", "/etc/hostname", "link", "folder/a", "a\0", "folder"]
)
def test_only_files_below_a_folder_are_inside(name: str, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "folder").symlink_to(".")
    assert is_inside(tmp_path, "a")
    assert not is_inside(tmp_path, name)


def test_pipes_and_devices_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"is not a regular file|is a folder"):
            ensure_regular(path)


def test_a_pipe_in_the_place_of_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    for name in ("pipe", "link", "nothing"):
        remove_folder(tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "folder", "link"}
    left = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1, check=True)
    os.mkfifo(tmp_path / f".work-{left.stdout.decode().strip()}-a")
    with scratch(".work-", tmp_path) as folder:
        assert folder.is_dir()
