"""A slow line that drops, as ssh's ProxyCommand: `python line.py HOST PORT RATE DELAY LIFE SEED LOG`.

RATE is in bytes a second, DELAY in seconds, for each way. After a random time with a mean of LIFE seconds the
line drops: half of the time it closes, otherwise it stays open and nothing comes through any more, like when
a cable is pulled. 0 is no limit. LOG receives a line for each connection: bytes there and back.
"""

from __future__ import annotations

import json
import os
import queue
import random
import signal
import socket
import sys
import threading
import time
from typing import NoReturn

_CHUNK = 1 << 14


class Line:
    """The state shared by both ways: speed, delay, and whether anything still comes through."""

    def __init__(self, rate: float, delay: float, log: str) -> None:
        self.rate, self.delay, self.log = rate, delay, log
        self.is_silent = False
        self.carried = {"there": 0, "back": 0}

    def carry(self, way: str, source: int, sink: int) -> None:
        """Copy from one descriptor to another until the first ends, then end the process."""
        due: queue.Queue[tuple[float, bytes]] = queue.Queue(64)
        threading.Thread(target=self._write, args=(due, sink), daemon=True).start()
        while data := os.read(source, _CHUNK):
            self.carried[way] += len(data)
            due.put((time.monotonic() + self.delay, data))
            if self.rate:
                time.sleep(len(data) / self.rate)
        due.put((time.monotonic() + self.delay, b""))

    def end(self, code: int) -> NoReturn:
        """Log the bytes carried, and exit."""
        with open(self.log, "a") as log:  # noqa: PTH123 - quick
            log.write(json.dumps(list(self.carried.values())) + "\n")
        os._exit(code)

    def _write(self, due: queue.Queue[tuple[float, bytes]], sink: int) -> None:
        while True:
            when, data = due.get()
            time.sleep(max(0.0, when - time.monotonic()))
            if not data:
                self.end(0)
            while data and not self.is_silent:
                data = data[os.write(sink, data) :]


def main() -> NoReturn:
    """Connect, and carry both ways."""
    host, port, log = sys.argv[1], int(sys.argv[2]), sys.argv[7]
    rate, delay, life, seed = map(float, sys.argv[3:7])
    dice = random.Random(f"{seed} {os.getpid()}")
    line = Line(rate, delay, log)
    for number in (signal.SIGTERM, signal.SIGHUP):  # ssh ends its ProxyCommand by a signal
        signal.signal(number, lambda *_: line.end(0))
    far = socket.create_connection((host, port), timeout=20)
    far.settimeout(None)
    for way, source, sink in (("there", 0, far.fileno()), ("back", far.fileno(), 1)):
        threading.Thread(target=line.carry, args=(way, source, sink), daemon=True).start()
    if life:
        time.sleep(dice.expovariate(1 / life))
        if dice.random() < 0.5:
            line.end(1)
        line.is_silent = True
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
