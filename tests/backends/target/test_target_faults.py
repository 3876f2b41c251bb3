"""Lines that are cut, disks that are full: told by their kind, and nothing runs on alone over there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoprec import Study
from autoprec.backends import run
from autoprec.backends.target import line
from autoprec.errors import BackendError, TrialError
from autoprec.measurement.__main__ import _Desk
from autoprec.measurement.messages import Compare, Failed, Original, Race, Said
from autoprec.spec import BackendSection, load_spec
from loopback_ssh import Server
from tiny_study import write_model, write_study

from .test_target import agents, local, remote
from .test_trtexec import FEEDS, trtexec


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], check=False
    ).returncode:
        pytest.skip("may not mount a small disk here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def children(word: str) -> list[int]:
    """Process numbers of those that have a word in their command, but for this one."""
    collected = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if word in words:
                collected.append(int(entry.name))
    return collected


def place(number: int) -> str:
    """A process's folder; empty for one that is gone."""
    try:
        return str(Path(f"/proc/{number}/cwd").readlink())
    except OSError:
        return ""


def waited_for(what: object) -> bool:
    """Whether something becomes true within some seconds."""
    assert callable(what)
    for _ in range(100):
        if what():
            return True
        time.sleep(0.1)
    return False


def ssh_to(server: Server) -> list[int]:
    port = server.address.rpartition(":")[2]
    return [n for n in children(f"-p\0{port}\0") if Path(f"/proc/{n}/comm").read_text().strip() == "ssh"]


def test_a_line_to_an_agent_that_is_cut_is_told(ssh_server: Server, tmp_path: Path) -> None:
    engine = remote(ssh_server, tmp_path / "there").build(write_model(tmp_path / "tiny.onnx"))
    for number in ssh_to(ssh_server):
        os.kill(number, signal.SIGTERM)
    with pytest.raises(TrialError) as told:
        run(engine, FEEDS)
    assert told.value.kind in ("killed", "crash")
    assert waited_for(lambda: not children(f"{tmp_path}/there/agent-"))  # the agent ends with its line


def test_a_line_that_was_cut_begins_anew(tmp_path: Path) -> None:
    backend = local(tmp_path / "there")
    first = backend.clocks()
    for number in agents(tmp_path / "there"):
        os.kill(number, signal.SIGKILL)
    assert (backend.clocks().load_average is None) == (first.load_average is None)
    engine = backend.build(write_model(tmp_path / "tiny.onnx"))
    for number in agents(tmp_path / "there"):
        os.kill(number, signal.SIGKILL)
    with pytest.raises(TrialError) as told:
        run(engine, FEEDS)  # what was asked of the dead one is lost
    assert told.value.kind == "killed"
    with backend.build(tmp_path / "tiny.onnx") as engine:
        assert run(engine, FEEDS)["masks"].shape == (1, 2, 32, 32)


def test_an_agent_that_is_killed_as_it_starts_is_tried_again(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(
        f"#!/bin/sh\n[ -e {tmp_path}/once ] || {{ touch {tmp_path}/once; kill -9 $$; }}\n"
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    assert local(tmp_path / "there", target=f"local:{python}").fingerprint().version


CUT = """
import os, sys
if "autoprec.measurement" in sys.orig_argv:
    from autoprec.measurement.workbench import Workbench
    run = Workbench._run_reference
    def cut(self, on_stage):
        with open({flag!r}, "a") as flag:
            print("cut", file=flag)
        if os.path.getsize({flag!r}) <= 3 * len("cut\\n"):  # a worker asks twice
            self._reference._line.channel._process.kill()
        run(self, on_stage)
    Workbench._run_reference = cut
"""


@pytest.mark.slow
def test_a_line_that_is_cut_while_the_reference_runs_ends_no_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CUT.format(flag=str(tmp_path / "flag")))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), *filter(None, sys.path)]))
    more = f'\n[target]\naddress = "local:"\nfolder = "{tmp_path}/there"\n'
    study = Study.load(write_study(tmp_path, more))
    assert study.search("1")
    assert (tmp_path / "flag").exists()
    assert [record.state for record in study.trials()] == ["complete"]


def test_a_build_by_trtexec_ends_with_its_line(ssh_server: Server, tmp_path: Path) -> None:
    where = {"target": ssh_server.address, "target_ssh_config": str(ssh_server.config)}
    backend = trtexec(tmp_path / "a", "8601", **where)
    backend.fingerprint()
    (tmp_path / "a" / "slow").touch()
    failures: list[TrialError] = []

    def build() -> None:
        try:
            backend.build(write_model(tmp_path / "tiny.onnx"))
        except TrialError as error:
            failures.append(error)

    def builders() -> list[int]:
        return [n for n in children("--onnx=") if place(n) == str(tmp_path / "a" / "there")]

    thread = threading.Thread(target=build)
    thread.start()
    try:
        assert waited_for(builders)
        for number in ssh_to(ssh_server):
            os.kill(number, signal.SIGTERM)
        thread.join(20)
        assert [error.kind for error in failures] == ["killed"]
        assert waited_for(lambda: not builders())
    finally:
        for number in builders():
            os.kill(number, signal.SIGKILL)


def test_a_full_disk_there_is_told_with_the_way_out(small_disk: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"`autoprec target clean` frees space"):
        local(small_disk).build(write_model(tmp_path / "tiny.onnx"))


def test_a_full_disk_there_is_waited_for(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "BETWEEN_TRIES_SECONDS", 0.1)
    said: list[str] = []
    backend = local(small_disk)

    def say(words: str) -> None:
        said.append(words)
        subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)

    backend.wait(10, say)
    with backend.build(write_model(tmp_path / "tiny.onnx")) as engine:
        assert run(engine, FEEDS)["masks"].shape == (1, 2, 32, 32)
    assert said[0].startswith("waiting for the target: local: [Errno 28]")


def test_a_folder_that_does_not_serve_is_not_waited_for(small_disk: Path, tmp_path: Path) -> None:
    said: list[str] = []
    backend = local(small_disk)
    backend.wait(600, said.append)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(BackendError, match=r"Read-only .*; target\.folder must be writable"):
        backend.build(write_model(tmp_path / "tiny.onnx"))
    assert not said


def test_a_disk_that_stays_full_is_nobody_s_fault(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "BETWEEN_TRIES_SECONDS", 0.1)
    backend = local(small_disk)
    backend.wait(0.2, lambda _: None)
    with pytest.raises(TrialError, match="No space left") as told:
        backend.build(write_model(tmp_path / "tiny.onnx"))
    assert told.value.kind == "killed"


@pytest.mark.parametrize("asked", ["race", "compare"])
def test_a_worker_says_that_it_waits_for_a_full_disk(
    asked: str, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "BETWEEN_TRIES_SECONDS", 0.1)
    options = {"target": "local:", "target_folder": str(small_disk)}
    spec = load_spec(write_study(tmp_path))
    backend = BackendSection(options=dict(options), trial_seconds=0.5)
    model = str(tmp_path / "tiny.onnx")
    original = Original(
        path=model, folder=str(tmp_path), backend=backend, pipeline=spec.pipeline, samples=spec.samples,
        quality=spec.quality, shapes={"image": (1, 3, 32, 32)}, count=1,
    )  # fmt: skip
    requests: dict[str, Race | Compare] = {
        "race": Race(backend=backend, timing=spec.timing, reference_path=model, candidate_path=model),
        "compare": Compare(original=original, step="engine", path=model, tolerance=0.1),
    }
    answers: list[object] = []
    answers.append(_Desk(answers.append).serve(requests[asked]))
    said = [answer.message for answer in answers if isinstance(answer, Said)]
    assert len(said) == 1
    assert said[0].startswith("waiting for the target: local")
    assert isinstance(answers[-1], Failed)
    assert answers[-1].kind == "killed"


def test_what_is_cleaned_away_meanwhile_is_sent_again(tmp_path: Path) -> None:
    backend, model = local(tmp_path / "there"), write_model(tmp_path / "tiny.onnx")
    backend.build(model).close()
    local(tmp_path / "there").clean()
    with backend.build(model) as engine:
        assert run(engine, FEEDS)["masks"].shape == (1, 2, 32, 32)


def test_a_full_disk_under_trtexec_is_told_with_the_way_out(small_disk: Path, tmp_path: Path) -> None:
    backend = trtexec(tmp_path / "a", "8601", target_folder=str(small_disk))
    backend.fingerprint()
    (small_disk / "filling").write_bytes(b"x" * os.statvfs(small_disk).f_bavail * 4096)
    with pytest.raises(BackendError, match=r"`autoprec target clean` frees space"):
        backend.build(write_model(tmp_path / "tiny.onnx"))
