"""One model on its GPU with its cores: an export, a study that is prepared once, and searches of its
copies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from figures import rates, spread

from autoprec import Study
from autoprec.records import TrialRecord
from autoprec.store import Store

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path.append(str(ROOT / "scripts" / "models"))
from untrained import DEPARTURE, Sections, definition, export_command  # noqa: E402 - of another folder of scripts

SETTINGS: Sections = {
    "model": DEPARTURE,
    "samples": {"calibration_limit": 2, "evaluation_limit": 8},
    "blocks": {"minimum": 20},
    "backend": {"trial_seconds": 300},
    "timing": {"seconds": 2},
}


class Lane:
    """One model's share of the machine.

    Args:
        model: one of `untrained.EXPORTERS`.
        folder: receives models, studies and logs.
        backend: tensorrt or openvino.
        device: index of its GPU.
        cores: its processors.
    """

    def __init__(self, model: str, folder: Path, backend: str, device: int, cores: Sequence[int]) -> None:
        self.model, self.backend, self.device, self.cores = model, backend, device, tuple(cores)
        self.folder = folder / model
        self.folder.mkdir(parents=True, exist_ok=True)
        self.base = self.folder / "base.toml"

    def export(self, size: int, more: Sequence[str]) -> subprocess.Popen[bytes] | None:
        """Write a definition, and start exporting encoder and decoder unless they exist."""
        text = definition(self.model, self.backend, "models/", SETTINGS)
        self.base.write_text(f'name = "base"\nfolder = "base"\n\n{text}')
        models = self.folder / "models"
        if (models / "encoder.onnx").exists() and (models / "decoder.onnx").exists():
            return None
        return self._started(export_command(self.model, models, size, more), self.folder / "export.log")

    def prepare(self, budget: str, jobs: int, cores: Sequence[int]) -> subprocess.Popen[bytes]:
        """Start a search of a few trials, from which all others continue."""
        return self._search(self.base, budget, 1, jobs, cores)

    def measure(
        self, devices: int, jobs: int, seconds: float, *, repeats: bool, cores: Sequence[int]
    ) -> dict[str, Any]:
        """Search a copy of the prepared study for some time, with another timing beside it.

        Args:
            devices: number of GPUs, from the first one; a single one is the lane's own.
            jobs: builds in parallel for each.
            seconds: budget of the search.
            repeats: time the reference against itself meanwhile.
            cores: processors that the search may use.
        """
        name = f"d{devices}j{jobs}"
        definition = self.folder / f"{name}.toml"
        definition.write_text(self.base.read_text().replace('folder = "base"', f'folder = "{name}"'))
        study, work = self.folder / name, self.folder / f"{name}-work"
        shutil.rmtree(study, ignore_errors=True)
        shutil.copytree(self.folder / "base", study)
        work.mkdir(exist_ok=True)
        before = len(trials(definition))
        beside = self._beside(definition, work) if repeats else None
        process = self._search(definition, f"{seconds:.0f}s", devices, jobs, cores)
        used = _watched(process, seconds + 60)
        pairs = []
        if beside is not None:
            beside.kill()
            beside.wait()
            lines = (work / "pairs.jsonl").read_text().splitlines()
            pairs = [json.loads(line) for line in lines if line.startswith("[") and line.endswith("]")]
        measured = [t for t in trials(definition)[before:] if t.end and t.state != "running"]
        return {
            "devices": devices, "jobs": jobs, "exit_code": process.returncode, "search_cores": used,
            **rates(measured, devices * jobs), **spread(pairs),
        }  # fmt: skip

    def device_name(self) -> str:
        """The device that the prepared study is bound to."""
        with Store.open(self.folder / "base" / "study.db", read_only=True) as store:
            return store.identity("base").fingerprint.device

    def first_trial(self, start: float) -> float | None:
        """Seconds from `start` until the first trial of the prepared study began; None if it had by then."""
        began = min(
            (datetime.fromisoformat(trial.start).timestamp() for trial in trials(self.base)), default=0.0
        )
        return round(began - start, 1) if began > start else None

    def log(self, name: str) -> str:
        """The end of a log."""
        path = self.folder / f"{name}.log"
        return path.read_text()[-3000:] if path.exists() else ""

    def _search(
        self, definition: Path, budget: str, devices: int, jobs: int, cores: Sequence[int] = ()
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "autoprec", "search", "--study", str(definition), "--budget", budget]
        command += ["--jobs", str(jobs)]
        if devices > 1:
            command += ["--devices", ",".join(map(str, range(devices)))]
        return self._started(command, definition.with_suffix(".log"), devices, cores)

    def _beside(self, definition: Path, work: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(HERE / "repeats.py"), str(definition), str(work)]
        with (work / "pairs.jsonl").open("wb") as out:
            return self._started(command, definition.with_name(f"{definition.stem}-repeats.log"), 1, (), out)

    def _started(
        self, command: list[str], log: Path, devices: int = 1, cores: Sequence[int] = (), out: Any = None
    ) -> subprocess.Popen[bytes]:
        """A process in a session of its own, on its cores; with one device it sees only the lane's."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *_path()])}
        if devices == 1 and self.backend == "tensorrt":
            environment["CUDA_VISIBLE_DEVICES"] = str(self.device)
        with log.open("ab") as file:
            process = subprocess.Popen(
                command, stdout=out or file, stderr=file, start_new_session=True, cwd=ROOT, env=environment
            )
        os.sched_setaffinity(process.pid, cores or self.cores)  # before it starts threads, which inherit it
        return process


def trials(definition: Path) -> list[TrialRecord]:
    """The study's trials."""
    return list(Study.load(definition).trials())


def _path() -> list[str]:
    return list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))


def _watched(process: subprocess.Popen[bytes], seconds: float) -> float:
    """Wait for a search, and kill it if it takes too long; returns how many cores its own process used."""
    begin, used = time.monotonic(), 0.0
    while process.poll() is None:
        if time.monotonic() - begin > seconds:
            os.killpg(process.pid, signal.SIGKILL)
        try:
            spent = psutil.Process(process.pid).cpu_times()
            used = (spent.user + spent.system) / max(1.0, time.monotonic() - begin)
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.5)
    return round(used, 2)
