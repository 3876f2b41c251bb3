"""A study with a hundred workers, without their engines: the real scheduler, store and strategy, known costs.

    python scripts/scale/simulate_scale.py --workers 100 --trials 10000 --kills 20 --restarts 3

Starts a PostgreSQL server (commits are flushed, as for users), forks the workers, kills some at random and
restarts the server meanwhile, every third time by a crash. A worker's candidate is a file that the
`simulated` backend builds; measuring it takes `--seconds` of sleep. At the end every trial must be stored
once, in autoprec's tables and in Optuna's, and the front must be that of the trials. `--sweep 10,30,100`
measures how many trials a second the database takes, with trials that take no time. Writes a `.json` and a
`.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fleet import Fleet
from outcomes import finished, markdown, times, verdict
from postgresql_server import PostgresqlServer, postgresql_server
from stand_ins import bind, costs


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
        fleet, restarts, told_of = Fleet(address, given, table, told), 0, 0
        fleet.start(workers)
        while fleet.is_working:
            time.sleep(0.5)
            done = finished(address)
            if done >= told_of + given.trials / 20:
                print(f"{done} trials after {time.perf_counter() - begin:.0f} s", flush=True)
                told_of = done
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
    results: dict[str, Any] = {
        "date": date, "arguments": " ".join(sys.argv[1:]).partition(" --out")[0],
        "cores": len(os.sched_getaffinity(0)), "runs": [],
    }  # fmt: skip
    given.out.mkdir(parents=True, exist_ok=True)  # before the run, whose figures exist nowhere else
    target = given.out / f"simulated_scale_{date}"

    def note(row: dict[str, Any]) -> None:
        results["runs"].append(row)
        print(json.dumps(row, indent=1), flush=True)
        target.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
        target.with_suffix(".md").write_text(markdown(results))

    with postgresql_server(durable=True) as server:
        note(run(server, given, given.workers))
        for workers in map(int, filter(None, given.sweep.split(","))):
            quiet = argparse.Namespace(**vars(given) | {"kills": 0, "restarts": 0, "seconds": 0.0})
            quiet.trials = given.sweep_trials
            note(run(server, quiet, workers))
    wrong = ("lost", "doubled", "numbers_missing", "still_running", "workers_left", "optuna_differs")
    sys.exit(any(row[name] for row in results["runs"] for name in wrong))


if __name__ == "__main__":
    main()
