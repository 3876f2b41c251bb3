"""The command that spends a night: its settings, what it prints, its log, and when it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from autoprec import Study
from command_line import autoprec
from tiny_study import write_searched, write_study


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "studies").mkdir()
    write_study(tmp_path / "studies")
    return tmp_path


def trials(folder: Path) -> int:
    return len(Study.find(folder / "studies" / "tiny.toml").trials())


def test_settings_come_from_the_command_line_and_events_are_lines_of_json(work: Path) -> None:
    words = "search --budget 4 --seed 7 --strategy tpe --precisions fp32,int8 --json-lines --device 0"
    told = autoprec(*words.replace(" --device 0", "").split(), folder=work)
    assert told.returncode == 0, told.stderr
    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert {"start", "begin", "stage", "end", "reference", "front"} <= {event["event"] for event in events}
    ended = [event["trial"] for event in events if event["event"] == "end"]
    used = {precision for trial in ended for _, precision in trial["assignment"]["choices"]}
    assert (len(ended), used) == (4, {"fp32", "int8"})
    assert events[-1]["front"]
    (log,) = (work / "studies" / "tiny" / "logs").glob("*.log")
    text = log.read_text()
    assert "INFO trial 3: " in text
    assert "DEBUG trial 3 begins" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "--strategy lucky",
            "--strategy: Invalid enum value 'lucky'; the key `search.strategy` takes one of",
        ),
        ("--precisions fp32,fp12", "unknown precision 'fp12'"),
        ("--precisions fp32,fp32", "names a precision twice"),
        ("--seed -1", "--seed: Expected `int` >= 0"),
        ("--accepted-loss 0", "--accepted-loss: "),
        ("-v --json", "choose one of these"),
        ("--target-speedup fast", "valid number"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_runs(work: Path, words: str, says: str) -> None:
    told = autoprec("search", *words.split(), folder=work)
    assert told.returncode == 2
    assert says in " ".join(told.stderr.split())
    assert not (work / "studies" / "tiny").exists()


def test_a_dry_run_shows_what_comes_first_and_writes_nothing(work: Path) -> None:
    told = autoprec("search", "--dry-run", "--precisions", "fp32,int8", folder=work)
    assert "8 assignments (3 blocks with a choice)" in told.stdout
    assert "all-int8" in told.stdout
    assert "timing takes at most 0.05 s" in " ".join(told.stdout.split())
    timed = autoprec("search", "--dry-run", "--budget", "8h", folder=work).stdout
    assert "time: 8 h 00 min, the budget" in " ".join(timed.split())
    assert not (work / "studies" / "tiny").exists()
    write_searched(work / "studies")
    before = trials(work)
    listing = json.loads(autoprec("search", "--dry-run", "--json", "--budget", "6", folder=work).stdout)
    assert {one["origin"] for one in listing["first"]} == {"search"}
    assert listing["seconds"] == pytest.approx(6 * listing["trial_seconds"])
    assert trials(work) == before


def test_quiet_is_quiet_and_verbose_is_the_log(work: Path) -> None:
    quiet = autoprec("search", "--budget", "1", "-q", folder=work)
    assert quiet.stderr == ""
    assert "trial 0: " not in quiet.stdout
    verbose = autoprec("search", "--budget", "1", "-v", folder=work)
    assert "INFO trial 1: " in verbose.stderr
    front = autoprec("search", "--budget", "1", "--json", folder=work)
    assert json.loads(front.stdout)[0]["state"] == "complete"


def test_a_command_that_was_typed_runs_at_the_end(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    note = work / "note.txt"
    code = "import os; print(os.environ['AUTOPREC_END'], os.environ['AUTOPREC_TRIALS'], "
    code += "file=open('note.txt', 'w')); print('heard')"
    (work / "note.py").write_text(code)
    words = ("--budget", "1", "-q", "--notify", f"{sys.executable} note.py")
    assert autoprec("search", *words, folder=work).returncode == 0
    assert note.read_text() == "done 1\n"
    assert capfd.readouterr() == ("", "heard\n"), "stdout is for the search's own JSON"
    told = autoprec("search", "--budget", "1", "-q", "--notify", "no-such-program now", folder=work)
    assert told.returncode == 0, "the search is what counts"
    assert "--notify could not run" in told.stderr


@pytest.mark.parametrize(
    "rule", [pytest.param("--patience 1", marks=pytest.mark.slow), "--target-speedup 0.01"]
)
def test_a_rule_ends_a_search_before_its_budget(work: Path, rule: str) -> None:
    told = autoprec("search", "--budget", "40", "-q", *rule.split(), folder=work)
    assert told.returncode == 0, told.stderr
    done = trials(work)
    assert done < 40
    assert autoprec("search", "--budget", "40", "-q", *rule.split(), folder=work).returncode == 0
    assert trials(work) > done, "that run was over: this is another one"


def test_an_export_is_told_as_json(work: Path) -> None:
    write_searched(work / "studies")
    told = autoprec("export", "out", "--trial", "0", "--examples", "0", "--json", folder=work)
    listing = json.loads(told.stdout)
    assert (listing["folder"], listing["manifest"]["number"]) == ("out", 0)
    assert all((work / file).is_file() for file in listing["files"])
