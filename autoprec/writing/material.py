"""What candidates are written from, as a process receives it, and the rewriter that is made of it."""

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
    """All that a candidate follows from, but its assignment.

    Attributes:
        model: the definition's, whose file has this `digest`.
        blocks: how it is split.
        calibration: how ranges are chosen.
        histograms, moments: files of statistics, kept as `of` says; no moments where nothing learns.
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
        """Load everything. Raises `ModelError` for files that are not what they were."""
        path, how = Path(self.model.path), self.blocks
        model = load_model(path, self.model.shapes)
        blocks = partition(model, minimum=how.minimum, maximum=how.maximum, depth=how.depth)
        histograms = Histograms.load(Path(self.histograms), self.of)
        moments = load_moments(Path(self.moments), self.of) if self.moments else {}
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
