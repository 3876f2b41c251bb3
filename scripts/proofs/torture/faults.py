"""Faults of the machine: each path a command writes fails once; resource limits; a clock that jumps.

A command that meets a fault must end in one line with exit code 2. The same command without the fault must
then succeed, and everything finished before must still be there.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from outcome import Campaign, Ran, end, first_on_path, start

from autoprec.records import to_json
from autoprec.store import Store
from tiny_study import write_study

SITE = r"""
import errno, json, os, random, re, sqlite3, sys
WANTED, LIST = os.environ.get("TORTURE_FAIL", ""), os.environ.get("TORTURE_LIST", "")
HERE = os.environ["TORTURE_HERE"]
PLACE = {"open": 0, "os.mkdir": 0, "os.rename": 1, "sqlite3.connect": 0}  # of the path among the arguments
def plain(path):
    return re.sub(r"\d{3,}|[0-9a-f]{16,}|tmp\w{8}|-\w{8}(?=/|$)", "N", path)
def hook(event, arguments):
    if event not in PLACE or not isinstance(arguments[PLACE[event]], (str, bytes, os.PathLike)): return
    path = os.fsdecode(arguments[PLACE[event]]).removeprefix("file:").partition("?")[0]
    if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR): return
    if not os.path.abspath(path).startswith(HERE): return
    name = event + " " + plain(os.path.relpath(path, HERE))
    if LIST and not path.endswith("/list"):
        with open(LIST, "a") as file: file.write(json.dumps(name) + "\n")
    if WANTED and name == WANTED:
        if event == "sqlite3.connect":
            error = sqlite3.OperationalError("unable to open database file")
            error.sqlite_errorcode = 14  # as SQLite's own
            raise error
        number = int(os.environ["TORTURE_ERRNO"])
        raise OSError(number, os.strerror(number), path)
sys.addaudithook(hook)
if "TORTURE_CLOCK" in os.environ:
    import importlib
    dice = random.Random(int(os.environ["TORTURE_CLOCK"]) + os.getpid())
    def jumping():
        return f"{dice.randint(1990, 2060)}-{dice.randint(1, 12):02}-01T00:00:00.000+00:00"
    for place in ("store._runs._now", "study.night.ledger.now", "study.night.candidates.now"):
        name, _, clock = place.rpartition(".")
        module = importlib.import_module("autoprec." + name)
        assert hasattr(module, clock)
        setattr(module, clock, jumping)
if "TORTURE_LIMIT" in os.environ:
    import resource
    name, value = os.environ["TORTURE_LIMIT"].split("=")
    value = int(value)
    if name == "RLIMIT_AS":  # above what this process holds already, be it the search or its worker
        value += int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(getattr(resource, name), (value, value))
"""
TARGET = '\n[target]\naddress = "local:"\nfolder = "agent"\n'


class Command(NamedTuple):
    """A command that writes, and in `before` the commands that must run first."""

    words: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()


_SEARCH = ("search", "--study", "tiny.toml")
_NOTIFY = "sh -c 'echo told >>told'"
_EXPORT = ("export", "--study", "tiny.toml", "--trial", "0", "--examples", "1", "out")
COMMANDS = (
    Command((*_SEARCH, "--budget", "3")),
    Command(("search", "--study", "target/tiny.toml", "--budget", "1")),
    Command((*_SEARCH, "--budget", "2", "--json-lines", "--notify", _NOTIFY)),
    Command(("report", "--study", "tiny.toml")),
    Command((*_EXPORT, "--zip")),
    Command(("verify", "out"), before=(_EXPORT,)),
    Command(("init", "tiny.onnx")),
    Command(("where", "2", "--study", "tiny.toml")),
    Command(("explain", "2", "--study", "tiny.toml")),
    Command(("trials", "--study", "tiny.toml", "-o", "trials.csv")),
    *(
        [Command(("trials", "--study", "tiny.toml", "-o", "trials.parquet"))]
        if importlib.util.find_spec("pyarrow") and importlib.util.find_spec("pandas")
        else []
    ),
    Command(("target", "clean", "--study", "target/tiny.toml")),
    *(
        [Command(("refine", "2", "--study", "tiny.toml", "--minutes", "0.02"))]
        if importlib.util.find_spec("torch")
        else []
    ),
)
ERRORS = (28, 13, 30, 24, 5)  # no space, no permission, read-only, too many files, input/output error
LIMITS = (
    *(f"RLIMIT_FSIZE={size}" for size in (0, 4096, 200_000)),
    *(f"RLIMIT_NOFILE={count}" for count in (6, 12, 18, 24, 32, 48)),
    *(f"RLIMIT_AS={more}" for more in (1 << 20, 16 << 20, 64 << 20, 200 << 20, 500 << 20)),
)
AT_A_TIME = 2
"""Blows at one command before the next one's turn, so that even a short campaign reaches several commands."""


def faults(campaign: Campaign, folder: Path, count: int) -> None:
    """Make every path the commands write fail, and apply every limit, as far as count and time allow.

    Args:
        campaign: takes the results.
        folder: empty; holds the studies.
        count: the number of faults to cause.
    """
    home, site = _begin(campaign, folder)
    before = _trials(home)
    blows = {command: _blows(campaign, command, home, site, folder) for command in COMMANDS}
    turns = itertools.chain.from_iterable(
        itertools.repeat(command, AT_A_TIME)
        for command in itertools.cycle(campaign.dice.sample(COMMANDS, len(COMMANDS)))
    )
    while blows and count and not campaign.is_over:
        command = next(turns)
        fault = next(blows.get(command, iter(())), None)
        if fault is None:
            blows.pop(command, None)
            continue
        count -= 1
        copy = _fresh(home, folder)
        ran = _run(command.words, copy, site, **fault)
        again = Ran(0, "")
        # `init` does not overwrite a definition: after one that succeeded despite the fault, it would refuse.
        if command.words[0] != "init" or ran.code:
            again = _run(command.words, copy, site)
        what = fault.get("TORTURE_LIMIT", "").partition("=")[0] or fault["TORTURE_FAIL"].partition(" ")[0]
        kept = _trials(copy)
        lost = {number: text for number, text in before.items() if kept.get(number) != text}
        stuck = f"not resumable: {again.words[-300:]}" if again.code else ""
        failure = ran.fault or stuck or _no_json(ran) or (f"lost {lost}" if lost else "")
        where = f"{' '.join(command.words)}, {fault}: "
        campaign.note(f"{command.words[0]}: {what}", f"exit code {ran.code}", failure and where + failure)


def _no_json(ran: Ran) -> str:
    """The first of its JSON lines that is none."""
    for line in ran.words.splitlines():
        try:
            if line.startswith("{") and "event" not in json.loads(line):
                return f"a line without its event: {line[:300]}"
        except ValueError:
            return f"a line that is no JSON: {line[:300]}"
    return ""


def _begin(campaign: Campaign, folder: Path) -> tuple[Path, dict[str, str]]:
    """Search a study while the clock jumps, and write one with a target.

    Returns:
        The folder of the studies, and the environment that makes worker processes run `SITE` first.
    """
    site, home = folder / "site", folder / "home"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    for place, more in ((home, ""), (home / "target", TARGET)):
        place.mkdir()
        write_study(place, more)
    base = {"PYTHONPATH": first_on_path(site)}
    ran = _run(("search", "--study", "tiny.toml", "--budget", "4"), home, base, TORTURE_CLOCK="1")
    campaign.note("a clock that jumps", "searched", ran.fault or ran.words * bool(ran.code))
    count = len(_trials(home))
    campaign.note("a clock that jumps", "in order", "" if count == 4 else f"{count} trials of 4")
    return home, base


def _blows(
    campaign: Campaign, command: Command, home: Path, site: dict[str, str], folder: Path
) -> Iterator[dict[str, str]]:
    """Yield this share's faults of a command: each path once and each limit, then the paths with other
    errors.

    Args:
        campaign: names the share.
        command: what is run.
        home: the studies; never changed by a blow.
        site: the environment that makes processes run `SITE`.
        folder: takes the copy that the command runs in.
    """
    for words in command.before:
        _run(words, home, site)
    copy = _fresh(home, folder)
    # A run without a fault lists the paths the command writes.
    listed = copy / "list"
    ran = _run(command.words, copy, site, TORTURE_LIST=str(listed))
    if ran.code:
        campaign.note(command.words[0], "", f"fails by itself: {ran.words[-300:]}")
    lines = listed.read_text().splitlines() if listed.exists() else []
    names = sorted({json.loads(line) for line in lines})
    # Not the campaign's dice, which differ by share: all shares must shuffle alike, as each takes every
    # n-th fault.
    dice = random.Random(f"{names} {campaign.seed}")
    first: list[dict[str, str]] = [{"TORTURE_LIMIT": limit} for limit in LIMITS]
    others = []
    for name in names:
        numbers = dice.sample(ERRORS, len(ERRORS))
        one, *more = [{"TORTURE_FAIL": name, "TORTURE_ERRNO": str(number)} for number in numbers]
        first.append(one)
        # SITE raises the same SQLite error whatever the number, so further numbers would repeat the first.
        others += [] if name.startswith("sqlite3") else more
    dice.shuffle(first)
    dice.shuffle(others)
    campaign.note("walked", f"{' '.join(command.words)}: {len(names)} paths, {len(LIMITS)} limits")
    yield from [*first, *others][campaign.share.number :: campaign.share.among]


def _fresh(home: Path, folder: Path) -> Path:
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    return shutil.copytree(home, copy)


def _run(words: tuple[str, ...], home: Path, site: dict[str, str], **fault: str) -> Ran:
    here = {"TORTURE_HERE": str(home), "TMPDIR": str(home / "tmp")}
    (home / "tmp").mkdir(exist_ok=True)
    return end(start(list(words), home, site=SITE, **site, **fault, **here))


def _trials(home: Path) -> dict[int, str]:
    with Store.open(home / "tiny" / "study.db", read_only=True) as store:
        return {trial.number: to_json(trial) for trial in store.trials("tiny") if trial.state != "running"}
