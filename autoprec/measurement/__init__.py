"""Measuring one candidate: build, score its masks, time it against the reference, audit what ran.

`Bench` is the search's side; `python -m autoprec.measurement FD` is the worker's, which keeps the reference
engine, the decoder and the reference's masks between candidates.
"""

from autoprec.measurement.bench import Bench
from autoprec.measurement.messages import (
    Compare,
    Inspect,
    Job,
    Locate,
    Original,
    Probe,
    Race,
    Score,
    Setup,
    WriteExamples,
)

__all__ = [
    "Bench",
    "Compare",
    "Inspect",
    "Job",
    "Locate",
    "Original",
    "Probe",
    "Race",
    "Score",
    "Setup",
    "WriteExamples",
]
