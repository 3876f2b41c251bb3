"""Hostile inputs: files of every kind, changed according to their format and read in a child process.

Each input must either end in one line of `UserError` or be read as the sound file was, within 20 seconds of
processor time and 4 GiB. A child reads several inputs of a kind, since starting one takes longer than most
reads; an input that fails is read again alone.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import shutil
import signal
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec
from changes import mutators
from kinds import Kind, kinds_in
from outcome import Campaign

from autoprec.errors import AutoprecError, machine_fault

SECONDS = 20 * max(1, (os.cpu_count() or 1) // 8)
"""Of the processor, for one input. Where there are many cores, idle threads spin on each of them: with 64 the
verification of an untouched export spends more than 20 s."""
MEMORY_BYTES = 4 << 30
LATEST_SECONDS = 180
"""A limit by the clock for inputs that wait rather than compute. `SECONDS` counts the processor's time
instead, as the machine may be busy with other things."""
BATCH = 8
"""Inputs read by one child."""
PLACE_SHARE = 0.04
"""The share of inputs that are not a regular file: a folder, a pipe, a link."""
SOUND = -1
"""The number that stands for the unchanged input."""


class Task(NamedTuple):
    """Inputs of one kind.

    Attributes:
        kind: the sound file, and how it is changed and read.
        wanted: what the sound file holds; None if the kind is not checked.
        seed: with an input's number it determines the input.
        copy: the folder each input is written to.
    """

    kind: Kind
    wanted: object
    seed: int
    copy: Path

    def make(self, number: int) -> Kind:
        """Write input `number` into a copy of the sound file's folder; returns the kind with its path."""
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.kind.folder, self.copy, symlinks=True)
        here = msgspec.structs.replace(
            self.kind, path=self.copy / self.kind.path.relative_to(self.kind.folder), home=self.copy
        )
        dice, whole = random.Random(f"{self.seed} {number}"), self.kind.path.read_bytes()
        if number == SOUND:
            return here
        if dice.random() < PLACE_SHARE and not self.kind.is_file:
            _put_in_place(here.path, dice)
            return here
        try:
            changed = self.kind.change(whole, dice)
        except Exception:  # noqa: BLE001 - a second change cannot read what the first one made
            changed = mutators.bytes_of(whole, dice)
        here.path.write_bytes(changed)
        return here


def _put_in_place(path: Path, dice: random.Random) -> None:
    """Replace the file by something else of its name; no reader may wait for it or read it forever."""
    path.unlink()
    match dice.randrange(6):
        case 0:
            path.mkdir()
        case 1:
            os.mkfifo(path)
        case 2:
            path.symlink_to("/dev/zero")
        case 3:
            # A link to itself, which no reader can resolve.
            path.symlink_to(path.name)
        case 4:
            path.symlink_to("/proc/self/mem")
        case _:
            path.touch()


def fuzz(campaign: Campaign, folder: Path, count: int) -> None:
    """Read the sound file of every kind, then `count` changed inputs, the kinds taking turns.

    Args:
        campaign: takes the results.
        folder: empty; holds the sound files and the inputs.
        count: the number of changed inputs.
    """
    kinds = kinds_in(folder)
    wanted = {kind.name: kind.read(kind.path) for kind in kinds if kind.checked}
    seed, number = campaign.dice.getrandbits(32), 0
    for kind in kinds:
        [(result, words)] = _in_child(Task(kind, wanted.get(kind.name), seed, folder / "copy"), SOUND, 0)
        campaign.note(
            "sound inputs", result, words or ("" if result == "read" else f"{kind.name} is refused")
        )
    while number < count and not campaign.is_over:
        kind = kinds[number // BATCH % len(kinds)]
        task = Task(kind, wanted.get(kind.name), seed, folder / "copy")
        last = min(count, (number // BATCH + 1) * BATCH)
        results = _in_child(task, number, last)
        # Read again alone: what earlier inputs left behind in the child may have caused the failure.
        if results[-1][1] and len(results) > 1:
            results[-1] = _in_child(task, number + len(results) - 1, number + len(results))[0]
        for result, words in results:
            campaign.note(f"fuzz: {kind.name}", result, words and f"input {number} of {seed}: {words}")
            if words:
                kept = Path(tempfile.gettempdir()) / f"torture-{kind.name.replace(' ', '-')}-{seed}-{number}"
                with suppress(OSError):  # it may be anything but a file
                    shutil.copyfile(task.make(number).path, kept)
                print(f"  kept as {kept}", flush=True)
            number += 1


def _in_child(task: Task, first: int, last: int) -> list[tuple[str, str]]:
    """Read inputs `first` to `last - 1` in a forked child.

    Returns:
        For each input how reading it ended, and what is wrong with that, if anything. The list ends with the
        first input that went wrong.
    """
    end, begin = os.pipe()
    child = os.fork()
    # Forked, not started: the child has everything imported already.
    if not child:
        os.close(end)
        _child(task, first, last, begin)
    os.close(begin)
    results: list[tuple[str, str]] = []
    fault = ""
    with os.fdopen(end, "rb", buffering=0) as pipe:
        while len(results) < last - first:
            if not select.select([pipe], [], [], LATEST_SECONDS)[0]:
                fault = f"hung for {LATEST_SECONDS} s"
                os.kill(child, signal.SIGKILL)
                break
            line = pipe.readline()
            if not line:
                break
            results.append(json.loads(line))
            if results[-1][1]:
                break
    _, status = os.waitpid(child, 0)
    if len(results) < last - first and not (results and results[-1][1]):
        results.append(("failed", fault or f"ended with {os.waitstatus_to_exitcode(status)}"))
    return results


def _child(task: Task, first: int, last: int, pipe: int) -> NoReturn:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    silence = os.open(os.devnull, os.O_WRONLY)
    for number in range(first, last):
        # Each time anew: a reader may have redirected the stream for itself.
        os.dup2(silence, 2)
        # RLIMIT_CPU counts from the start of the process, so each input of the batch moves it on.
        latest = int(time.process_time()) + SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (latest, resource.RLIM_INFINITY))
        result, words = _once(task, number)
        os.write(pipe, json.dumps((result, words)).encode() + b"\n")
        if words:
            break
    # Not sys.exit: the child must run none of the parent's exit handlers, which delete its folders.
    os._exit(0)


def _once(task: Task, number: int) -> tuple[str, str]:
    kind = task.make(number)
    tempfile.tempdir = str(task.copy)
    try:
        value = kind.read(kind.path)
    except AutoprecError:
        return "told in one line", ""
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is what we look for
        if machine_fault(error):  # the command's boundary tells it
            return "told in one line", ""
        return "failed", traceback.format_exc()[-3000:]
    finally:
        tempfile.tempdir = None
    if kind.checked and value is not None and value != task.wanted:
        return "failed", "it was changed, and believed"
    return "read", ""
