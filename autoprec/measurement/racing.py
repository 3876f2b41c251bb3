"""The worker's side of a race: two models timed in turn on drawn inputs, where nobody asks for masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from autoprec.backends.timing import pair
from autoprec.legality.inputs import feeds_of
from autoprec.measurement.messages import Race
from autoprec.measurement.reaching import reach
from autoprec.records import Latency


def race(request: Race, say: Callable[[str], None]) -> Latency:
    """Paired latency of the candidate over the reference, one build of each. Raises `TrialError`."""
    backend = reach(request.backend, say)
    paths, timing = (Path(request.reference_path), Path(request.candidate_path)), request.timing
    with backend.build(paths[0]) as reference, backend.build(paths[1]) as candidate:
        for engine, path in ((reference, paths[0]), (candidate, paths[1])):
            engine.prepare(feeds_of(path))
        return pair(
            reference,
            candidate,
            backend,
            timing,
        )
