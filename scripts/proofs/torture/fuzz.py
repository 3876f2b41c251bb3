"""Hostile inputs: every kind of file that is read, changed by its structure, read in a child process.

Each input must end as one line of `UserError`, or be read as what it was; within 20 seconds and 4 GiB.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
from pathlib import Path

import msgspec
import mutators
from kinds import Kind, kinds_in
from outcome import Campaign

from autoprec.errors import AutoprecError

SECONDS, MEMORY_BYTES = 20, 4 << 30
SAME, TOLD, CHANGED, OTHER = 0, 10, 20, 30


def fuzz(campaign: Campaign, folder: Path, count: int) -> None:
    """Read changed inputs of every kind, in turn."""
    kinds = kinds_in(folder)
    wanted = {kind.name: kind.read(kind.path) for kind in kinds if kind.checked}
    for number in range(count):
        if campaign.is_over:
            return
        kind = kinds[number % len(kinds)]
        whole = kind.path.read_bytes()
        try:
            changed = kind.change(whole, campaign.dice)
        except Exception:  # noqa: BLE001
            changed = mutators.bytes_of(whole, campaign.dice)  # the next change cannot read what one made
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(kind.folder, copy, symlinks=True)
        here = msgspec.structs.replace(kind, path=copy / kind.path.relative_to(kind.folder))
        here.path.write_bytes(changed)
        result, words = _in_child(here, wanted.get(kind.name))
        campaign.note(f"fuzz: {kind.name}", result, words)
        if words:
            kept = Path(tempfile.gettempdir()) / f"autoprec-torture-{kind.name.replace(' ', '-')}-{number}"
            kept.write_bytes(changed)
            print(f"  kept as {kept}", flush=True)


def _in_child(kind: Kind, wanted: object) -> tuple[str, str]:
    """How reading ended, and what is wrong with that."""
    end, begin = os.pipe()
    child = os.fork()
    if not child:
        os.close(end)
        _child(kind, wanted, begin)
    os.close(begin)
    late = time.monotonic() + SECONDS
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > late:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(end)
            return "hung", f"hung for {SECONDS} s"
        time.sleep(0.002)
    with os.fdopen(end, "rb") as pipe:
        words = pipe.read(4000).decode(errors="replace")
    code = os.waitstatus_to_exitcode(status)
    results = {SAME: "read", TOLD: "told in one line"}
    return (results[code], "") if code in results else ("failed", f"ended with {code}: {words}")


def _child(kind: Kind, wanted: object, words: int) -> None:
    """Never returns."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    tempfile.tempdir = str(kind.folder)
    code = OTHER
    try:
        found = kind.read(kind.path)
        code = CHANGED if kind.checked and found is not None and found != wanted else SAME
        if code == CHANGED:
            os.write(words, b"it was changed, and believed")
    except AutoprecError:
        code = TOLD
    except BaseException:  # noqa: BLE001 - whatever it is, it is what we look for
        os.write(words, traceback.format_exc()[-3000:].encode(errors="replace"))
    os._exit(code)
