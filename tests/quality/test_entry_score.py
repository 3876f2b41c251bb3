"""A metric of the user's own."""

from pathlib import Path

import numpy as np
import pytest

from autoprec.errors import SamplesError, SpecError
from autoprec.quality.entry_score import EntryScore

LOGITS = np.zeros((2, 4, 4), np.float32)


def test_samples_without_masks_are_no_fault_of_the_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "all_alike.py").write_text("def score(reference, candidate): return [1.0] * len(reference)")
    monkeypatch.syspath_prepend(tmp_path)
    metric = EntryScore("all_alike:score")
    metric.update("0.png", LOGITS[:0], LOGITS[:0], None)
    with pytest.raises(SamplesError, match="there is no mask to score"):
        metric.result()
    metric.update("1.png", LOGITS, LOGITS, None)
    assert (metric.result().samples, metric.result().loss) == (1, 0)


def test_a_metric_that_leaves_every_mask_out_is_told_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no_scores.py").write_text(
        "def score(reference, candidate): return [float('nan')] * len(reference)"
    )
    monkeypatch.syspath_prepend(tmp_path)
    metric = EntryScore("no_scores:score")
    metric.update("0.png", LOGITS, LOGITS, None)
    with pytest.raises(SpecError, match=r"no_scores:score returned NaN for every mask"):
        metric.result()
