"""An agent that lies: answers as a real one, but for the requests that it has a lie for.

python liar.py LIES, a JSON object by request: `answer` is a header, `blobs` sizes in bytes of zeros, `raw`
bytes in hexadecimal in place of a frame, `times` how often they are repeated, -1 for ever; `words` go to the
standard error, for ever.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

# As on a target, where the agent's modules lie alone; beside them, all of autoprec would load.
sys.path.append(str(Path(__file__).parents[3] / "autoprec" / "backends" / "target" / "agent"))
wire = importlib.import_module("wire")

TRUTHS: dict[str, dict[str, Any]] = {
    "hello": {"library": "", "version": "2026.4.1", "device": "EPYC", "python": "3.8.1", "machine": "Linux"},
    "missing": {"missing": []},
    "build": {"engine_bytes": 1000, "device_memory_bytes": 2000},
    "prepare": {"device_memory_bytes": 2000},
    "run": {"arrays": [["", "<f4", [1, 2, 32, 32]]]},
    "rounds": {"milliseconds": [1.5]},
    "describe": {"nodes": []},
}


def main() -> None:
    lies = json.loads(sys.argv[1])
    out = sys.stdout.buffer
    out.write(b"autoprec have\n")
    out.flush()
    while True:
        header, _ = wire.receive(sys.stdin.buffer)
        request = header["request"]
        lie = lies.get(request, {})
        while "words" in lie:
            sys.stderr.write(lie["words"])
        times = lie.get("times", 1)
        while "raw" in lie and times:
            out.write(bytes.fromhex(lie["raw"]))
            times -= 1
        out.flush()
        if "raw" not in lie:
            sizes = lie.get("blobs", [8192] if request == "run" else [])
            is_empty = request == "run" and not header["outputs"]
            answer = {} if is_empty else lie.get("answer", TRUTHS.get(request, {}))
            wire.send(out, answer, [bytes(size) for size in sizes if not is_empty])


if __name__ == "__main__":
    main()
