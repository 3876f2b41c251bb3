"""Records which lines of a folder a process and its children run.

Python imports this file at startup if `PYTHONPATH` leads to it, so child processes are recorded too. Before
Python 3.12 there is no `sys.monitoring`, and nothing is recorded.
"""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path
from types import CodeType
from typing import Any


def trace(folder: str, output: Path) -> None:
    """When the process ends, write `path:line` of all executed lines below `folder` into `output`."""
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring is None:
        return
    seen: set[tuple[str, int]] = set()

    def see(code: CodeType, line: int) -> object:
        if code.co_filename.startswith(folder):
            seen.add((code.co_filename, line))
        # Disabled once seen, so that a run takes hardly longer.
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
