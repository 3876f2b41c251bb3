"""Planted files: something else lies under a name that autoprec reads or writes, before each of its commands.

Every name of a study, its inputs, its cache and an export, with everything that can lie there: links, a pipe,
a device, a folder, nothing at all. Whatever it is, a command ends by itself in one line or does its work, and
nothing outside of the study and the export changes.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from outcome import Campaign, Ran, end, start

from tiny_study import write_study

STUDY = ("--study", "tiny.toml")
SEARCH, REPORT, DELETE = (
    ("search", *STUDY, "--budget", "1"),
    ("report", *STUDY),
    ("delete", "tiny.toml", "--yes"),
)
EXPORT = ("export", *STUDY, "--trial", "0", "--examples", "1", "out")
READING = (
    ("front", *STUDY), ("show", "0", *STUDY), ("trials", *STUDY, "-o", "tiny/trials.csv"), ("studies",),
    ("blocks", *STUDY), ("doctor", *STUDY, "--repair"),
)  # fmt: skip
COMMANDS = {
    "home/tiny/": (SEARCH, REPORT, EXPORT, *READING, DELETE),
    "home/out/": (("verify", "out"), EXPORT),
    "cache/": (SEARCH, ("doctor",)),
    "home/": (SEARCH, EXPORT, ("init", "tiny.onnx"), ("verify", "out"), *READING),
}
"""What runs with something planted, by how the name begins; the first that fits."""
AT_TIMES = (
    ".report.html.1.part", "candidate.onnx", "early", "engines", "fidelity", "reference.onnx.data", "refined",
    "scratch", "study.db-journal", "study.db-shm", "study.db-wal", "timing.cache", "trials.csv",
    "worker-1.log",
)  # fmt: skip
"""Names that a study has while something runs, or with other engines."""
MINE = {"file": b"precious", "below/file": b"precious", "below/0.masks": b"precious"}
UNPRIVILEGED = """
import ctypes
libc, words = ctypes.CDLL(None), ctypes.c_uint32 * 6
header, caps = (ctypes.c_uint32 * 2)(0x20080522, 0), words()
for one in (1, 2): libc.prctl(24, one, 0, 0, 0)  # what a worker would get again as it starts
if not libc.capget(header, caps):
    for place in range(3): caps[place] &= ~6
    libc.capset(header, caps)
"""
"""Takes from root what reads and writes past permissions: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""


PLANTS: dict[str, Callable[[Path, Path], object]] = {
    "a link to a file": lambda path, mine: path.symlink_to(mine / "file"),
    "a link to nothing": lambda path, mine: path.symlink_to(mine / "nothing"),
    "a link to a folder": lambda path, mine: path.symlink_to(mine / "below"),
    "a link to itself": lambda path, _: path.symlink_to(path.name),
    "a link to a device": lambda path, _: path.symlink_to("/dev/zero"),
    "a folder": lambda path, mine: shutil.copytree(mine, path),
    "a pipe": lambda path, _: os.mkfifo(path),
    "an empty file": lambda path, _: path.touch(),
    "a file that is locked away": lambda path, _: path.touch(0),
}
"""How each is made under a name; `mine` is a folder outside of the study."""


class Place(NamedTuple):
    """What is planted, and where: a name below the folder of all."""

    name: str
    kind: str

    def put(self, root: Path) -> None:
        """Plant it, in the place of whatever lies there; nothing where the folder itself is gone."""
        path = root / self.name
        _remove(path)
        if path.parent.is_dir():
            PLANTS[self.kind](path, root / "mine")


def planted(campaign: Campaign, folder: Path, count: int) -> None:
    """Plant `count` things, each before every command that reads or writes its name.

    Args:
        campaign: takes the results.
        folder: empty; holds the studies.
        count: how many are planted; each pair of a name and a kind once at most.
    """
    sound = _searched(campaign, folder)
    places = [Place(name, kind) for name in _names(sound) for kind in PLANTS]
    # All shares shuffle alike, as each takes every n-th place.
    dice = random.Random(campaign.seed)
    dice.shuffle(places)
    for place in places[campaign.share.number :: campaign.share.among][:count]:
        if campaign.is_over:
            return
        faults = list(_blow(place, sound, folder / "copy"))
        name = re.sub(r"[0-9a-f]{8,}", "N", place.name)
        campaign.note(f"planted: {place.kind}", "told or done", "; ".join(f"{name}: {f}" for f in faults))


def _searched(campaign: Campaign, folder: Path) -> Path:
    """A study that was searched, looked at and exported, with a cache of its own."""
    root = folder / "sound"
    for name in ("home", "cache", "tmp", "mine/below"):
        (root / name).mkdir(parents=True)
    for own, data in MINE.items():
        (root / "mine" / own).write_bytes(data)
    definition = write_study(root / "home")
    definition.write_text(definition.read_text().replace("seconds = 0.2", "seconds = 0.02"))
    for words in (SEARCH, REPORT, EXPORT):
        ran = _run(words, root)
        campaign.note("planted: nothing", "done", ran.fault or ran.words * bool(ran.code))
    return root


def _names(root: Path) -> list[str]:
    """All names below a folder, one of each kind."""
    listed = sorted(
        path.relative_to(root).as_posix() for name in ("home", "cache") for path in (root / name).rglob("*")
    )
    kinds = {re.sub(r"[0-9a-f]{8,}|\d+|\w+(?=\.webp)", "N", name): name for name in listed}
    return [*kinds.values(), *(f"home/tiny/{name}" for name in AT_TIMES)]


def _blow(place: Place, sound: Path, root: Path) -> Iterator[str]:
    """Run every command on a copy of a study, before each of which the place is planted anew.

    Yields:
        What went wrong.
    """
    _remove(root)
    shutil.copytree(sound, root, symlinks=True)
    commands = next(words for begin, words in COMMANDS.items() if place.name.startswith(begin))
    for words in commands:
        place.put(root)
        ran = _run(words, root, unprivileged="locked" in place.kind)
        if ran.fault:
            yield f"{' '.join(words)}: {ran.fault}"
        # What was planted itself may go: a command makes anew what it needs.
        kept = {
            path.relative_to(root / "mine").as_posix(): path.read_bytes()
            for path in (root / "mine").rglob("*") if path.is_file()
        }  # fmt: skip
        if kept != MINE:
            yield f"{' '.join(words)}: files outside are {sorted(kept)}"
            return
    _remove(root / place.name)
    ran = _run(SEARCH, root) if words == DELETE else Ran(0, "")
    if ran.fault or ran.code:
        yield f"not searched afterwards: {ran.fault or ran.words[-300:]}"


def _run(words: tuple[str, ...], root: Path, *, unprivileged: bool = False) -> Ran:
    more = {"XDG_CACHE_HOME": str(root / "cache"), "TMPDIR": str(root / "tmp")}
    return end(start(list(words), root / "home", site=UNPRIVILEGED if unprivileged else "", **more))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
