"""The command line: parse, call one public function, print. Exit code 2 for a user's mistake.

One module for each thing that commands are about; each adds its commands to the one application.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from autoprec import import_path  # isort: skip  # noqa: F401 - before whatever could be somebody else's
from autoprec.interrupts import end_at_once, ending_at_once

with ending_at_once():
    from autoprec.cli import demo, init, doctor, blocks, search, front, trials, trial, report, export  # isort: skip  # noqa: F401 - in the order of the help
    from autoprec.cli._app import app
    from autoprec.cli._boundary import (
        exit_code,
        fill_closed_streams,
        hear_of_children,
        hearing_interrupts,
        minding_readers,
        print_everything,
    )
    from autoprec.loading import ensure_memory, postpone, take_buffer


def main(words: Sequence[str] | None = None) -> None:
    """Entry point of `autoprec`: one line and exit code 2 for a mistake that the user can fix.

    Anything else that is raised is a fault of autoprec: one line, and 70. `words` stand in for the command
    line's. Ends in SystemExit.
    """
    try:
        try:
            _run(words)
        finally:  # what follows is the end: a traceback would be all that Ctrl-C adds
            if words is None:
                end_at_once()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - a traceback helps no user
        sys.exit(exit_code(error))


def _run(words: Sequence[str] | None) -> None:
    fill_closed_streams()
    hear_of_children()
    ensure_memory()
    postpone()
    take_buffer()
    print_everything()
    with hearing_interrupts(), minding_readers():
        code = app(words, prog_name="autoprec", standalone_mode=False) or 0  # usage errors too
        sys.stdout.flush()
        sys.exit(code)


__all__ = ["app", "main"]
