"""The store keeps what was finished, whatever happens."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from autoprec.errors import StudyError
from autoprec.records import Reference
from autoprec.store import Store
from store_places import rows
from trial_records import BLOCKS, ENGINE, IDENTITY, complete, failed, running


@pytest.fixture
def store(where: Path | str) -> Iterator[Store]:
    with Store.open(where) as opened:
        opened.bind("demo", IDENTITY, BLOCKS)
        yield opened


def test_what_is_written_is_read_back_unchanged(store: Store, where: Path | str) -> None:
    reference = Reference(
        precision="fp16", model_digest="r", latency_ms=10, latency_noise=0.01, loss_noise=0, float_loss=0.001
    )
    trial = complete(0, 5.0, 0.01)
    store.put_reference("demo", reference)
    store.finish(trial)
    with Store.open(where, read_only=True) as other:
        assert other.trials("demo") == (trial,) == (other.trial("demo", 0),)
        assert (other.identity("demo"), other.blocks("demo")) == (IDENTITY, BLOCKS)
        assert (other.reference("demo"), other.studies()) == (reference, ("demo",))


def test_binding_again_keeps_the_reference(store: Store) -> None:
    reference = Reference(
        precision="fp16", model_digest="r", latency_ms=10, latency_noise=0, loss_noise=0, float_loss=0
    )
    store.put_reference("demo", reference)
    store.bind("demo", IDENTITY, BLOCKS)
    assert store.reference("demo") == reference


def test_a_trial_that_began_is_running_until_it_is_finished(store: Store) -> None:
    store.begin(running(3))
    assert [trial.number for trial in store.running("demo")] == [3]
    store.finish(failed(3))
    assert store.running("demo") == ()
    assert store.trial("demo", 3).failure == failed(3).failure


def test_a_finished_trial_is_never_overwritten(store: Store) -> None:
    store.finish(complete(0, 5.0, 0.01))
    for again in (store.begin, store.finish):
        with pytest.raises(StudyError, match="trial 0 of 'demo' is finished already"):
            again(failed(0))
    assert store.trials("demo") == (complete(0, 5.0, 0.01),)


def test_nan_and_infinity_survive_and_stay_off_the_front(store: Store) -> None:
    store.finish(complete(0, math.nan, 0.01))
    store.finish(complete(1, 5.0, math.inf, choices="fp16 fp16"))
    assert math.isnan(store.trial("demo", 0).latency_ms)
    assert store.trial("demo", 1).loss == math.inf
    assert store.front("demo") == ()


def test_choices_are_there_for_sql(store: Store, where: Path | str) -> None:
    store.begin(running(0, choices="int8 fp16"))
    store.finish(complete(0, 5.0, 0.01, choices="int8 fp16"))
    result_rows = rows(where, "SELECT block, precision FROM autoprec_choices WHERE number = 0")
    assert sorted(map(str, result_rows)) == ["('neck', 'fp16')", "('stem', 'int8')"]


def test_facts_are_replaced_and_read_as_what_they_were(store: Store) -> None:
    store.put_fact("demo", "legality", "conv", {"int8": False})
    store.put_fact("demo", "legality", "conv", {"int8": True})
    store.put_fact("demo", "sensitivity", "stem", 0.5)
    assert store.fact("demo", "legality", "conv", dict[str, bool]) == {"int8": True}
    assert store.facts("demo", "sensitivity", float) == {"stem": 0.5}
    assert store.fact("demo", "legality", "gemm", dict[str, bool]) is None


def test_nights_are_kept_in_order_and_a_killed_one_has_no_end(store: Store) -> None:
    first = store.begin_run("demo", "50")
    store.end_run(first, 12)
    store.begin_run("demo", "8h")
    finished, killed = store.runs("demo")
    assert (finished.budget, finished.trials, finished.end >= finished.start) == ("50", 12, True)
    assert (killed.budget, killed.trials, killed.end) == ("8h", 0, "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "m2"}, r"the model \(m1 before, m2 now\)"),
        ({"samples": "s2"}, r"the samples \(s1 before, s2 now\)"),
        ({"spec": "d2"}, r"the definition \(d1 before, d2 now\)"),
        (
            {"fingerprint": msgspec.structs.replace(ENGINE, version="2027.0")},
            r"the engine's version \(2026\.4\.1 before, 2027\.0 now\)",
        ),
    ],
)
def test_binding_to_other_inputs_names_what_differs(
    store: Store, change: dict[str, object], words: str
) -> None:
    with pytest.raises(StudyError, match=words) as caught:
        store.bind("demo", msgspec.structs.replace(IDENTITY, **change), BLOCKS)
    assert "--study NAME" in str(caught.value)
    assert store.identity("demo") == IDENTITY


def test_other_blocks_are_named(store: Store) -> None:
    renamed = (BLOCKS[0], msgspec.structs.replace(BLOCKS[1], name="head"))
    with pytest.raises(StudyError, match="gone: neck, new: head"):
        store.bind("demo", msgspec.structs.replace(IDENTITY, blocks="b2"), renamed)


def test_an_unknown_study_or_trial_is_named_with_what_there_is(store: Store) -> None:
    with pytest.raises(StudyError, match="no study 'other'; it holds: demo"):
        store.identity("other")
    with pytest.raises(StudyError, match="no trial 7; it has none yet"):
        store.trial("demo", 7)


def test_killing_the_process_loses_nothing_that_was_finished(where: Path | str) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from trial_records import *\n"
        "from autoprec.store import Store\n"
        "where = sys.argv[1] if ':' in sys.argv[1] else Path(sys.argv[1])\n"
        "store = Store.open(where); store.bind('demo', IDENTITY, BLOCKS)\n"
        "for n in range(5): store.finish(complete(n, 5 - n, n, choices=f'int8 x{n}'))\n"
        "store.begin(running(5)); os.kill(os.getpid(), signal.SIGKILL)"
    )
    places = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "kit")}
    died = subprocess.run([sys.executable, "-c", script, where], env=places, check=False)
    assert died.returncode == -signal.SIGKILL
    with Store.open(where) as store:
        assert [trial.number for trial in store.front("demo")] == [4, 3, 2, 1, 0]
        assert [trial.number for trial in store.running("demo")] == [5]
    if isinstance(where, Path):
        assert rows(where, "PRAGMA integrity_check") == [("ok",)]


def test_two_studies_in_one_database_know_nothing_of_each_other(store: Store) -> None:
    store.bind("other", IDENTITY, BLOCKS[:1])
    theirs = msgspec.structs.replace(complete(0, 1.0, 0.0, choices="fp16 fp16"), study="other")
    first, begun = store.begin_run("demo", "1"), msgspec.structs.replace(running(1), study="other")
    store.begin_run("other", "2")
    store.finish(theirs)
    store.begin(begun)
    for trial in (complete(0, 5.0, 0.1), complete(1, 4.0, 0.2, choices="int8 int8")):
        store.finish(trial)
    store.put_fact("other", "sensitivity", "stem", 0.5)
    store.end_run(first, 2)
    assert (store.studies(), len(store.blocks("other"))) == (("demo", "other"), 1)
    assert [trial.number for trial in store.trials("demo")] == [0, 1]
    assert (store.front("other"), store.running("other"), store.running("demo")) == ((theirs,), (begun,), ())
    news = (*store.news("demo", 0, ()), *store.news("demo", 1, (0,)))
    assert [(trial.study, trial.number) for trial in news] == [("demo", 1), ("demo", 0)]
    assert store.facts("demo", "sensitivity", float) == {}
    assert [(run.budget, run.trials, run.first) for run in store.runs("demo")] == [("1", 2, 0)]
    with pytest.raises(StudyError, match="has no trial 2; they go up to 1"):
        store.trial("other", 2)
    store.remove("demo")
    assert (store.studies(), store.trials("other"), len(store.runs("other"))) == (
        ("other",),
        (theirs, begun),
        1,
    )


def test_rebuilding_from_other_inputs_is_refused_and_on_another_engine_is_not(store: Store) -> None:
    engine = msgspec.structs.replace(ENGINE, device="another")
    store.check("demo", msgspec.structs.replace(IDENTITY, fingerprint=engine), BLOCKS)
    with pytest.raises(StudyError, match="its trials cannot be rebuilt from another"):
        store.check("demo", msgspec.structs.replace(IDENTITY, model="m2"), BLOCKS)


def test_what_a_study_found_out_of_its_engine_is_there_once_it_is_bound(store: Store) -> None:
    assert store.basis("demo") == IDENTITY.basis
    assert store.basis("other") is None


def test_a_ctrl_c_while_a_connection_closes_prints_no_traceback(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from autoprec.store import Store\n"
        "store = Store.open(Path(sys.argv[1]))\n"
        "def stopped(*_): raise KeyboardInterrupt\n"
        "store._database._dialect.reader.dialect.do_close = stopped\n"
        "try: store.close()\n"
        "except KeyboardInterrupt: print('stopped')"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "study.db")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("stopped\n", "")
