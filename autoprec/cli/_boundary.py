"""Where all errors of commands end: in one line and an exit code, never in a traceback."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import platform
import select
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import typer

from autoprec.cli import _parts as parts
from autoprec.cli._app import EXIT_INTERNAL, EXIT_READER_GONE, EXIT_STOPPED, EXIT_USER_ERROR, tell
from autoprec.errors import AutoprecError, InternalError, TrialError, machine_fault, place_of, traceback_of

_PACKAGES = ("autoprec", "numpy", "onnx", "onnx-ir", "optuna", "sqlalchemy")
_AGAIN_SECONDS = 0.05
"""Long enough for the destructor to end: a signal sent at once would be raised within it, and lost as
well."""


def fill_closed_streams() -> None:
    """Put `/dev/null` in the place of standard streams that are closed.

    Questions are then declined, and no file gets a number that libraries print to.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w" if number else "r", encoding="utf-8"))  # noqa: SIM115


def hear_of_children() -> None:
    """Learn how a child ended, also where whoever started this process has it ignore SIGCHLD, as some daemons
    do: a crash would look like a good end."""
    with contextlib.suppress(ValueError):  # only the main thread may
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def print_everything() -> None:
    """Let standard output print what its encoding lacks, if only as `\\u2248`, which is JSON as well."""
    codecs.register_error("autoprec", _spelt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        with contextlib.suppress(OSError):  # of a descriptor that was a file when the stream was opened
            sys.stdout.reconfigure(errors="autoprec")


def _spelt(error: UnicodeError) -> tuple[str, int]:
    """What a codec puts in the place of the characters that it cannot encode."""
    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


@contextlib.contextmanager
def hearing_interrupts() -> Iterator[None]:
    """Let no Ctrl-C get lost in the block."""
    # Python prints and forgets exceptions in destructors and callbacks of the garbage collector. A Ctrl-C
    # that lands in one is therefore sent again.
    report, main_thread = sys.unraisablehook, threading.main_thread().ident or 0

    def hear(lost: sys.UnraisableHookArgs) -> None:
        if lost.exc_type is KeyboardInterrupt:
            again = threading.Timer(_AGAIN_SECONDS, signal.pthread_kill, (main_thread, signal.SIGINT))
            again.daemon = True
            again.start()
        else:
            report(lost)

    sys.unraisablehook = hear
    try:
        yield
    finally:
        sys.unraisablehook = report


@contextlib.contextmanager
def minding_readers() -> Iterator[None]:
    """Typer exits with 1 where the reader of the output is gone: what it says of that is let through."""
    try:
        yield
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        raise


def exit_code(error: Exception | KeyboardInterrupt) -> int:
    """Report what ended a command, in one line; returns the command's exit code."""
    try:
        return _told(error)
    except BrokenPipeError:  # a user's mistake that nobody reads of
        _let_go_of_closed_streams()
        return EXIT_READER_GONE
    except OSError:  # standard error is a file on a full disk: nobody can be told
        return EXIT_USER_ERROR
    finally:
        _let_go_of_full_streams()


def _told(error: Exception | KeyboardInterrupt) -> int:
    if isinstance(error, BrokenPipeError) and _let_go_of_closed_streams():
        return EXIT_READER_GONE
    if isinstance(error, KeyboardInterrupt):  # before a command began; Typer makes an Abort of one in it
        tell("autoprec: interrupted")
        return EXIT_STOPPED
    if isinstance(error, typer.TyperException):
        tell(_usage(error))
        return EXIT_USER_ERROR
    if isinstance(error, typer.Abort):
        tell("autoprec: nothing was changed")
        return EXIT_STOPPED
    if isinstance(error, OSError) and _is_of_output(error):
        error.filename = "standard output"
    words = str(error) if isinstance(error, AutoprecError) else machine_fault(error)
    # Raised in a worker: its traceback is in the study's worker.log.
    is_ours = isinstance(error, InternalError) or (isinstance(error, TrialError) and error.kind == "internal")
    if words:
        tell(f"autoprec: {words}")
        return EXIT_INTERNAL if is_ours else EXIT_USER_ERROR
    tell(
        f"autoprec: internal error: {type(error).__name__}: {error} ({place_of(error)}): this is a bug in "
        f"autoprec, please report it; {_kept(error)}"
    )
    return EXIT_INTERNAL


def _let_go_of_closed_streams() -> bool:
    """Whether nobody reads one of our streams any longer, as when `| head` has seen enough; the interpreter,
    which flushes it at its end, must not try to write there again."""
    gone = False
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            waiting = select.poll()
            waiting.register(stream.fileno(), select.POLLOUT)
            if any(events & select.POLLERR for _, events in waiting.poll(0)):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
                gone = True
    return gone


def _let_go_of_full_streams() -> None:
    """What a full disk did not take is given up: the interpreter would try again at its end, and then exit
    with a code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except (ValueError, AttributeError):  # it is closed, or none
            continue


def _is_of_output(error: OSError) -> bool:
    """Whether an error came from printing."""
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)[-1:]]
    return any({"rich", "typer"} & set(file.parts) or file.parent == Path(__file__).parent for file in files)


def _usage(error: typer.TyperException) -> str:
    """What is wrong with the arguments of a command, and where they are described."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "autoprec"
    said = error.format_message()
    return f"{command}: {said[:1].lower()}{said[1:].rstrip('.')} (see `{command} --help`)"


def _kept(error: Exception) -> str:
    """Write versions and the traceback to a file, for a report; returns where it is.

    It contains no values of the user's.
    """
    lines = [f"python {platform.python_version()} on {platform.platform()}"]
    for name in (*_PACKAGES, *parts.PACKAGES):
        with contextlib.suppress(parts.PackageNotFoundError):
            lines.append(f"{name} {parts.version(name)}")
    try:
        descriptor, name = tempfile.mkstemp(prefix="autoprec-error-", suffix=".txt")
        os.close(descriptor)
        Path(name).write_text("\n".join([*lines, "", traceback_of(error)]), encoding="utf-8")
    except OSError as reason:
        return f"its details could not be written ({reason.strerror})"
    return f"details in {name}"
