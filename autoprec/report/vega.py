"""Vega in a process of its own.

Its library is written in Rust, which aborts the whole process when memory runs out: no exception reaches
Python.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import msgspec

from autoprec.errors import UserError
from autoprec.loading import STARTING

_PROCESS = """
import json, sys, vl_convert
name, arguments, options = json.load(sys.stdin)
image = getattr(vl_convert, name)(*arguments, **options)
sys.stdout.buffer.write(image if isinstance(image, bytes) else image.encode())
"""


def vega(name: str, *arguments: Any, **options: Any) -> bytes:
    """Call the function `name` of vl_convert; returns an image, or UTF-8 text.

    Raises `UserError` if the process ends without a result.
    """
    with STARTING:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, with fixed arguments
            # -P: a json.py in the user's folder must not be imported in place of the standard one.
            [sys.executable, "-P", "-c", _PROCESS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    with process:
        try:
            image, words = process.communicate(msgspec.json.encode((name, arguments, options)))
        except BaseException:  # Ctrl-C: else it would be waited for
            process.kill()
            raise
    if code := process.returncode:
        end = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        *_, last = ["none", *words.decode(errors="replace").strip().splitlines()]
        raise UserError(
            f"charts cannot be drawn: their process ended with {end} (last words: {last}); if memory is out, "
            "close other programs, then run it again"
        )
    return image
