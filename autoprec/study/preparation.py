"""Everything that a night needs, made once from the definition: model, blocks, ranges, rewriter, identity."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import onnx_ir as ir

from autoprec.backends import Backend, create_backend
from autoprec.errors import ModelError, StudyError
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.files import remove_model
from autoprec.graph.model.load import input_shapes, load_model, model_digest
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.graph.variants.edits import Edits
from autoprec.graph.variants.refined import save_refined
from autoprec.graph.variants.toolbox import Toolbox
from autoprec.legality.judge import judge
from autoprec.legality.overflow import overflowing
from autoprec.measurement import Setup
from autoprec.measurement.audit import deciding_nodes
from autoprec.measurement.pipeline import decoder_outputs
from autoprec.quality import create_metric
from autoprec.records import Assignment, Block, Candidate, Fingerprint, Identity, Implicit
from autoprec.samples import load_samples
from autoprec.search import anchors
from autoprec.spec import SAFE_REFERENCE, StudySpec
from autoprec.study.evidence import Evidence


def load_blocks(
    spec: StudySpec, refused: Mapping[tuple[str, str], str] | None = None
) -> tuple[ir.Model, tuple[Block, ...]]:
    """The model and its blocks, with the precisions that they may have.

    Raises `ModelError` or `SpecError`.
    """
    model = load_model(Path(spec.model.path), spec.model.shapes)
    section = spec.blocks
    blocks = partition(model, minimum=section.minimum, maximum=section.maximum, depth=section.depth)
    return model, judge(blocks, model, spec.search.precisions, pin=section.pin, refused=refused)


Refuse = Callable[[Backend, str, ir.Model, Sequence[Block]], Mapping[tuple[str, str], str]]
"""From engine, base precision, model and blocks to the (block, precision) that the engine does not take."""


class Prepared:
    """What one run works with. Making it calibrates, unless an earlier night did.

    Args:
        spec: the study's definition.
        say: is told what takes time.
        refuse: asks the engine what it takes; None leaves that open, where nothing will be searched.

    Raises `UserError` children for what is wrong with the definition, the model or the samples.
    """

    def __init__(
        self, spec: StudySpec, say: Callable[[str], None] = lambda _: None, refuse: Refuse | None = None
    ) -> None:
        self.spec = spec
        self.folder = Path(spec.folder)
        backend = create_backend(spec.backend.name, spec.backend.options)
        self.base = spec.backend.base or backend.base_precision
        self.model, blocks = load_blocks(spec)
        self.shapes = dict(input_shapes(self.model))
        if refuse is not None:
            self._check_scoring()
        calibration = load_samples(spec.samples, "calibration", self.shapes)
        evaluation = load_samples(spec.samples, "evaluation", self.shapes)
        digests = model_digest(Path(spec.model.path)), calibration.digest, evaluation.digest
        evidence = Evidence(
            self.model, backend, calibration, self.folder / "calibration", "-".join(digests[:2]), say
        )
        histograms = evidence.histograms()
        overflow = overflowing(histograms, blocks, self.model)
        self._refuse_overflow(overflow)
        refused = dict(refuse(backend, self.base, self.model, blocks)) if refuse else {}
        refused |= {(block, "fp16"): reason for block, reason in overflow.items()}
        self.blocks = judge(blocks, self.model, spec.search.precisions, pin=spec.blocks.pin, refused=refused)
        how = spec.calibration
        toolbox = Toolbox(
            self.model,
            self.blocks,
            histograms,
            method=how.method,
            percentile=how.percentile,
            moments=evidence.moments((*spec.search.precisions, *spec.blocks.pin.values())),
        )
        self._refined = self.folder / "refined"
        self._rewriter = Rewriter(
            self.model,
            self.blocks,
            toolbox,
            base=self.base,
            widened=backend.widened,
            splits_projections=backend.splits_projections,
            refined=self._refined,
        )
        self.reference = self._reference(overflow)
        self.anchors = self._anchors()
        self.identity = self._identity(digests, backend.fingerprint())
        self.reference_candidate = self.rewrite(self.reference, self.folder / "reference.onnx")
        self.reference_digest = model_digest(Path(self.reference_candidate.model_path))
        self.setup = self._setup()

    def uniform(self, precision: str) -> Assignment:
        """Every block in one precision, whether or not the study allows it."""
        return Assignment(choices=tuple((block.name, precision) for block in self.blocks))

    def deciding(self, assignment: Assignment) -> tuple[str, ...]:
        """Names of the nodes whose kernels tell what each block ran in."""
        return deciding_nodes(self.model, self.blocks, assignment)

    def rewrite(self, assignment: Assignment, path: Path) -> Candidate:
        """Write the typed model of an assignment. Raises `TrialError`, or `StudyError` for a full disk."""
        with _writing(path):
            return self._rewriter.write(assignment, path)

    def implicit(self, assignment: Assignment, path: Path) -> Implicit:
        """Write the float model of an assignment, for builders that take precisions by flags. Raises as
        `rewrite`."""
        with _writing(path):
            return self._rewriter.implicit(assignment, path)

    def student(self, assignment: Assignment) -> tuple[ir.Model, ir.Model]:
        """The float model of an assignment, with the edits of its variants, and the typed one."""
        return self._rewriter.source(assignment)[0], self._rewriter.rewrite(assignment)

    def keep(self, edits: Edits) -> str:
        """Store refined weights; returns their digest. Raises `StudyError` for a full disk."""
        with _writing(self._refined):
            return save_refined(edits, self._refined)

    @contextmanager
    def scratch(self, name: str = "candidate.onnx") -> Iterator[Path]:
        """A path for one candidate's model, which is removed again: it can be rewritten at any time."""
        path = self.folder / name
        try:
            yield path
        finally:
            remove_model(path)

    def _check_scoring(self) -> None:
        """Metric, decoder and output, which are used only after the long calibration."""
        create_metric(self.spec.quality)
        wanted, decoder = self.spec.pipeline.output, self.spec.pipeline.decoder
        outputs = (
            decoder_outputs(Path(decoder)) if decoder else [str(v.name) for v in self.model.graph.outputs]
        )
        if wanted not in outputs:
            whose = "decoder" if decoder else "model"
            raise ModelError(
                f"pipeline.output is {wanted!r}, but the {whose}'s outputs are: {', '.join(outputs)}"
            )

    def _refuse_overflow(self, overflow: Mapping[str, str]) -> None:
        """A plain FP16 reference must be able to hold the model's values."""
        if overflow and self.spec.search.reference == "fp16":
            name, reason = next(iter(overflow.items()))
            raise StudyError(
                f"FP16 overflows in {len(overflow)} blocks ({name}: {reason}), so it is no reference: "
                f'set search.reference = "{SAFE_REFERENCE}", which keeps those blocks in FP32'
            )

    def _reference(self, overflow: Mapping[str, str]) -> Assignment:
        """The reference's assignment; FP16-safe leaves blocks that overflow in FP32."""
        name = self.spec.search.reference
        if name != SAFE_REFERENCE:
            return self.uniform(name)
        return Assignment(
            choices=tuple((block.name, "fp32" if block.name in overflow else "fp16") for block in self.blocks)
        )

    def _anchors(self) -> tuple[tuple[str, Assignment], ...]:
        """Uniform assignments, the reference's own precision first."""
        reference = self.spec.search.reference.removesuffix("-safe")
        names = sorted(self.spec.search.precisions, key=lambda name: name != reference)
        return anchors(self.blocks, names, reference=reference, base=self.base)

    def _identity(self, digests: Sequence[str], fingerprint: Fingerprint) -> Identity:
        layout = msgspec.json.encode([(block.name, block.nodes) for block in self.blocks])
        decoder = self.spec.pipeline.decoder
        if decoder and not Path(decoder).is_file():
            raise ModelError(f"pipeline.decoder: {decoder} is not there; give the path of an ONNX file")
        models = digests[0] + (f"+{model_digest(Path(decoder))}" if decoder else "")
        return Identity(
            model=models,
            samples=f"{digests[1]}+{digests[2]}",
            spec=f"{self.spec.digest}+{self.base}",
            blocks=hashlib.sha256(layout).hexdigest()[:16],
            fingerprint=fingerprint,
        )

    def _setup(self) -> Setup:
        spec, identity = self.spec, self.identity
        told = identity.model, identity.samples, identity.fingerprint, self.reference_digest
        masks = hashlib.sha256(msgspec.json.encode((told, spec.pipeline.output))).hexdigest()[:16]
        return Setup(
            backend=spec.backend,
            pipeline=spec.pipeline,
            samples=spec.samples,
            quality=spec.quality,
            timing=spec.timing,
            shapes=self.shapes,
            reference_path=self.reference_candidate.model_path,
            reference_digest=self.reference_digest,
            masks_path=str((self.folder / "reference" / f"{masks}.masks").absolute()),
        )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StudyError(
            f"{path}: cannot be written ({error.strerror}); make room and search again"
        ) from error
