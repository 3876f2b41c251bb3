"""What the worker could not foresee: told as what it is, never as a candidate's fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from warm_workers import RUN_FIRST

from autoprec.errors import TrialError, UserError
from autoprec.legality.pieces import Question
from autoprec.measurement import Bench, Probe
from autoprec.spec import BackendSection

FAULT = """
import os, signal
import autoprec.legality.probe as probe
from autoprec.errors import TrialError
def fault(*_):
    FLAG = {flag!r}
    {body}
probe.try_question = fault
"""
QUESTION = Question(
    pattern="matmul_weight",
    precision="int8",
    model_path="",
    exact_path="",
    asked="i8",
    deciding=(),
    digest="",
)
PROBE = Probe(backend=BackendSection(name="openvino"), question=QUESTION)


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Bench]]:
    """A bench whose worker runs some lines in place of a probe."""
    opened = []

    def make(body: str) -> Bench:
        (tmp_path / "fault.py").write_text(FAULT.format(flag=str(tmp_path / "flag"), body=body))
        monkeypatch.setenv(RUN_FIRST, str(tmp_path / "fault.py"))
        opened.append(Bench(tmp_path / "worker.log"))
        return opened[-1]

    yield make
    for bench in opened:
        bench.__exit__(None, None, None)


def test_an_exception_in_the_worker_is_an_internal_error_with_its_place(
    faulty: Callable[[str], Bench],
) -> None:
    with pytest.raises(TrialError, match=r"KeyError: 'FLOAT8E5M2', at .*; .* please report it") as caught:
        faulty("raise KeyError('FLOAT8E5M2')").probe(PROBE)
    assert caught.value.kind == "internal"


def test_a_full_disk_in_the_worker_is_the_users_to_mend(faulty: Callable[[str], Bench]) -> None:
    with pytest.raises(UserError, match="No space left on device; free some space there"):
        faulty("raise OSError(28, os.strerror(28), 'here')").probe(PROBE)


@pytest.mark.slow
def test_a_worker_that_was_killed_gets_one_more_try(faulty: Callable[[str], Bench], tmp_path: Path) -> None:
    once = "seen = os.path.exists(FLAG); open(FLAG, 'w').close(); "
    killed = "os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(TrialError) as second:
        faulty(f"{once}\n    if not seen: {killed}\n    raise TrialError('timeout', 'slow')").probe(PROBE)
    assert second.value.kind == "timeout"
    with pytest.raises(TrialError, match="killed from outside") as caught:
        faulty(killed).probe(PROBE)
    assert caught.value.kind == "killed"


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGUSR1"])
def test_one_crash_says_nothing_and_a_second_one_is_the_answer(
    faulty: Callable[[str], Bench], tmp_path: Path, name: str
) -> None:
    once = "seen = os.path.exists(FLAG); open(FLAG, 'w').close(); "
    crash = f"os.kill(os.getpid(), signal.{name})"
    with pytest.raises(TrialError, match="slow") as second:
        faulty(f"{once}\n    if not seen: {crash}\n    raise TrialError('timeout', 'slow')").probe(PROBE)
    assert second.value.kind == "timeout"
    verdict = faulty(crash).probe(PROBE)
    assert (verdict.state, name in verdict.reason) == ("refused", True)


def test_an_engine_that_does_not_open_ahead_is_told_with_the_first_request(tmp_path: Path) -> None:
    section = BackendSection(name="openvino", options={"no_such_option": 1})
    with Bench(tmp_path / "worker.log") as bench:
        bench.reach(section)
        with pytest.raises(UserError, match="no_such_option"):
            bench.probe(Probe(backend=section, question=QUESTION))


def test_an_engine_that_dies_as_it_opens_is_told_with_the_first_request(
    faulty: Callable[[str], Bench],
) -> None:
    bench = faulty("os.kill(os.getpid(), signal.SIGSEGV)")
    bench.reach(PROBE.backend)
    assert "SIGSEGV" in bench.probe(PROBE).reason


def test_a_worker_that_dies_is_not_waited_for_because_a_child_of_its_holds_the_pipe(
    faulty: Callable[[str], Bench],
) -> None:
    probe = msgspec.structs.replace(PROBE, backend=BackendSection(name="openvino", trial_seconds=30))
    body = "os.fork() or signal.pause(); os.kill(os.getpid(), signal.SIGSEGV)"
    assert "SIGSEGV" in faulty(body).probe(probe).reason
