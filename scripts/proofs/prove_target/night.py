"""A whole run on a target: the demo or a tiny study is searched, exported, verified there, and cleaned up."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

from there import LINE, ROOT, are_gone, ran, section, shipped, version

from loopback_ssh import serving
from tiny_study import write_study


def night(given: argparse.Namespace, folder: Path) -> tuple[list[str], list[str]]:
    """A row of results, and the faults found."""
    keys, home, there = folder / "ssh", folder / "home", folder / "agent"
    keys.mkdir()
    more = ""
    log = folder / "line.log"
    if given.rate or given.delay or given.life:
        words = [sys.executable, str(LINE), "%h", "%p", given.rate, given.delay, given.life, given.seed, log]
        more = f" ProxyCommand {' '.join(map(str, words))}\n"
    with serving(keys, more) as server:
        study = _tiny(home) if given.tiny else _demo(home)
        definition = home / "studies" / f"{study}.toml"
        definition.write_text(definition.read_text() + section(server, given.python, there))
        begun, faults = time.monotonic(), list[str]()
        words = ["search", "--study", study, "--budget", str(given.trials)]
        code, text = ran(words, home)
        if code:
            faults.append(f"search ended with {code}: {text.strip()[-600:]}")
        kept = sum(path.stat().st_size for path in there.rglob("*") if path.is_file())
        faults += shipped(study, home)
        seconds = time.monotonic() - begun
        code, text = ran(["trials", "--study", study, "--json"], home)
        trials = [] if code else json.loads(text)
        if there.exists():
            faults.append("target clean leaves something")
    if not are_gone(there):
        faults.append("an agent is left")
    states = Counter(_state(trial) for trial in trials)
    if states["complete"] < given.trials:
        faults.append(f"{states['complete']} trials are complete, {given.trials} were asked for")
    if strange := [state for state in states if state not in ("complete", "killed", "interrupted")]:
        faults.append(f"trials ended as {strange}")
    sent = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    row = (
        f"| {study} | {version(given.python)} | {_line_of(given)} | {told} | {len(sent) or '-'} | "
        f"{sum(one[0] for one in sent) / 1e6:.1f} / {sum(one[1] for one in sent) / 1e6:.1f} | "
        f"{kept / 1e6:.1f} | {seconds:.0f} | {len(faults)} |"
    )
    return [row], faults


def _tiny(home: Path) -> str:
    """Write the tests' tiny study; returns its name."""
    (home / "studies").mkdir(parents=True)
    return write_study(home / "studies").stem


def _demo(home: Path) -> str:
    """Copy the demo's study, without what other searches made; returns its name."""
    (home / "studies").mkdir(parents=True)
    for name in ("demo.toml", "models", "data"):
        source, target = ROOT / "studies" / name, home / "studies" / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    return "demo"


def _state(trial: dict[str, object]) -> str:
    failure = trial.get("failure")
    return str(failure.get("kind")) if isinstance(failure, dict) else str(trial.get("state"))


def _line_of(given: argparse.Namespace) -> str:
    parts = [f"{given.rate * 8 / 1e6:g} Mbit/s"] if given.rate else []
    parts += [f"{2000 * given.delay:g} ms there and back"] if given.delay else []
    parts += [f"drops after {given.life:g} s"] if given.life else []
    return ", ".join(parts) or "as it is"
