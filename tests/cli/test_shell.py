"""Before a command does anything: which study it takes, and what TAB offers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autoprec import Study
from autoprec.cli.export import TARGETS
from autoprec.exporters import EXPORTERS
from command_line import autoprec
from tiny_study import write_model, write_samples, write_study


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """A folder with the default study `tiny` in `studies/`, and what a second one needs."""
    (tmp_path / "studies").mkdir()
    path = write_study(tmp_path / "studies")
    path.write_text("# of the clone\ndefault = true  # try it\n" + path.read_text())
    write_model(tmp_path / "mine.onnx")
    for name, seed in (("a", 1), ("b", 2)):
        write_samples(tmp_path / name, seed=seed)
    return tmp_path


def test_a_command_says_which_study_it_takes_where_none_is_named(studies: Path) -> None:
    told = autoprec("blocks", folder=studies)
    assert told.stderr == "study tiny (studies/tiny.toml, the only one in studies/)\n"
    assert "study" not in told.stdout
    assert autoprec("blocks", "--study", "tiny", folder=studies).stderr == ""
    quiet = autoprec("blocks", "--json", folder=studies)
    assert quiet.stderr == ""
    json.loads(quiet.stdout)


def test_init_makes_the_new_study_the_default_one(studies: Path) -> None:
    words = ("init", "mine.onnx", "--calibration", "a", "--evaluation", "b")
    assert "mine is the default study now, in place of tiny" in autoprec(*words, folder=studies).stderr
    assert "# of the clone" in (studies / "studies" / "tiny.toml").read_text()
    told = autoprec("blocks", folder=studies).stderr
    assert told == "study mine (studies/mine.toml, the default; --study names another)\n"


def test_the_next_command_can_be_pasted_whatever_the_model_is_called(studies: Path) -> None:
    (studies / "mine.onnx").rename(studies / "my model.v2.onnx")
    words = ("init", "my model.v2.onnx", "--calibration", "a", "--evaluation", "b")
    assert "autoprec search --study 'my model.v2'\n" in autoprec(*words, folder=studies).stdout


def test_init_leaves_the_default_where_that_is_asked_for(studies: Path) -> None:
    words = ("init", "mine.onnx", "--calibration", "a", "--evaluation", "b", "--no-default")
    before = (studies / "studies" / "tiny.toml").read_text()
    assert autoprec(*words, folder=studies).returncode == 0
    assert (studies / "studies" / "tiny.toml").read_text() == before
    assert autoprec("blocks", folder=studies).stderr.startswith("study tiny ")


def test_two_defaults_are_refused(studies: Path) -> None:
    path = studies / "studies" / "tiny.toml"
    path.with_name("other.toml").write_text(path.read_text())
    told = autoprec("blocks", folder=studies)
    assert told.returncode == 2
    assert (
        "`default = true` in 2 definitions: name one with --study (other, tiny), or leave it in one"
        in told.stderr
    )


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("front --study t", ["tiny"]),
        ("search --study ", ["tiny"]),
        ("export --pick k", ["knee"]),
        ("export --to op", ["openvino"]),
    ],
)
def test_tab_completes_what_an_option_takes(studies: Path, words: str, offered: list[str]) -> None:
    asked = {"_AUTOPREC_COMPLETE": "complete_bash", "COMP_WORDS": f"autoprec {words}"}
    asked["COMP_CWORD"] = str(len(f"autoprec {words}".split(" ")) - 1)
    # bash runs the command `autoprec`, and so its name.
    code = "import sys; sys.argv = ['autoprec']; from autoprec.cli import main; main()"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=studies, env=os.environ | asked, capture_output=True, text=True
    )
    assert process.stdout.split() == offered, process.stderr


def test_every_target_of_an_export_is_offered() -> None:
    assert tuple(EXPORTERS) == TARGETS


@pytest.mark.slow
def test_ctrl_c_ends_the_dashboard_without_a_traceback(studies: Path) -> None:
    (studies / "bin").mkdir()
    program = studies / "bin" / "optuna-dashboard"
    program.write_text(f"#!{sys.executable}\nimport time\nprint('listening', flush=True)\ntime.sleep(60)\n")
    program.chmod(0o755)
    Study.load(studies / "studies" / "tiny.toml").search("1")
    code = (  # SIGINT is ignored in what a shell runs in the background
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "sys.executable = 'python'; from autoprec.cli import main; main(['dashboard'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=studies,
        env=os.environ | {"PATH": str(studies / "bin")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "listening\n"
        os.killpg(running.pid, signal.SIGINT)  # as a terminal sends it to all that it runs
        _, errors = running.communicate()
    assert running.returncode == 0
    assert "Traceback" not in errors
