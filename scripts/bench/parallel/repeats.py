"""Time a study's reference against itself, build after build, taking the device's lease like any worker.

    python repeats.py DEFINITION WORK

Prints `ready`, then the ratio and its interval of each pair of builds, as JSON lines: the true ratio is 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from autoprec.backends import create_backend
from autoprec.backends.timing import pair
from autoprec.measurement.lease import DeviceLease
from autoprec.samples import load_samples
from autoprec.spec import load_spec
from autoprec.study.preparation import prepare


def main(definition: Path, work: Path) -> None:
    """Time pairs of builds until killed."""
    prepared = prepare(load_spec(definition), work=work)
    setup = prepared.setup
    backend, lease = create_backend(setup.backend.name, setup.backend.options), DeviceLease(setup.device)
    inputs = load_samples(setup.samples, "evaluation", setup.shapes)[0].inputs
    path, timing = Path(setup.reference_path), setup.timing
    print("ready", flush=True)
    while True:
        with backend.build(path) as first, backend.build(path) as second, lease.alone():
            first.prepare(inputs)
            second.prepare(inputs)
            latency = pair(
                first,
                second,
                backend,
                timing,
            )
        interval = latency.ratio_interval
        print(json.dumps([latency.ratio, interval.low, interval.high]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
