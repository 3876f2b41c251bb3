"""In a fresh process: times an exported model against itself, with two new builds each time.

    python repeats.py EXPORT_FOLDER BACKEND COUNT

The true ratio is 1: deviations are errors of the method, and those that remain with many rounds are the luck
of a build. Prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rebuild import backend_of, inputs_of

from autoprec.backends.timing import pair
from autoprec.spec import TimingSection

TIMING = TimingSection(seconds=2)
"""As in the proof's study."""


def repeated(folder: Path, name: str, count: int) -> dict[str, Any]:
    """The ratios, and how many of their 95 % intervals contain 1."""
    backend, path = backend_of(folder, name), folder / "model.onnx"
    inputs, ratios, held, rounds = inputs_of(path), [], 0, []
    for _ in range(count):
        with backend.build(path) as first, backend.build(path) as second:
            first.prepare(inputs)
            second.prepare(inputs)
            latency = pair(
                first,
                second,
                backend,
                TIMING,
            )
        ratios.append(latency.ratio)
        rounds.append(latency.rounds)
        held += latency.ratio_interval.low <= 1 <= latency.ratio_interval.high
    return {"ratios": ratios, "held": held, "rounds": rounds}


if __name__ == "__main__":
    print(json.dumps(repeated(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
