"""A prepared study: its rewriter, the identity that it is bound to, and what its workers receive."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import msgspec
import onnx_ir as ir

from autoprec.backends.devices import devices
from autoprec.errors import StudyError, cannot
from autoprec.graph.model.files import remove_model
from autoprec.graph.model.load import model_digest
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.graph.variants.edits import Edits
from autoprec.graph.variants.refined import save_refined
from autoprec.graph.variants.toolbox import Toolbox
from autoprec.measurement import Setup
from autoprec.measurement.audit import deciding_nodes
from autoprec.records import Assignment, Basis, Block, Candidate, Identity, Implicit
from autoprec.spec import StudySpec
from autoprec.store import Artifacts
from autoprec.study.preparation.calibrating import calibrate
from autoprec.study.preparation.stages import (
    Asks,
    Calibrated,
    Judged,
    Loaded,
    based,
    judge,
    load,
    silent_basis,
    uniform,
)
from autoprec.writing import Material, Writers


@dataclass(frozen=True, slots=True)
class Prepared:
    """What one run works with, made by `prepare`.

    Attributes:
        work: folder for candidates, which no other process uses.
        blocks: each with its allowed precisions.
        reference: the assignment that all are compared with; `reference_candidate` is its typed model.
        anchors: (label, assignment) that every study measures first.
        identity: what the study is bound to.
        setup: what a measuring process keeps from candidate to candidate.
        material: what a writing process makes the same rewriter from.
    """

    spec: StudySpec
    folder: Path
    work: Path
    model: ir.Model
    shapes: dict[str, tuple[int, ...]]
    blocks: tuple[Block, ...]
    reference: Assignment
    anchors: tuple[tuple[str, Assignment], ...]
    identity: Identity
    reference_candidate: Candidate
    reference_digest: str
    setup: Setup
    rewriter: Rewriter
    material: Material
    turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    """Held by the thread that rewrites in this process: a rewriter is not thread-safe."""

    def uniform(self, precision: str) -> Assignment:
        """Every block in one precision, whether or not the study allows it."""
        return uniform(self.blocks, precision)

    def deciding(self, assignment: Assignment) -> tuple[str, ...]:
        """Names of the nodes whose kernels show the precision that each block ran in."""
        return deciding_nodes(self.model, self.blocks, assignment)

    def rewrite(self, assignment: Assignment, path: Path, writers: Writers | None = None) -> Candidate:
        """Write the typed model of an assignment, in this process or by one of the `writers`.

        Raises `TrialError`, or `StudyError` for a full disk.
        """
        with _writing(path):
            if writers is not None:
                return writers.write(self.material, assignment, path)
            with self.turn:
                return self.rewriter.write(assignment, path)

    def implicit(self, assignment: Assignment, path: Path) -> Implicit:
        """Write the float model of an assignment, for builders that are told precisions by flags. Raises like
        `rewrite`."""
        with _writing(path):
            return self.rewriter.implicit(assignment, path)

    def student(self, assignment: Assignment) -> tuple[ir.Model, ir.Model]:
        """The float model of an assignment, with the edits of its variants, and the typed one."""
        return self.rewriter.source(assignment).model, self.rewriter.rewrite(assignment)

    def keep(self, edits: Edits) -> str:
        """Store refined weights; returns their digest. Raises `StudyError` for a full disk."""
        folder = self.folder / "refined"
        with _writing(folder):
            return save_refined(edits, folder)

    @contextmanager
    def scratch(self, name: str = "candidate.onnx") -> Iterator[Path]:
        """A path for one candidate's model, which is removed afterwards, since it can be made again."""
        path = self.work / name
        try:
            yield path
        finally:
            remove_model(path)


def prepare(
    spec: StudySpec,
    say: Callable[[str], None] = lambda _: None,
    asks: Asks | None = None,
    basis: Basis | None = None,
    work: Path | None = None,
    artifacts: Artifacts | None = None,
) -> Prepared:
    """Load, calibrate (unless an earlier run did), judge and bind, one after the other.

    Args:
        spec: the study's definition.
        say: receives a line about each slow step.
        asks: asks the engine what it supports; None skips that, if nothing will be searched.
        basis: how the study writes candidates for its engine; None for a new study.
        work: folder for models that are written repeatedly; None is the study's own.
        artifacts: files shared with other hosts; None for a study of one host.

    Raises children of `UserError` for what is wrong with the definition, the model or the samples.
    """
    loaded = load(spec, say, scores=asks is not None)
    return judge_and_bind(loaded, calibrate(loaded, say, artifacts), asks, basis, work or Path(spec.folder))


def judge_and_bind(
    loaded: Loaded, calibrated: Calibrated, asks: Asks | None, basis: Basis | None, work: Path
) -> Prepared:
    """What follows the calibration.

    Args:
        loaded, calibrated: the model and the engine, and the model's statistics.
        asks, basis, work: as those of `prepare`, whose errors it raises.
    """
    if basis is None:
        basis = asks.basis(loaded, calibrated) if asks else silent_basis(loaded)
    loaded = based(loaded, basis)
    return bind(loaded, calibrated, basis, judge(loaded, calibrated, basis, asks), work)


def bind(loaded: Loaded, calibrated: Calibrated, basis: Basis, judged: Judged, work: Path) -> Prepared:
    """Make the rewriter, write the reference's model into `work`, and determine the study's identity.

    Args:
        loaded: model and engine.
        calibrated: statistics of the model.
        basis: how the study writes candidates for its engine.
        judged: blocks with their allowed precisions.
        work: folder for the reference's model.

    Raises `ModelError` for a missing decoder, `StudyError` for a full disk.
    """
    spec, folder = loaded.spec, Path(loaded.spec.folder)
    rewriter = _rewriter(loaded, calibrated, basis, judged.blocks, folder / "refined")
    identity = identity_of(loaded, basis, judged.blocks)
    with _writing(work / "reference.onnx"):
        reference = rewriter.write(judged.reference, work / "reference.onnx")
    digest = model_digest(Path(reference.model_path))
    return Prepared(
        spec=spec,
        folder=folder,
        work=work,
        model=loaded.model,
        shapes=loaded.shapes,
        blocks=judged.blocks,
        reference=judged.reference,
        anchors=judged.anchors,
        identity=identity,
        reference_candidate=reference,
        reference_digest=digest,
        setup=_setup(loaded, identity, reference, digest),
        rewriter=rewriter,
        material=_material(loaded, calibrated, basis, folder / "refined"),
    )


def _rewriter(
    loaded: Loaded, calibrated: Calibrated, basis: Basis, blocks: tuple[Block, ...], refined: Path
) -> Rewriter:
    how = loaded.spec.calibration
    toolbox = Toolbox(
        loaded.model,
        blocks,
        calibrated.histograms,
        method=how.method,
        percentile=how.percentile,
        moments=calibrated.moments,
        grids=dict(basis.grids),
    )
    return rewriter_in(loaded, blocks, toolbox, base=basis.base, refined=refined)


def _material(loaded: Loaded, calibrated: Calibrated, basis: Basis, refined: Path) -> Material:
    spec, backend = loaded.spec, loaded.backend
    return Material(
        model=spec.model,
        digest=loaded.digests[0],
        blocks=spec.blocks,
        calibration=spec.calibration,
        histograms=calibrated.files[0],
        moments=calibrated.files[1],
        of=calibrated.of,
        base=basis.base,
        grids=basis.grids,
        widened=tuple(sorted(backend.widened)),
        splits_projections=backend.splits_projections,
        refined=str(refined),
    )


def rewriter_in(
    loaded: Loaded,
    blocks: Sequence[Block],
    ranges: Mapping[str, float] | Toolbox,
    *,
    base: str = "fp32",
    refined: Path | None = None,
    grids: Mapping[str, str] = MappingProxyType({}),
) -> Rewriter:
    """The rewriter of a model for its engine; without ranges it writes floats alone.

    Args:
        loaded: model and engine.
        blocks: of the model.
        ranges: of activations, as `Rewriter` takes them.
        base: float precision around integers.
        refined: folder of refined weights.
        grids: of activations, as `Rewriter` takes them.
    """
    return Rewriter(
        loaded.model,
        blocks,
        ranges,
        base=base,
        widened=loaded.backend.widened,
        splits_projections=loaded.backend.splits_projections,
        refined=refined,
        grids=grids,
    )


def identity_of(loaded: Loaded, basis: Basis, blocks: Sequence[Block]) -> Identity:
    """What a study is bound to."""
    # Names and nodes alone: allowed precisions may change with the engine's version, which the fingerprint
    # has.
    layout = msgspec.json.encode([(block.name, block.nodes) for block in blocks])
    return Identity(
        **loaded.inputs,
        blocks=hashlib.sha256(layout).hexdigest()[:16],
        fingerprint=loaded.backend.fingerprint(),
        basis=basis,
    )


def _setup(loaded: Loaded, identity: Identity, reference: Candidate, digest: str) -> Setup:
    """What measuring processes receive."""
    spec = loaded.spec
    # The file of the reference's masks is named by everything that they depend on, so it is never stale.
    told = identity.model, identity.samples, identity.fingerprint, digest
    masks = hashlib.sha256(msgspec.json.encode((told, spec.pipeline.output))).hexdigest()[:16]
    return Setup(
        backend=spec.backend,
        pipeline=spec.pipeline,
        samples=spec.samples,
        quality=spec.quality,
        timing=spec.timing,
        shapes=loaded.shapes,
        reference_path=reference.model_path,
        reference_digest=digest,
        samples_digest=loaded.digests[2],
        masks_path=str((Path(spec.folder) / "reference" / f"{masks}.masks").absolute()),
        device=devices(spec.backend.name, spec.backend.options, None)[0].lease,
    )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StudyError(cannot(path, error)) from error
