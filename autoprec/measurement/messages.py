"""What the search and its worker say to each other, as JSON lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from autoprec.errors import FailureKind
from autoprec.legality.pieces import Question
from autoprec.legality.verdicts import Verdict
from autoprec.records import (
    Assignment,
    Block,
    Departure,
    Inspection,
    Interval,
    Latency,
    Measurement,
    Quality,
    SampleScore,
    Step,
)
from autoprec.spec import BackendSection, PipelineSection, QualitySection, SamplesSection, TimingSection


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What stays the same from candidate to candidate; the worker keeps what it made of it."""

    backend: BackendSection
    pipeline: PipelineSection
    samples: SamplesSection
    quality: QualitySection
    timing: TimingSection
    shapes: dict[str, tuple[int, ...]]
    reference_path: str
    reference_digest: str
    samples_digest: str = ""
    """Of the evaluation set, which nobody may change while it is in use; "" for files of an export's own."""
    is_whole: bool = True
    """Whether the samples are all there are: of a few, all masks may be empty by chance."""
    masks_path: str = ""
    """A file, named by all that the reference's masks depend on, that keeps them; "" keeps them nowhere."""
    threads: int | None = None
    """Of what is computed on the CPU beside the engine; None takes every core."""
    device: str = ""
    """Names the device for its lease, see `lease.DeviceLease`; "" is a device that nobody else can use."""

    def is_as(self, other: Setup) -> bool:
        """Whether what was made of one serves the other: where the reference's file lies does not count."""
        return self == msgspec.structs.replace(other, reference_path=self.reference_path)


class Job(msgspec.Struct, frozen=True, kw_only=True, tag="job"):
    """Measure one candidate. `reference_latency_ms` is the study's; None takes this measurement's own.

    `heavy` names the nodes whose kernels decide what a block ran in (convolutions and matrix products).
    `profiled` loads a second engine for the times of the blocks. A candidate that a point of `front`
    (latency in ms, loss) surely dominates after a share of the samples is not scored on the rest. It is timed
    once nobody holds `lease.calibration` in the folder `behind`.
    """

    setup: Setup
    candidate_path: str
    assignment: Assignment
    blocks: tuple[Block, ...]
    heavy: tuple[str, ...]
    reference_latency_ms: float | None = None
    profiled: bool = False
    front: tuple[tuple[Interval, Interval], ...] = ()
    behind: str = ""


class Score(msgspec.Struct, frozen=True, kw_only=True, tag="score"):
    """Score one candidate's masks over some samples, without timing it."""

    setup: Setup
    candidate_path: str
    samples: int


class Probe(msgspec.Struct, frozen=True, kw_only=True, tag="probe"):
    """Find out what becomes of a question on the engine."""

    backend: BackendSection
    question: Question


class Reach(msgspec.Struct, frozen=True, kw_only=True, tag="reach"):
    """Open the engine's library and device ahead of the first request: that takes seconds."""

    backend: BackendSection


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """Build the reference and the decoder ahead of the first candidate."""

    setup: Setup


class Race(msgspec.Struct, frozen=True, kw_only=True, tag="race"):
    """Time a model against another one, on drawn inputs, by the one stopwatch."""

    backend: BackendSection
    timing: TimingSection
    reference_path: str
    candidate_path: str


class Inspect(msgspec.Struct, frozen=True, kw_only=True, tag="inspect"):
    """Profile one candidate's kernels, and draw the masks of these scores into `folder`."""

    setup: Setup
    candidate_path: str
    worst: tuple[SampleScore, ...]
    typical: tuple[SampleScore, ...]
    folder: str


class WriteExamples(msgspec.Struct, frozen=True, kw_only=True, tag="examples"):
    """Write some samples with the logits of both engines into a new folder.

    Those of the original model are made of `original`, a file, or read from `originals`, a folder of
    earlier examples. `exactly` fails where the candidate's engine computes something other than its file.
    """

    setup: Setup
    candidate_path: str
    count: int
    folder: str
    original: str = ""
    originals: str = ""
    exactly: bool = False


class Original(msgspec.Struct, frozen=True, kw_only=True):
    """The model as the user gave it, some evaluation samples, and what makes masks of its outputs.

    `folder` takes what is written on the way; it may be cleared between two comparisons. A quantised model is
    run without its rounding, as the float model behind it, unless it `keeps_rounding`.
    """

    path: str
    folder: str
    backend: BackendSection
    pipeline: PipelineSection
    samples: SamplesSection
    quality: QualitySection
    shapes: dict[str, tuple[int, ...]]
    count: int
    keeps_rounding: bool = False


class Compare(msgspec.Struct, frozen=True, kw_only=True, tag="compare"):
    """Find out how far the model of a step is from the original; `tolerance` is that of an error."""

    original: Original
    step: Step
    path: str
    tolerance: float


class Locate(msgspec.Struct, frozen=True, kw_only=True, tag="locate"):
    """Compare these values of a candidate with the reference's, on some samples; `exactly` leaves the
    engine out."""

    setup: Setup
    candidate_path: str
    values: tuple[str, ...]
    samples: int
    exactly: bool = False


class Stage(msgspec.Struct, frozen=True, tag="stage"):
    """The worker begins a step."""

    name: str


class Said(msgspec.Struct, frozen=True, tag="said"):
    """Something that the user should know, in one line."""

    message: str


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The candidate is measured."""

    measurement: Measurement


class Scored(msgspec.Struct, frozen=True, tag="scored"):
    """The candidate's masks are scored."""

    quality: Quality


class Written(msgspec.Struct, frozen=True, tag="written"):
    """Examples are written: the candidate's score against the reference, and against the original model,
    where that could be run."""

    quality: Quality
    faithful: Quality | None


class Probed(msgspec.Struct, frozen=True, tag="probed"):
    """The pattern is tried."""

    verdict: Verdict


class Reached(msgspec.Struct, frozen=True, tag="reached"):
    """The engine is there, or what was to be built on it."""


class Raced(msgspec.Struct, frozen=True, tag="raced"):
    """Both models were timed in turn."""

    latency: Latency


class Inspected(msgspec.Struct, frozen=True, tag="inspected"):
    """The candidate was looked into."""

    inspection: Inspection


class Compared(msgspec.Struct, frozen=True, tag="compared"):
    """The step is compared."""

    departure: Departure


class ValueDifference(NamedTuple):
    """How far a value is from the reference's: relative error, absolute and relative differences, cosine."""

    error: float
    max_abs: float
    mean_abs: float
    max_rel: float
    mean_rel: float
    cosine: float


class Located(msgspec.Struct, frozen=True, tag="located"):
    """Values were compared on some samples: differences by name. `ran` says what computed both."""

    ran: str
    samples: int
    figures: dict[str, ValueDifference]


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The candidate failed. After a "crash" the worker is fit for nothing more."""

    kind: FailureKind
    message: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The user has to fix something before any candidate can be measured."""

    message: str


Request = Job | Score | Probe | Reach | Ready | Race | Inspect | WriteExamples | Compare | Locate
Found = Done | Scored | Written | Probed | Reached | Raced | Inspected | Compared | Located
Answer = Stage | Said | Found | Failed | Refused

encode = msgspec.json.encode
decode_request: Callable[[bytes], Request] = msgspec.json.Decoder(Request).decode
decode_answer: Callable[[bytes], Answer] = msgspec.json.Decoder(Answer).decode
