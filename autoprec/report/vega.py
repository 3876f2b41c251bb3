"""Vega in a process of its own: its library is of Rust, which ends the process that it is in where memory is
short, without a word that Python could hear.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import msgspec

from autoprec.errors import UserError

_PROCESS = """
import json, sys, vl_convert
name, arguments, options = json.load(sys.stdin)
image = getattr(vl_convert, name)(*arguments, **options)
sys.stdout.buffer.write(image if isinstance(image, bytes) else image.encode())
"""


def vega(name: str, *arguments: Any, **options: Any) -> bytes:
    """What the function `name` of vl_convert makes of JSON: a picture, or UTF-8.

    Raises `UserError` where the process ends without it.
    """
    ran = subprocess.run(  # noqa: S603 - our own interpreter and words
        [sys.executable, "-P", "-c", _PROCESS],
        input=msgspec.json.encode((name, arguments, options)),
        capture_output=True,
        check=False,
    )
    if ran.returncode:
        code = ran.returncode
        end = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        *_, last = ["none", *ran.stderr.decode(errors="replace").strip().splitlines()]
        raise UserError(
            f"charts cannot be drawn: their process ended with {end} (last words: {last}); if memory is out, "
            "close other programs, then run it again"
        )
    return ran.stdout
