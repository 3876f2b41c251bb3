"""A search ends although its database does not answer any more."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from autoprec.store import Store
from autoprec.study.night import heart
from postgresql_server import PostgresqlServer


@contextmanager
def paused(server: PostgresqlServer) -> Iterator[None]:
    """The server and all that serve a connection stand still in the block."""
    assert server._process is not None
    root = psutil.Process(server._process.pid)
    processes = [root, *root.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def test_who_ends_takes_no_long_leave_of_a_server_that_hangs(
    server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heart, "_FAREWELL_SECONDS", 0.1)
    with Store.open(server.new_database()) as store:
        beating = heart.Heart(store.join("demo", ("gpu 0",), "1"))
        beating.__enter__()
        assert len(store.workers("demo")) == 1
        with paused(server):
            beating.__exit__(None, None, None)
        for thread in threading.enumerate():  # what is left of it ends once the server goes on
            if thread.name in ("heartbeat", "farewell"):
                thread.join()
