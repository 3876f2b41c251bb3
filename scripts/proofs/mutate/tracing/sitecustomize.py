"""Which lines of a folder a process runs, and those that it starts: Python imports this file as it begins,
where `PYTHONPATH` leads to it.

Each line is seen once, so a run takes hardly longer. Before Python 3.12 there is no `sys.monitoring`: nothing
is seen then.
"""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path
from types import CodeType
from typing import Any


def trace(folder: str, output: Path) -> None:
    """Write `path:line` of all that runs below `folder` into a file of `output`, when the process ends."""
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring is None:
        return
    seen: set[tuple[str, int]] = set()

    def see(code: CodeType, line: int) -> object:
        if code.co_filename.startswith(folder):
            seen.add((code.co_filename, line))
        return monitoring.DISABLE

    def write() -> None:
        text = "".join(f"{name}:{line}\n" for name, line in seen)
        (output / f"{os.getpid()}.lines").write_text(text, encoding="utf-8")

    monitoring.use_tool_id(monitoring.COVERAGE_ID, "autoprec")
    monitoring.register_callback(monitoring.COVERAGE_ID, monitoring.events.LINE, see)
    monitoring.set_events(monitoring.COVERAGE_ID, monitoring.events.LINE)
    atexit.register(write)


if os.environ.get("AUTOPREC_LINES_TO"):
    trace(os.environ["AUTOPREC_LINES_OF"], Path(os.environ["AUTOPREC_LINES_TO"]))
