"""Several targets of one kind share a study, as several GPUs do."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from autoprec import Study
from autoprec.backends.devices import devices
from autoprec.backends.target import backend
from autoprec.backends.target.address import TARGET, parse_address
from autoprec.errors import BackendError, StudyError
from autoprec.measurement.reaching import reach
from tiny_study import write_study


def other(folder: Path, mode: str = "") -> str:
    """A second target: another path to the same Python, on a board in a power mode if one is given."""
    folder.mkdir()
    if mode:
        (folder / "nvpmodel").write_text(f'#!/bin/sh\necho "NV Power Mode: {mode}"\n')
        (folder / "nvpmodel").chmod(0o755)
    (folder / "python").write_text(
        f'#!/bin/sh\necho once >>{folder}/starts\nPATH={folder}:$PATH exec {sys.executable} "$@"\n'
    )
    (folder / "python").chmod(0o755)
    return f"local:{folder}/python"


def study(folder: Path, *addresses: str) -> Study:
    more = f'\n[target]\naddress = "{", ".join(addresses)}"\nfolder = "{folder}/there"\n'
    return Study.load(write_study(folder, more))


def test_each_target_is_a_device_with_a_lease_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"target": "ssh://one, ssh://two:2022,ssh://one"}
    device_names = devices("openvino", options, None)
    assert [device.name for device in device_names] == ["ssh://one", "ssh://two:2022"]
    assert len({device.lease for device in device_names}) == 2
    assert parse_address(options).host == "one"
    monkeypatch.setenv(TARGET, device_names[1].environment[TARGET])
    assert (parse_address(options).host, parse_address(options).port) == ("two", 2022)


def test_targets_are_named_by_their_addresses() -> None:
    with pytest.raises(BackendError, match=r"target\.address"):
        devices("openvino", {"target": "ssh://one"}, "0,1")


@pytest.mark.slow
def test_a_study_is_searched_on_two_targets(tmp_path: Path) -> None:
    searched = study(tmp_path, "local:", other(tmp_path / "second"))
    assert searched.search("3")
    assert all(record.state == "complete" for record in searched.trials())
    starts = (tmp_path / "second" / "starts").read_text().split()
    assert len(starts) > 1  # the first is to see whether it is like the other
    assert TARGET not in os.environ, "the next search of this process may be on another"


@pytest.mark.slow
def test_a_target_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "BETWEEN_TRIES_SECONDS", 0.1)
    address, down, said = other(tmp_path / "second"), tmp_path / "second" / "down", list[str]()
    python = tmp_path / "second" / "python"
    python.write_text(python.read_text().replace("\n", f"\n[ ! -e {down} ] || kill -9 $$\n", 1))
    section = study(tmp_path, address).spec.backend
    down.touch()
    with pytest.raises(BackendError, match="was cut while the agent started"):
        reach(section, said.append, at_once=True)
    assert not said

    def say(words: str) -> None:
        said.append(words)
        down.unlink()

    assert reach(section, say).fingerprint().version
    assert [words.partition(":")[0] for words in said] == ["waiting for the target"]


@pytest.mark.slow
def test_targets_that_are_not_alike_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"power mode 15W, and local: is .* `autoprec compare`"):
        study(tmp_path, "local:", other(tmp_path / "board", "15W")).search("1")
