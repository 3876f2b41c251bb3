"""The records that travel between modules: frozen, typed, without I/O.

They are `msgspec` structs, so the store, the worker's pipe and `--json` write and read them without a
second description. Units live in names.
"""

from autoprec.records._base import Interval, Record
from autoprec.records._front import (
    Point,
    anchors,
    as_counted,
    counting,
    pareto,
    pareto_numbers,
    surely_dominated,
    wrong_assignments,
)
from autoprec.records._json import from_json, to_json
from autoprec.records.blocks import Assignment, Block, Candidate
from autoprec.records.comparisons import Comparison, Match, Side, Verdict
from autoprec.records.exports import Examples, Preprocessing, Recipe
from autoprec.records.fidelity import UNLIKE, Departure, Exactness, Step, in_words
from autoprec.records.layers import BlockDifference, Layerwise
from autoprec.records.measurements import (
    BlockAudit,
    Clocks,
    KernelTime,
    Latency,
    Measurement,
    Quality,
    SampleScore,
    StageSeconds,
)
from autoprec.records.outputs import ModelOutput
from autoprec.records.reports import (
    BlockReasons,
    Border,
    Explanation,
    Findings,
    Inspection,
    Neighbour,
    NightSummary,
    Picture,
    PlannedTrial,
    RunStart,
    SearchPlan,
    Sureness,
    TrialAndNoise,
)
from autoprec.records.studies import (
    Basis,
    Export,
    Failure,
    Fingerprint,
    Identity,
    Implicit,
    MeasuredOn,
    Origin,
    Reference,
    StudySummary,
    Told,
    TrialRecord,
    TrialState,
)
from autoprec.records.verdicts import Check, MachineCheck, Verification
from autoprec.records.workers import Doing, Worker, WorkerShare

__all__ = [
    "UNLIKE",
    "Assignment",
    "Basis",
    "Block",
    "BlockAudit",
    "BlockDifference",
    "BlockReasons",
    "Border",
    "Candidate",
    "Check",
    "Clocks",
    "Comparison",
    "Departure",
    "Doing",
    "Exactness",
    "Examples",
    "Explanation",
    "Export",
    "Failure",
    "Findings",
    "Fingerprint",
    "Identity",
    "Implicit",
    "Inspection",
    "Interval",
    "KernelTime",
    "Latency",
    "Layerwise",
    "MachineCheck",
    "Match",
    "MeasuredOn",
    "Measurement",
    "ModelOutput",
    "Neighbour",
    "NightSummary",
    "Origin",
    "Picture",
    "PlannedTrial",
    "Point",
    "Preprocessing",
    "Quality",
    "Recipe",
    "Record",
    "Reference",
    "RunStart",
    "SampleScore",
    "SearchPlan",
    "Side",
    "StageSeconds",
    "Step",
    "StudySummary",
    "Sureness",
    "Told",
    "TrialAndNoise",
    "TrialRecord",
    "TrialState",
    "Verdict",
    "Verification",
    "Worker",
    "WorkerShare",
    "anchors",
    "as_counted",
    "counting",
    "from_json",
    "in_words",
    "pareto",
    "pareto_numbers",
    "surely_dominated",
    "to_json",
    "wrong_assignments",
]
