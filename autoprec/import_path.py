"""Imported before all else: no module comes from the current folder, which may hold what anybody sent.

An empty entry of `PYTHONPATH`, as `export PYTHONPATH=$PYTHONPATH:/my/modules` leaves one, means that folder.
"""

import os
import sys


def forget_empty_entries() -> None:
    """Take what the empty entries of `PYTHONPATH` name from this process' path, and from its children's."""
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    named = [entry for entry in entries if entry]
    if not named or len(named) == len(entries):
        return
    os.environ["PYTHONPATH"] = os.pathsep.join(named)
    here = os.getcwd()  # noqa: PTH109 - `pathlib` might be somebody's, too
    if here in sys.path and here not in map(os.path.abspath, named):
        sys.path.remove(here)


forget_empty_entries()
