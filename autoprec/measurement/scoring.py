"""Masks of one engine against the reference's, sample by sample."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoprec.backends import CutsMasks, Engine
from autoprec.backends.timing import Pace
from autoprec.measurement.masks import Logits, ReferenceMasks
from autoprec.measurement.pipeline import Pipeline
from autoprec.quality import JudgesCut, Metric
from autoprec.records import Quality
from autoprec.samples import Sample, Samples, ahead, behind


class MasksAlone(NamedTuple):
    """Masks [masks, h, w] without the logits that they were cut from."""

    masks: NDArray[np.bool_]


class Scores:
    """Masks of one engine against the reference's, sample by sample.

    The next sample is read and the last one decoded and scored while the engine computes.

    Args:
        metric: a fresh one.
        pipeline: what makes masks of the engine's outputs.
        samples: of the evaluation set.
        references: the reference's masks of them.
        engine: the candidate's.
        on_stage: receives a line where it takes long.
    """

    def __init__(
        self,
        metric: Metric,
        pipeline: Pipeline,
        samples: Samples,
        references: ReferenceMasks,
        engine: Engine,
        on_stage: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._metric, self._engine, self._pipeline = metric, engine, pipeline
        self._begun = ((s, self._run(s)) for s in ahead(samples))
        self._references = iter(references)
        self._done = 0
        self.pause: Callable[[], None] = lambda: None
        """Called between two samples."""
        self._on_stage = on_stage
        self._pace = Pace(len(samples))

    def of_first(self, count: int | None) -> Quality:
        """The score of the first `count` samples, at least one; None is all. `count` must not decrease."""
        more = None if count is None else max(1, count) - self._done
        for _ in behind(islice(self._begun, more), self._compare):
            self._done += 1
            self.pause()
            if line := self._pace.line(self._done):
                self._on_stage(f"score, {line}")
        return self._metric.result()

    def _run(self, sample: Sample) -> Callable[[], Logits] | MasksAlone:
        """What gives the mask logits; or the masks alone, where logits would have to come over a line and
        only the masks count."""
        engine, metric = self._engine, self._metric
        if not (isinstance(engine, CutsMasks) and engine.cuts and isinstance(metric, JudgesCut)):
            return self._pipeline.begin(engine, sample)
        # A true mask of another size needs logits to be resized; a decoder needs the engine's own outputs.
        if sample.truth is not None or not self._pipeline.output_alone:
            return self._pipeline.begin(engine, sample)
        return MasksAlone(self._pipeline.cut(engine, sample, metric.cuts_above))

    def _compare(self, scored: tuple[Sample, Callable[[], Logits] | MasksAlone]) -> None:
        sample, given = scored
        reference = next(self._references)
        if isinstance(given, MasksAlone):
            assert isinstance(self._metric, JudgesCut)
            self._metric.update_cut(sample.name, reference, given.masks)
        else:
            logits = given()
            self._metric.update(sample.name, reference, logits, self._pipeline.truth(sample, logits.shape))
