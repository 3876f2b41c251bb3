"""What candidates are written from, as sent to a process, and the rewriter made from it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from autoprec.errors import ModelError
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model, model_digest
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.graph.statistics.moments import load_moments
from autoprec.graph.statistics.ranges import Histograms
from autoprec.graph.variants.toolbox import Toolbox
from autoprec.spec import BlocksSection, CalibrationSection, ModelSection


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that determines a candidate, except for its assignment.

    Attributes:
        model: the definition's model, whose file has this `digest`.
        blocks: how it is split.
        calibration: how ranges are chosen.
        histograms, moments: paths of statistics made of `of`; no moments if no precision needs them.
        base, grids: of the study's basis.
        widened, splits_projections: of its backend.
        refined: folder of refined weights.
    """

    model: ModelSection
    digest: str
    blocks: BlocksSection
    calibration: CalibrationSection
    histograms: str
    moments: str
    of: str
    base: str
    grids: tuple[tuple[str, str], ...]
    widened: tuple[tuple[str, str], ...]
    splits_projections: bool
    refined: str

    def rewriter(self) -> Rewriter:
        """Load everything. Raises `ModelError` if a file has changed."""
        path, how = Path(self.model.path), self.blocks
        model = load_model(path, self.model.shapes)
        blocks = partition(model, minimum=how.minimum, maximum=how.maximum, depth=how.depth)
        histograms = Histograms.load(Path(self.histograms), self.of)
        moments = load_moments(Path(self.moments), self.of) if self.moments else {}
        # The digest last: a file that is replaced while it is read shows too.
        if histograms is None or moments is None or model_digest(path) != self.digest:
            raise ModelError(
                f"{path}, or what its calibration left, has changed since the search began; search again"
            )
        toolbox = Toolbox(
            model,
            blocks,
            histograms,
            method=self.calibration.method,
            percentile=self.calibration.percentile,
            moments=moments,
            grids=dict(self.grids),
        )
        return Rewriter(
            model,
            blocks,
            toolbox,
            base=self.base,
            widened=self.widened,
            splits_projections=self.splits_projections,
            refined=Path(self.refined),
        )
