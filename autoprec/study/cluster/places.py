"""A search on every device of a Ray cluster, or on every node if engines run on CPUs; all join one study.

Ray places the searches, ships the study's files through its object store, and reports which ones died. The
shared database makes them one study, as with searches started by hand: trials of a lost node are taken over,
and a node that joins later takes part from then on.
"""

from __future__ import annotations

import atexit
import importlib
import os
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from autoprec.backends.devices import resource
from autoprec.backends.timing import Deadline
from autoprec.errors import BackendError, StudyError, UserError, how_to_install
from autoprec.spec import StudySpec, parse_budget
from autoprec.study.cluster.parcel import pack, unpack
from autoprec.study.study import Study

_HEAD_SECONDS = 20.0
_LOOK_SECONDS = 5.0
"""Between two checks for new nodes."""
_TOKEN, _TOKENS = Path.home() / ".ray" / "auth_token", {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}
"""Where Ray keeps this machine's token, and the environment variables that give another one."""
_MOST_JOBS = 8
_MOST_FAILURES = 3
"""After this many searches have died on a node, none is started there again."""


class HeadLostError(UserError):
    """The head of the cluster is gone, and its nodes with it."""

    def __init__(self, head: str) -> None:
        super().__init__(
            f"the head of the cluster, {head}, has not answered for {_HEAD_SECONDS:.0f} s: start a cluster "
            "again, then repeat the command; finished trials are kept"
        )


class SearchPlace(NamedTuple):
    """Where one search runs: a node, and the index of its device (0 if engines run on the CPU)."""

    node: str
    number: int


def search_on_ray(
    spec: StudySpec, budget: str, address: str, jobs: int | None, say: Callable[[str], None]
) -> None:
    """Search on all nodes until the budget is spent.

    Args:
        spec: the definition; its storage is a database that every node reaches.
        budget: of the run, which all searches share.
        address: of the cluster, as printed by `ray start`; `local` starts one on this machine.
        jobs: builds in parallel for each device; None decides by the node's CPUs.
        say: receives a line about each search that begins or ends.

    Raises `BackendError` without Ray or if the cluster cannot be reached, `StudyError` for a study whose
    database is a file, and `UserError` for the first problem of a search that the user must fix.
    """
    if isinstance(spec.database, Path):
        raise StudyError("a study on several nodes needs a database that all reach: give --storage ADDRESS")
    ray = _joined(address)
    try:
        _Searches(ray, spec, budget, jobs, say).run()
    except HeadLostError:
        atexit.register(_leave)
        raise
    except BaseException:
        ray.shutdown()
        raise
    ray.shutdown()


class _Searches:
    """The searches that are running.

    Args:
        ray: the module `ray`, connected to a cluster.
        spec: of the study that each search joins.
        budget: of all searches together, as the user writes it.
        jobs: candidates to build in parallel on each device; None to choose by cores and memory.
        say: receives messages, a line each.
    """

    def __init__(
        self, ray: Any, spec: StudySpec, budget: str, jobs: int | None, say: Callable[[str], None]
    ) -> None:
        self._ray, self._budget, self._jobs, self._say = ray, budget, jobs, say
        self._resource = resource(spec.backend.name, spec.backend.options)
        self._parcel = ray.put(pack(spec))
        self._running: dict[Any, SearchPlace] = {}
        self._failures: Counter[str] = Counter()
        self._problem = ""
        seconds = parse_budget(budget).seconds
        self._deadline = Deadline(seconds)
        self._is_over = False

    def run(self) -> None:
        """Keep searches running until all have ended.

        Raises `UserError` for what the user must fix, `HeadLostError` once the head of the cluster is gone.
        """
        head = self._ray.get_runtime_context().gcs_address
        # The head is watched here, because Ray itself would end this process a minute after losing it, with
        # an error of its own.
        seen = Deadline(_HEAD_SECONDS)
        while True:
            if _answers(head):
                seen = Deadline(_HEAD_SECONDS)
            elif seen.is_over:
                raise HeadLostError(head)
            else:
                time.sleep(1.0)
                continue
            if not self._is_over and not self._deadline.is_over:
                for place in self._free():
                    self._start(place)
            if not self._running:
                break
            try:
                done, _ = self._ray.wait(list(self._running), timeout=_LOOK_SECONDS)
            except KeyboardInterrupt:
                self._stop()
                continue
            for search in done:
                self._end(search, self._running.pop(search))
        if self._problem:
            raise UserError(self._problem)

    def _free(self) -> Iterator[SearchPlace]:
        """Places on living nodes where no search is running."""
        busy = set(self._running.values())
        for node in self._ray.nodes():
            if not node["Alive"] or self._failures[node["NodeID"]] >= _MOST_FAILURES:
                continue
            count = int(node["Resources"].get(self._resource, 0)) if self._resource else 1
            places = (SearchPlace(node["NodeID"], number) for number in range(count))
            yield from (place for place in places if place not in busy)

    def _start(self, place: SearchPlace) -> None:
        """Start a search at a place, with its share of the node's CPUs."""
        node = next(node for node in self._ray.nodes() if node["NodeID"] == place.node)
        here = node["Resources"]
        share = int(here.get("CPU", 1)) // max(1, int(here.get(self._resource, 0)) if self._resource else 1)
        cpus = max(1, min(share, _MOST_JOBS if self._jobs is None else self._jobs))
        # By itself a search would take every processor of the node, which those on its other devices share.
        jobs = cpus if self._resource and self._jobs is None else self._jobs
        # Pinned and without retries: where a search is started again is decided here, by its node's
        # failures.
        pinned = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(place.node, soft=False)
        remote = self._ray.remote(_take_part).options(
            num_cpus=cpus, **_one(self._resource), max_retries=0, scheduling_strategy=pinned
        )
        self._running[remote.remote(self._parcel, self._budget, jobs, _version())] = place
        self._say(f"a search begins on node {node['NodeManagerAddress']}")

    def _stop(self) -> None:
        """Let the running trials finish, as Ctrl-C does everywhere; the next Ctrl-C ends at once."""
        if self._is_over:
            raise KeyboardInterrupt
        self._is_over = True
        self._say("stopping after the running trials; once more stops immediately")
        for search in self._running:
            self._ray.cancel(search)

    def _end(self, search: Any, place: SearchPlace) -> None:
        """Handle a search that has ended: the budget is spent, or it died and is replaced."""
        try:
            problem = self._ray.get(search)
        except self._ray.exceptions.RayError as error:
            self._failures[place.node] += 1
            self._say(f"a search was lost ({type(error).__name__}); others take its trials over")
            return
        self._is_over = True
        self._problem = self._problem or problem
        self._say("a search has ended")


def _one(resource: str) -> dict[str, Any]:
    """Ray's option for one device; for GPUs it has a word of its own, and hides the others from a search."""
    if resource in ("", "GPU"):
        return {"num_gpus": int(bool(resource))}
    return {"resources": {resource: 1}}


def _take_part(parcel: bytes, budget: str, jobs: int | None, wanted: str) -> str:
    """Search on a node until the budget is spent; returns what the user has to fix, if anything."""
    if (here := _version()) != wanted:
        return f"a node has autoprec {here}, and the one that started the search {wanted}: install the same"
    try:
        with tempfile.TemporaryDirectory(prefix="autoprec-ray-") as folder:
            Study(unpack(parcel, Path(folder))).search(budget, jobs=jobs)
    except UserError as error:
        return str(error)
    return ""


def _joined(address: str) -> Any:
    """Ray, connected to the cluster."""
    if address != "local" and (_TOKENS & os.environ.keys() or _TOKEN.exists()):
        # Where there is a token `ray start` demands it, and whoever joins by address must be told to send it.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.util.scheduling_strategies")
    except ModuleNotFoundError as error:
        raise BackendError(f"--ray needs Ray: {how_to_install('ray')}") from error
    try:
        if address == "local":
            # By address: without one Ray waits for this machine's last cluster, even if that was killed.
            ray.init(address="local", log_to_driver=False, include_dashboard=False)
        else:
            ray.init(address=address, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        told = str(error.__cause__ if "token" in str(error.__cause__) else error).strip().splitlines()
        reason = next((line for line in told if "AuthenticationError" in line), told[0])
        raise BackendError(
            f"--ray {address}: the cluster cannot be joined: {reason.split('. ')[0]}"
        ) from error
    return ray


def _leave() -> None:
    """Exit without Ray's own cleanup, which waits for the lost head and then crashes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2)


def _answers(address: str) -> bool:
    """Whether anyone listens at host:port."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2):
            return True
    except OSError:
        return False


def _version() -> str:
    try:
        return version("autoprec")
    except PackageNotFoundError:
        return "not installed"
