"""A study's definition: a TOML file parsed once, at the edge, into frozen records.

`sections.py` and `study_spec.py` hold the schema and its defaults, `load.py` reads a file, `budget.py` parses
budgets.
"""

from autoprec.spec.budget import Budget, parse_budget
from autoprec.spec.load import aimed, load_spec, stored_at, with_search
from autoprec.spec.sections import (
    SAFE_REFERENCE,
    SMALL_MASK,
    BackendSection,
    BlocksSection,
    CalibrationSection,
    ModelSection,
    PipelineSection,
    QualitySection,
    RangeMethod,
    SamplesSection,
    SearchSection,
    Section,
    Strategy,
    TargetSection,
    TimingSection,
)
from autoprec.spec.study_spec import StudySpec

__all__ = [
    "SAFE_REFERENCE",
    "SMALL_MASK",
    "BackendSection",
    "BlocksSection",
    "Budget",
    "CalibrationSection",
    "ModelSection",
    "PipelineSection",
    "QualitySection",
    "RangeMethod",
    "SamplesSection",
    "SearchSection",
    "Section",
    "Strategy",
    "StudySpec",
    "TargetSection",
    "TimingSection",
    "aimed",
    "load_spec",
    "parse_budget",
    "stored_at",
    "with_search",
]
