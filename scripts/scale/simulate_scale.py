"""A study with a hundred workers, without their engines: the real scheduler, store and strategy, known costs.

    python scripts/scale/simulate_scale.py --workers 100 --trials 10000 --kills 20 --restarts 3

Starts a PostgreSQL server (commits are flushed, as for users), forks the workers, kills some at random and
restarts the server meanwhile, once of three times as a crash. A worker's candidate is a file that the
`simulated` backend builds; measuring it takes `--seconds` of sleep. At the end every trial must be
there once, in our tables and in Optuna's, and the front must be the trials'. `--sweep 10,30,100` measures how
many trials a second the database takes, with trials that take no time. Writes a `.json` and a `.md`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
import psycopg
from onnx import TensorProto, helper

from autoprec.backends.devices import Device
from autoprec.backends.simulated import ASSIGNMENT_KEY, SimulatedBackend
from autoprec.measurement import Bench, Job, Setup
from autoprec.records import (
    Assignment,
    Block,
    Candidate,
    Fingerprint,
    Identity,
    Interval,
    Latency,
    Measurement,
    Quality,
    Reference,
    StageSeconds,
    TrialRecord,
    pareto,
)
from autoprec.search import anchors
from autoprec.spec import Budget, ModelSection, SamplesSection, SearchSection, StudySpec
from autoprec.store import Store
from autoprec.study.events import Quiet
from autoprec.study.night import Night, queue
from autoprec.study.night.crew import Crew
from autoprec.study.night.heart import Heart
from autoprec.study.night.ledger import Ledger
from autoprec.study.night.mirror import Mirror
from autoprec.study.preparation import Prepared
from postgresql_server import PostgresqlServer, postgresql_server

STUDY, PRECISIONS = "simulated", ("fp16", "bf16", "int8")
DEVICE = Device(name="device")


def costs(blocks: int, seed: int) -> dict[str, Any]:
    """A table of costs: lower precisions are faster and lose masks, some blocks more than others."""
    rng = np.random.default_rng(seed)
    table = {}
    for number in range(blocks):
        ms, loss = rng.uniform(0.2, 2.0), rng.exponential(0.004)
        table[f"block{number}"] = {
            "fp16": {"ms": ms},
            "bf16": {"ms": 0.98 * ms, "loss": loss / 20},
            "int8": {"ms": 0.55 * ms, "loss": loss},
        }
    return {"base_ms": 0.5, "boundary_ms": 0.05, "noise": 0.002, "blocks": table}


class SimulatedPreparation:
    """In place of `Prepared`: everything that a night asks it for."""

    def __init__(self, spec: StudySpec, blocks: tuple[Block, ...], work: Path) -> None:
        self.spec, self.blocks, self.work = spec, blocks, work
        self.anchors = anchors(blocks, PRECISIONS, reference="fp16", base="fp16")
        self.reference = Assignment(choices=tuple((block.name, "fp16") for block in blocks))
        self.setup = Setup(
            backend=spec.backend, pipeline=spec.pipeline, samples=spec.samples, quality=spec.quality,
            timing=spec.timing, shapes={}, reference_path="", reference_digest="",
        )  # fmt: skip

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """A file of this process."""
        yield self.work / f"{os.getpid()}-{name}"

    def rewrite(self, assignment: Assignment, path: Path) -> Candidate:
        """A model that says what it is, and nothing else."""
        mask = helper.make_tensor_value_info("masks", TensorProto.FLOAT, [1, 1, 64, 64])
        model = helper.make_model(helper.make_graph([], "candidate", [], [mask]))
        helper.set_model_props(model, {ASSIGNMENT_KEY: json.dumps(assignment.choices)})
        path.write_bytes(model.SerializeToString())
        return Candidate(assignment=assignment, model_path=str(path))

    def deciding(self, assignment: Assignment) -> tuple[str, ...]:  # noqa: ARG002 - as `Prepared` has it
        """Nothing is audited."""
        return ()


class SimulatedBench:
    """In place of a worker process: builds with the `simulated` backend, and sleeps."""

    def __init__(self, table: Path, seconds: float) -> None:
        self._backend, self._seconds = SimulatedBackend({"costs": str(table)}), seconds
        self._random = random.Random(os.getpid())

    def measure(self, job: Job, on_stage: object) -> Measurement:  # noqa: ARG002 - as `Bench` has it
        """What the table says, after about so many seconds."""
        with self._backend.build(Path(job.candidate_path)) as engine:
            ms, mask = engine.known_milliseconds(), engine.outputs()["masks"]
        time.sleep(self._random.uniform(0.5, 1.5) * self._seconds)
        loss = 1 - float((mask > 0).sum()) / (mask.size // 2)
        reference = job.reference_latency_ms or ms
        ratio, interval = ms / reference, Interval(low=loss, high=loss)
        return Measurement(
            latency=Latency(
                median_ms=ms, p10_ms=ms, p90_ms=ms, rounds=40, reference_median_ms=reference,
                ratio=ratio, ratio_interval=Interval(low=0.998 * ratio, high=1.002 * ratio),
            ),
            quality=Quality(
                loss=loss, loss_interval=interval, miou=1 - loss, boundary_iou=1 - loss, worst_loss=loss,
                logit_error=loss,
            ),
            latency_ms=ms, engine_bytes=1, peak_memory_bytes=1, audit=(),
            seconds=StageSeconds(total=self._seconds),
        )  # fmt: skip

    def close(self) -> None:
        """Nothing to end."""


def spec_of(given: argparse.Namespace) -> StudySpec:
    """A definition, of which a night reads the search's part alone."""
    search = SearchSection(precisions=PRECISIONS, strategy=given.strategy, finalists=0, seed=given.seed)
    samples = SamplesSection(calibration="", evaluation="")
    return StudySpec(name=STUDY, model=ModelSection(path=""), samples=samples, search=search)


def blocks_of(count: int) -> tuple[Block, ...]:
    """A chain."""
    return tuple(Block(name=f"block{n}", nodes=(f"node{n}",), allowed=PRECISIONS) for n in range(count))


def bind(address: str, given: argparse.Namespace) -> None:
    """The study, its reference, and its run."""
    fingerprint = Fingerprint(backend="simulated", version="1", device="none")
    identity = Identity(model="m", samples="s", spec="d", blocks="b", fingerprint=fingerprint)
    ms = sum(row["fp16"]["ms"] for row in costs(given.blocks, given.seed)["blocks"].values()) + 0.5
    reference = Reference(
        precision="fp16", model_digest="", latency_ms=ms, latency_noise=0.002, loss_noise=0, float_loss=0
    )
    blocks = blocks_of(given.blocks)
    with Store.open(address) as store:
        store.bind(STUDY, identity, blocks)
        store.put_reference(STUDY, reference)
        store.begin_run(STUDY, str(given.trials))
        Mirror.of(store, STUDY, blocks, limited=False)


class Clock:
    """Seconds that calls of some methods take, by name."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}

    def on(self, owner: Any, method: str, name: str) -> None:
        """Time a method of an object or of a class from now on."""
        plain, spent = getattr(owner, method), self.spent.setdefault(name, [])

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return plain(*args, **kwargs)
            finally:
                spent.append(time.perf_counter() - begin)

        setattr(owner, method, timed)


def work(address: str, given: argparse.Namespace, table: Path, told: Path) -> None:
    """One worker: takes part until the run's budget is spent."""
    clock, spec, blocks = Clock(), spec_of(given), blocks_of(given.blocks)
    with Store.open(address) as store:
        membership = store.join(STUDY, (DEVICE.name,), "simulated")
        with Heart(membership) as heart, Crew[TrialRecord, Measurement]((DEVICE,), 1, told) as crew:
            slot = crew.first
            object.__setattr__(slot, "bench", cast(Bench, SimulatedBench(table, given.seconds)))
            mirror = Mirror.of(store, STUDY, blocks, limited=False)
            ledger = Ledger(store, mirror, membership, STUDY, "simulated", None)
            clock.on(ledger, "begin", "begin")
            clock.on(ledger, "settle", "settle")
            clock.on(queue.Queue, "next", "propose")
            prepared = cast(Prepared, SimulatedPreparation(spec, blocks, told))
            night = Night(prepared, store, ledger, membership, crew, heart, Quiet())
            night.run(store.runs(STUDY)[-1], Budget(trials=given.trials))
    (told / f"{os.getpid()}.json").write_text(json.dumps(clock.spent))


class Fleet:
    """The workers as processes; forked, so that they share what is imported."""

    def __init__(self, address: str, given: argparse.Namespace, table: Path, told: Path) -> None:
        self._arguments = address, given, table, told
        self._fork = multiprocessing.get_context("fork")
        self.living: list[BaseProcess] = []

    def start(self, count: int) -> None:
        """Fork so many more."""
        for _ in range(count):
            process = self._fork.Process(target=work, args=self._arguments)
            process.start()
            self.living.append(process)

    def kill_one(self) -> None:
        """SIGKILL to one at random, and another in its place."""
        victim = random.choice([process for process in self.living if process.is_alive()])
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        self.living.remove(victim)
        self.start(1)

    def codes(self) -> Counter[int | None]:
        """Exit codes, once all are done."""
        for process in self.living:
            process.join()
        return Counter(process.exitcode for process in self.living)

    @property
    def is_working(self) -> bool:
        """Whether any of them is at it."""
        return any(process.is_alive() for process in self.living)


def finished(address: str) -> int:
    """How many trials are complete; -1 while the server is away."""

    try:
        with psycopg.connect(address.replace("+psycopg", "")) as connection:
            row = connection.execute(
                "SELECT count(*) FROM autoprec_trials WHERE state = 'complete'"
            ).fetchone()
            return int(row[0]) if row else 0
    except psycopg.OperationalError:
        return -1


def run(server: PostgresqlServer, given: argparse.Namespace, workers: int) -> dict[str, Any]:
    """One simulated study, with kills and restarts spread over its trials."""
    address, begin = server.new_database(), time.perf_counter()
    bind(address, given)
    share = given.trials / (given.restarts + 1)
    events = sorted(
        [(random.uniform(0.03, 0.9) * given.trials, "kill") for _ in range(given.kills)]
        + [((number + 1) * share, "restart") for number in range(given.restarts)]
    )
    with tempfile.TemporaryDirectory() as folder:
        told, table = Path(folder), Path(folder) / "costs.json"
        table.write_text(json.dumps(costs(given.blocks, given.seed)))
        fleet, restarts = Fleet(address, given, table, told), 0
        fleet.start(workers)
        while fleet.is_working:
            time.sleep(0.5)
            done = finished(address)
            while events and 0 <= events[0][0] <= done and fleet.is_working:
                what = events.pop(0)[1]
                print(f"{done} trials: {what}", flush=True)
                if what == "kill":
                    fleet.kill_one()
                else:
                    restarts += 1
                    server.stop(how="immediate" if restarts % 3 == 0 else "fast")
                    time.sleep(2)
                    server.start()
        codes, wall = fleet.codes(), time.perf_counter() - begin
        spent = [json.loads(path.read_text()) for path in told.glob("[0-9]*.json")]
    return {
        "workers": workers, "trials": given.trials, "blocks": given.blocks, "strategy": given.strategy,
        "trial_seconds": given.seconds, "kills": given.kills - sum(e[1] == "kill" for e in events),
        "restarts": restarts, "exit_codes": {str(code): count for code, count in codes.items()},
        "wall_seconds": round(wall, 1), "trials_a_second": round(given.trials / wall, 2),
        **times(spent), **verdict(address, given.trials),
    }  # fmt: skip


def times(spent: list[dict[str, list[float]]]) -> dict[str, Any]:
    """Medians and 95th percentiles of what the workers' calls took, in seconds."""
    found = {}
    for name in ("begin", "settle", "propose"):
        values = sorted(value for one in spent for value in one.get(name, []))
        if values:
            tail = values[int(0.95 * len(values))]
            found[f"{name}_seconds"] = [round(statistics.median(values), 4), round(tail, 4)]
    return found


def verdict(address: str, budget: int) -> dict[str, Any]:
    """What is there at the end, against what must be."""
    with Store.open(address) as store:
        trials, front, running = store.trials(STUDY), store.front(STUDY), store.running(STUDY)
        storage = store.optuna()
        told = storage.get_all_trials(storage.get_study_id_from_name(STUDY), deepcopy=False)
        workers = store.workers(STUDY)
    complete = [trial for trial in trials if trial.state == "complete"]
    times_measured = Counter(trial.assignment.digest for trial in complete)
    values = {t.number: [t.latency_ms, t.loss] for t in complete}
    return {
        "complete": len(complete),
        "interrupted": sum(t.failure is not None and t.failure.kind == "interrupted" for t in trials),
        "lost": budget - len(complete),
        "doubled": sum(count - 1 for count in times_measured.values()),
        "numbers_missing": len(set(range(len(trials))) - {trial.number for trial in trials}),
        "still_running": len(running),
        "workers_left": len(workers),
        "front_is_right": front == pareto(trials),
        "optuna_differs": sum(
            values.get(trial.number) != trial.values
            for trial in told
            if trial.state == optuna.trial.TrialState.COMPLETE or trial.number in values
        ),
    }


def markdown(known: dict[str, Any]) -> str:
    """The results for people."""
    first = known["runs"][0]
    names = [name for name in first if any(name in row for row in known["runs"])]
    lines = [
        f"# Simulated workers on PostgreSQL, {known['date']}",
        "",
        f"`scripts/scale/simulate_scale.py {known['arguments']}` on {known['cores']} cores, which the",
        "workers share with the server. Pairs are the median and the 95th percentile, in seconds,",
        "waiting for other writers included.",
        "",
        f"| | {' | '.join(str(number + 1) for number in range(len(known['runs'])))} |",
        f"|---{'|---' * len(known['runs'])}|",
        *(
            f"| {name.replace('_', ' ')} | {' | '.join(str(row.get(name)) for row in known['runs'])} |"
            for name in names
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """The study with faults, then the sweep; exits with 1 if anything is lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="that a trial takes")
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--strategy", default="random", choices=("random", "autoprec"))
    parser.add_argument(
        "--sweep", default="", help="numbers of workers, for the rate that the database takes"
    )
    parser.add_argument("--sweep-trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "studies" / "results")
    given = parser.parse_args()
    random.seed(given.seed)
    date = datetime.now(UTC).date().isoformat()
    known: dict[str, Any] = {
        "date": date, "arguments": " ".join(sys.argv[1:]).partition(" --out")[0],
        "cores": len(os.sched_getaffinity(0)), "runs": [],
    }  # fmt: skip
    target = given.out / f"simulated_scale_{date}"

    def note(row: dict[str, Any]) -> None:
        known["runs"].append(row)
        target.with_suffix(".json").write_text(json.dumps(known, indent=1) + "\n")
        target.with_suffix(".md").write_text(markdown(known))
        print(json.dumps(row, indent=1), flush=True)

    with postgresql_server(durable=True) as server:
        note(run(server, given, given.workers))
        for workers in map(int, filter(None, given.sweep.split(","))):
            quiet = argparse.Namespace(**vars(given) | {"kills": 0, "restarts": 0, "seconds": 0.0})
            quiet.trials = given.sweep_trials
            note(run(server, quiet, workers))
    wrong = ("lost", "doubled", "numbers_missing", "still_running", "workers_left", "optuna_differs")
    sys.exit(any(row[name] for row in known["runs"] for name in wrong))


if __name__ == "__main__":
    main()
