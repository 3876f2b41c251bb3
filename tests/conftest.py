"""Fixtures that several folders share."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from warm_workers import Warm

from autoprec import rehearsal
from autoprec.isolation import WorkerProcess
from postgresql_server import PostgresqlServer, postgresql_server, programs

# Whoever adds a backend reads what its checks compare, and not that something failed.
pytest.register_assert_rewrite("backend_contract")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays to the end: no garbage collection looks through it again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _heeds_ctrl_c() -> None:
    """A shell's background jobs ignore Ctrl-C, and so would all that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _rehearses_nothing() -> None:
    """Thousands of models are loaded here: a copy of the process before each is a tenth of all time."""
    rehearsal.needless()


@pytest.fixture
def rehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading is rehearsed as in a command."""
    monkeypatch.setitem(rehearsal._here, "needless", False)


@pytest.fixture(scope="session", autouse=True)
def _own_devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests that run beside one another in several processes do not wait for one another's timings: leases of
    devices lie in the temporary folder, and no test asserts a time."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.getbasetemp()))
        patch.setattr(tempfile, "tempdir", None)
        yield
        patch.setattr(tempfile, "tempdir", None)


@pytest.fixture(scope="session", autouse=True)
def _warm_workers() -> Iterator[None]:
    """Workers that this process starts are forked: see `Warm`."""
    cold, warm = WorkerProcess._start, Warm(dict(os.environ))

    def start(self: WorkerProcess, child_end: int, log: BinaryIO, scratch: Path) -> Any:
        forked = warm.start(self._module, child_end, log, self._variables(scratch))
        return forked or cold(self, child_end, log, scratch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerProcess, "_start", start)
        yield
    warm.close()


@pytest.fixture(scope="session")
def _caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Path]]:
    """New folders, one after another. `mktemp` would list all earlier ones for each."""
    folder = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:  # for what several tests share, which is made before theirs
        patch.setenv("XDG_CACHE_HOME", str(folder / "shared"))
        yield (folder / str(number) for number in count())


@pytest.fixture(autouse=True)
def _own_cache(_caches: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What studies of one engine share in the user's cache does not pass from test to test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(next(_caches)))


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresqlServer]:
    """A PostgreSQL server, for tests that need one; skipped where it is not installed."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install '.[postgresql]'")
    with postgresql_server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"], scope="session")
def place(request: pytest.FixtureRequest) -> Iterator[Callable[[], Path | str]]:
    """Makes a new, empty place for a store: the path of a SQLite file, or a PostgreSQL database's address."""
    if request.param == "postgresql":
        server: PostgresqlServer = request.getfixturevalue("server")
        yield server.new_database
        return
    with tempfile.TemporaryDirectory() as folder:
        yield lambda: Path(tempfile.mkdtemp(dir=folder)) / "study.db"


@pytest.fixture
def where(place: Callable[[], Path | str]) -> Path | str:
    """A new place for a store."""
    return place()
