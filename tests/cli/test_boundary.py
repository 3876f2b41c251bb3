"""Whatever escapes from a command ends as one line, with an exit code that says whose fault it is."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from autoprec.cli import main
from autoprec.errors import cannot
from autoprec.study import Study
from command_line import autoprec
from tiny_study import write_model, write_searched

MAKE = "make it writable"


def run(
    capsys: pytest.CaptureFixture[str], error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> tuple[object, str]:
    """Exit code and last words of a command in which `error` is raised."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Study, "find", fail)
    with pytest.raises(SystemExit) as end:
        main(["blocks", "--study", "demo"])
    return end.value.code, capsys.readouterr().err


LOSING = """
import signal, sys, time, weakref
from autoprec.cli._boundary import hearing_interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)  # where it is ignored, as in the background
class Thing: ...
def interrupt(_): raise KeyboardInterrupt
thing = Thing()
reference = weakref.ref(thing, interrupt)
with hearing_interrupts():
    try:
        del thing
        time.sleep(30)
    except KeyboardInterrupt:
        sys.exit(7)
"""


DEAF = """
import signal, subprocess, sys
from autoprec.cli import main
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as of a daemon that starts it
try: main(["--version"])
except SystemExit as end: assert not end.code
sys.exit(subprocess.call([sys.executable, "-c", "raise SystemExit(3)"]))
"""


def test_an_interrupt_in_a_callback_of_the_garbage_collector_is_not_lost() -> None:
    ended = subprocess.run([sys.executable, "-c", LOSING], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (7, "")


def test_a_fault_of_autoprec_is_told_with_its_place_and_its_details_hold_nothing_of_the_users(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, words = run(capsys, KeyError("a secret name"), monkeypatch)
    assert code == 70
    assert words.count("\n") == 1
    assert re.match(
        r"autoprec: internal error: KeyError: 'a secret name' \(autoprec/cli/\w+.py:\d+ in", words
    )
    details = Path(words.split("details in ")[1].strip())
    text = details.read_text()
    details.unlink()
    assert "builtins.KeyError" in text
    assert re.search(r"^numpy \d", text, re.MULTILINE)
    assert "secret" not in text
    assert str(Path.home()) not in text


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space there, and run it again"),
        (errno.EFBIG, "raise the limit with `ulimit -f`, and run it again"),
        (errno.EACCES, "fix that, and run it again"),
        (errno.EROFS, "fix that, and run it again"),
        (errno.EIO, "check the disk, and run it again"),
        (errno.EISDIR, "move away what lies there, and run it again"),
        (errno.ELOOP, "remove the link: none is followed there"),
    ],
)
def test_what_the_machine_refuses_is_the_users_to_mend(
    number: int, advice: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = OSError(number, os.strerror(number), "/here")
    code, words = run(capsys, refused, monkeypatch)
    assert code == 2
    assert words == f"autoprec: /here: {os.strerror(number)}; {advice}; what was finished is kept\n"
    told = cannot("/here", refused)
    assert told == f"/here: cannot be written ({os.strerror(number)}); {advice.replace('fix that', MAKE)}"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (ImportError("x.so: failed to map segment from shared object"), "out of memory"),
        (ImportError("x.so: cannot open shared object file: Too many open files"), "ulimit -n"),
        (RuntimeError("can't start new thread"), "no further thread or process can start"),
        (RuntimeError("plugin.cpp:921: Resource temporarily unavailable"), "no further thread or process"),
        (BlockingIOError(11, "Resource temporarily unavailable"), "no further thread or process can start"),
        (RuntimeError("std::bad_alloc"), "out of memory"),
    ],
)
def test_limits_that_libraries_meet_are_the_users_to_mend(
    error: Exception, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, words = run(capsys, error, monkeypatch)
    assert code == 2
    assert says in words


def test_a_command_hears_how_its_children_end_whoever_started_it() -> None:
    ended = subprocess.run([sys.executable, "-c", DEAF], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (3, "")


def test_too_little_memory_to_load_libraries_is_refused() -> None:
    words = f"ulimit -v 200000; exec {sys.executable} -m autoprec --version"
    ran = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.startswith("autoprec: the shell allows 195 MiB of address space")


def test_a_name_in_a_message_steers_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, words = run(capsys, OSError(2, "gone", "\x1b]0;owned\x07\u202e\x9b2J😀"), monkeypatch)
    assert words.startswith(r"autoprec: \x1b]0;owned\x07\u202e\x9b2J😀: gone")


def test_what_libraries_say_of_a_model_steers_no_terminal(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = onnx.load(write_model(tmp_path / "tiny.onnx"))
    model.graph.output[0].name = "\x1b[2J"
    onnx.save(model, tmp_path / "tiny.onnx")
    with pytest.raises(SystemExit) as end:
        main(["init", str(tmp_path / "tiny.onnx")])
    words = capfd.readouterr().err
    assert end.value.code == 2
    assert words.count("\n") == 1
    assert "\x1b" not in words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("front --nope", "autoprec front: no such option: --nope (see `autoprec front --help`)"),
        ("serch", "autoprec: no such command 'serch'. Did you mean 'search'? (see `autoprec --help`)"),
        ("show", "autoprec show: missing argument 'TRIAL' (see `autoprec show --help`)"),
        ("trials --state done", "autoprec trials: invalid value for --state: takes one of: complete, failed"),
        ("search --quiet --json", "autoprec search: invalid value for --quiet, --json: choose one of these"),
    ],
)
def test_an_error_of_usage_is_one_line(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words.split())
    told = capsys.readouterr().err
    assert end.value.code == 2
    assert told.startswith(said)
    assert told.count("\n") == 1


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
    assert "Usage: autoprec" in capsys.readouterr().out


def test_what_is_not_confirmed_is_not_done(tmp_path: Path) -> None:
    write_searched(tmp_path / "studies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.StringIO("n\n"))
        declined = autoprec("delete", "tiny", folder=tmp_path)
    assert declined.returncode == 130
    assert declined.stderr.endswith("autoprec: nothing was changed\n")
    assert autoprec("trials", "--study", "tiny", folder=tmp_path).returncode == 0


INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # where it is ignored, as in the background
def interrupt(): os.kill(os.getpid(), signal.SIGINT)
class Interrupting:
    def find_spec(self, name, *_):
        if name == sys.argv[1]: interrupt()
sys.meta_path.insert(0, Interrupting())
from autoprec.cli import main
if sys.argv[1] == "the end":
    import threading; threading._register_atexit(interrupt)
sys.argv[1:] = ["--version"]
main()
"""


@pytest.mark.parametrize("moment", ["typer", "autoprec.cli.report", "the end"])
def test_ctrl_c_before_a_command_and_after_it_ends_without_a_traceback(moment: str) -> None:
    words = [sys.executable, "-c", INTERRUPTED, moment]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


def test_ctrl_c_while_a_command_is_looked_up_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("typer.main.get_command", interrupted)
    with pytest.raises(SystemExit) as end:
        main(["blocks"])
    assert (end.value.code, capsys.readouterr().err) == (130, "autoprec: interrupted\n")
