"""Faults of the machine: every file that is opened for writing fails once; limits, and a clock that jumps.

A command that fails ends in one line with exit code 2; the same command without the fault then succeeds, and
what was finished before is still there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from outcome import Campaign, Ran, end, start

from autoprec.records import to_json
from autoprec.store import Store
from tiny_study import write_study

SITE = r"""
import errno, json, os, random, re, sys
WANTED, LIST = os.environ.get("TORTURE_FAIL", ""), os.environ.get("TORTURE_LIST", "")
HERE = os.environ["TORTURE_HERE"]
def plain(path):
    return re.sub(r"\d{3,}|[0-9a-f]{16,}|tmp\w{8}|-\w{8}(?=/|$)", "N", path)
def hook(event, arguments):
    if event != "open" or not isinstance(arguments[0], (str, bytes)): return
    path, mode, flags = arguments
    path = os.fsdecode(path)
    if not (flags or 0) & (os.O_WRONLY | os.O_RDWR) or not os.path.abspath(path).startswith(HERE): return
    name = plain(os.path.relpath(path, HERE))
    if LIST and name != "list":
        with open(LIST, "a") as file: file.write(json.dumps(name) + "\n")
    if WANTED and name == WANTED:
        number = int(os.environ["TORTURE_ERRNO"])
        raise OSError(number, os.strerror(number), path)
sys.addaudithook(hook)
if "TORTURE_CLOCK" in os.environ:
    import importlib
    dice = random.Random(int(os.environ["TORTURE_CLOCK"]) + os.getpid())
    def jumping():
        return f"{dice.randint(1990, 2060)}-{dice.randint(1, 12):02}-01T00:00:00.000+00:00"
    for name in ("autoprec.store._store", "autoprec.study.night.ledger"):
        importlib.import_module(name)._now = jumping
if "TORTURE_LIMIT" in os.environ:
    import resource
    name, value = os.environ["TORTURE_LIMIT"].split("=")
    resource.setrlimit(getattr(resource, name), (int(value), int(value)))
"""
COMMANDS = (
    ("search", "--study", "tiny.toml", "--budget", "3"),
    ("report", "--study", "tiny.toml"),
    ("export", "--study", "tiny.toml", "--trial", "0", "--examples", "1", "out"),
    ("init", "tiny.onnx"),
)
ERRORS = (28, 13, 30, 24)  # no space, no permission, read-only, too many files
Blow = tuple[tuple[str, ...], dict[str, str]]
LIMITS = (
    "RLIMIT_FSIZE=4096",
    "RLIMIT_FSIZE=200000",
    "RLIMIT_NOFILE=24",
    "RLIMIT_AS=1500000000",
    "RLIMIT_AS=3000000000",
)


def faults(campaign: Campaign, folder: Path, count: int) -> None:
    """Walk over the files that commands write, and over the limits, as far as time allows."""
    site, home = folder / "site", folder / "home"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    home.mkdir()
    write_study(home)
    base = {"PYTHONPATH": str(site)}
    ran = _run(("search", "--study", "tiny.toml", "--budget", "4"), home, base, TORTURE_CLOCK="1")
    campaign.note("a clock that jumps", "searched", ran.fault or ran.words * bool(ran.code))
    before = _trials(home)
    campaign.note("a clock that jumps", "in order", "" if len(before) == 4 else f"{len(before)} trials of 4")
    blows = list(_blows(home, base, folder))
    campaign.dice.shuffle(blows)
    for words, fault in blows[:count]:
        if campaign.is_over:
            return
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(home, copy)
        ran = _run(words, copy, base, **fault)
        what = f"{words[0]}: {fault.get('TORTURE_LIMIT') or 'a file that cannot be opened'}"
        again = _run(words, copy, base)
        lost = {n: text for n, text in before.items() if _trials(copy).get(n) != text}
        stuck = f"not resumable: {again.words[-300:]}" if again.code else ""
        failure = ran.fault or stuck or (f"lost {lost}" if lost else "")
        campaign.note(what, f"exit code {ran.code}", f"{fault}: {failure}" if failure else "")


def _blows(home: Path, base: dict[str, str], folder: Path) -> Iterator[Blow]:
    """(command, fault) for every file that a command opens for writing, and for every limit."""
    for words in COMMANDS:
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(home, copy)
        listed = copy / "list"
        _run(words, copy, base, TORTURE_LIST=str(listed))
        names = {json.loads(line) for line in listed.read_text().splitlines()} if listed.exists() else set()
        for name in sorted(names):
            for number in ERRORS:
                yield words, {"TORTURE_FAIL": name, "TORTURE_ERRNO": str(number)}
        for limit in LIMITS:
            yield words, {"TORTURE_LIMIT": limit}


def _run(words: tuple[str, ...], home: Path, base: dict[str, str], **fault: str) -> Ran:
    return end(start(list(words), home, site=SITE, **base, **fault, TORTURE_HERE=str(home)))


def _trials(home: Path) -> dict[int, str]:
    with Store.open(home / "tiny" / "study.db", read_only=True) as store:
        return {trial.number: to_json(trial) for trial in store.trials("tiny") if trial.state != "running"}
