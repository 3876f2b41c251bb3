"""A metric of the user's own."""

from pathlib import Path

import numpy as np
import pytest

from autoprec.errors import SpecError
from autoprec.quality.entry_score import EntryScore

LOGITS = np.zeros((2, 4, 4), np.float32)


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
