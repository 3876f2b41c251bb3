"""Engines on a target compute and read as engines here; what goes wrong on the line is told by its kind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from autoprec import Study, verify_export
from autoprec.backends import create_backend, run
from autoprec.backends.target import TargetBackend
from autoprec.backends.target.channel import Channel
from autoprec.backends.target.engine import TargetEngine
from autoprec.backends.target.models import split_model
from autoprec.backends.timing import pair
from autoprec.errors import BackendError, SpecError, TrialError
from autoprec.exporters import read_manifest
from autoprec.spec import TimingSection
from loopback_ssh import Server
from tiny_study import write_model, write_study

FEEDS = {"image": np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)}


def local(folder: Path, **options: str) -> TargetBackend:
    return TargetBackend({"engine": "openvino", "target": "local:", "target_folder": str(folder), **options})


def remote(server: Server, folder: Path) -> TargetBackend:
    import sys

    return local(
        folder, target=server.address, target_ssh_config=str(server.config), target_python=sys.executable
    )


def agents(folder: Path) -> list[int]:
    """Process numbers of the agents that keep their things in a folder."""
    collected = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:  # it ended meanwhile
            continue
        if len(words) > 2 and words[1].startswith(str(folder).encode()):
            collected.append(int(entry.name))
    return collected


def test_a_target_computes_what_this_machine_computes(tmp_path: Path) -> None:
    model = write_model(tmp_path / "tiny.onnx")
    with create_backend("openvino", {}).build(model) as here, local(tmp_path / "a").build(model) as there:
        np.testing.assert_allclose(run(there, FEEDS)["masks"], run(here, FEEDS)["masks"], atol=1e-5)
        assert {name for k in there.kernels() for name in k.nodes} == {
            name for k in here.kernels() for name in k.nodes
        }


def test_two_builds_over_the_line_are_as_fast_as_each_other(tmp_path: Path) -> None:
    model, backend = write_model(tmp_path / "tiny.onnx"), local(tmp_path / "a")
    with backend.build(model) as one, backend.build(model) as other:
        one.prepare(FEEDS)
        other.prepare(FEEDS)
        comparison = pair(
            one, other, backend, TimingSection(interval=0.5, seconds=2, minimum_rounds=20, warmup=1)
        )
    assert 0.5 < comparison.ratio < 2
    assert comparison.rounds >= 20


def test_a_second_candidate_sends_only_what_the_first_had_not(tmp_path: Path) -> None:
    one = split_model(write_model(tmp_path / "one.onnx"))
    other = split_model(write_model(tmp_path / "other.onnx", scale=2.0))
    assert b"".join(one.blobs[part] for part in one.order) == (tmp_path / "one.onnx").read_bytes()
    assert len(set(other.blobs) - set(one.blobs)) == 1  # the weights of `a`
    assert len(set(other.blobs) & set(one.blobs)) == len(one.blobs) - 1


def test_an_agent_that_dies_is_a_crash_of_the_trial(tmp_path: Path) -> None:
    backend = local(tmp_path / "a")
    engine = backend.build(write_model(tmp_path / "tiny.onnx"))
    for number in agents(tmp_path / "a"):
        os.kill(number, signal.SIGSEGV)
    with pytest.raises(TrialError, match="died") as told:
        run(engine, FEEDS)
    assert told.value.kind == "crash"
    engine.close()


def test_a_model_that_the_engine_refuses_is_a_build_failure(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(TrialError) as told:
        local(tmp_path / "a").build(tmp_path / "no.onnx")
    assert told.value.kind == "build"


def test_clean_leaves_nothing_behind(tmp_path: Path) -> None:
    backend = local(tmp_path / "a")
    backend.build(write_model(tmp_path / "tiny.onnx")).close()
    backend.close()
    assert backend.clean() > 1000
    assert not (tmp_path / "a").exists()


def test_a_target_tells_of_its_machine(tmp_path: Path) -> None:
    names = [check.name for check in local(tmp_path / "a").checks()]
    assert names == ["target", "its machine", "its python", "its disk"]


@pytest.mark.parametrize(
    "address", ["ssh://-oProxyCommand=x@h", "ssh://h:99999", "ssh://u:secret@h", "http://h", "h", "ssh://"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(SpecError, match="target"):
        TargetBackend({"engine": "openvino", "target": address})


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="no-such-python"):
        local(tmp_path / "a", target="local:/no-such-python").fingerprint()


def test_over_ssh_it_is_the_same(ssh_server: Server, tmp_path: Path) -> None:
    model = write_model(tmp_path / "tiny.onnx")
    backend = remote(ssh_server, tmp_path)
    with create_backend("openvino", {}).build(model) as here, backend.build(model) as there:
        assert isinstance(there, TargetEngine)
        np.testing.assert_allclose(run(there, FEEDS)["masks"], run(here, FEEDS)["masks"], atol=1e-5)


def test_an_unknown_host_key_is_never_accepted(ssh_server: Server, tmp_path: Path) -> None:
    hosts_file = ssh_server.known_hosts.read_text()
    ssh_server.known_hosts.write_text("")
    try:
        with pytest.raises(BackendError, match="accept its key once"):
            remote(ssh_server, tmp_path).fingerprint()
        assert not ssh_server.known_hosts.read_text()
    finally:
        ssh_server.known_hosts.write_text(hosts_file)


@pytest.mark.slow
def test_a_study_is_searched_on_a_target(ssh_server: Server, tmp_path: Path) -> None:
    import sys

    more = f"""
[target]
address = "{ssh_server.address}"
python = "{sys.executable}"
folder = "{tmp_path}/agent"
ssh_config = "{ssh_server.config}"
"""
    study = Study.load(write_study(tmp_path, more))
    assert study.search("2")
    assert all(record.state == "complete" for record in study.trials())
    assert (tmp_path / "agent" / "blobs").is_dir()
    exported = study.export(targets=["json"], examples=2)[-1].parent
    recipe = read_manifest(exported).recipe
    assert recipe is not None
    assert not [name for name in recipe.options if name.startswith("target")]
    checks = verify_export(exported, target=study.spec.target)
    assert [check.name for check in checks.checks] == ["files", "latency", "mask loss", "original"]
    assert not checks.note


@pytest.mark.parametrize("answer", [{}, {"missing": 5}, {"missing": [[]]}, {"missing": None}])
def test_an_answer_that_makes_no_sense_fails_the_trial(
    answer: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = local(tmp_path / "a")
    backend.fingerprint()
    monkeypatch.setattr(Channel, "ask", lambda *_, **__: (answer, []))
    with pytest.raises(TrialError, match="does not say what it lacks"):
        backend.build(write_model(tmp_path / "tiny.onnx"))


def test_a_size_that_no_disk_has_is_none(tmp_path: Path) -> None:
    backend = local(tmp_path / "a")
    backend.fingerprint()
    backend.facts["free_bytes"] = 10**400
    assert any(check.found == "0.0 GB free" for check in backend.checks())
