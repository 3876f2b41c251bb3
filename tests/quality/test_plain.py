"""The guide's metric, as somebody adds it who has read nothing else."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autoprec.errors import SpecError
from autoprec.quality import Survey, check_reference
from autoprec.quality.plain import plain
from autoprec.spec import QualitySection

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "extending.md"
LEFT = np.where(np.arange(32) < 16, 1, -1) * np.ones((2, 32, 1), np.float32)
WIDE = np.where(np.arange(32) < 24, 1, -1) * np.ones((2, 32, 1), np.float32)


@pytest.fixture
def dice(tmp_path: Path) -> Any:
    code = re.findall(r"```python\n(\"\"\"Dice.*?)```", GUIDE.read_text(), re.DOTALL)[0]
    (tmp_path / "dice.py").write_text(code)
    return SimpleNamespace(**runpy.run_path(str(tmp_path / "dice.py")))


def test_the_metric_of_the_guide_scores_as_it_says(dice: Any) -> None:
    metric = plain(dice)(0.0)
    metric.update("a", LEFT, WIDE, LEFT.repeat(2, axis=1).repeat(2, axis=2) > 0)
    quality = metric.result()
    assert quality.loss == pytest.approx(1 - 2 * 16 / (16 + 24))
    assert quality.truth_score == pytest.approx(2 * 16 / (16 + 24), rel=0.02)
    assert (quality.scored_as, quality.miou) == (
        "Dice: twice the pixels above a threshold in both, by those in each",
        None,
    )


def test_it_is_told_the_threshold_and_the_range_of_all_samples() -> None:
    seen = []

    def score(reference: Any, candidate: Any, levels: Any) -> tuple[Any, Any]:
        seen.append(tuple(levels))
        return np.ones(len(reference)), np.full(len(candidate), 9)

    survey = Survey.of(LEFT * 7, 0.5)
    plain(SimpleNamespace(score=score))(0.5, survey).update("a", LEFT, LEFT, None)
    plain(SimpleNamespace(score=score))(0.5).update("a", LEFT * 2, LEFT, None)
    assert seen == [(0.5, -7, 7), (0.5, -2, 2)]


@pytest.mark.parametrize("cuts", [True, False])
def test_a_threshold_that_shows_no_edge_is_refused_to_what_looks_at_it_alone(
    dice: Any, cuts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoprec.quality.METRICS", {"dice": plain(dice, cuts=cuts)})
    section, survey = QualitySection(metric="dice", threshold=-100.0), Survey.of(LEFT, -100.0)
    if cuts:
        with pytest.raises(SpecError, match=r"are full at quality\.threshold -100"):
            check_reference(section, survey)
    else:
        check_reference(section, survey)


def test_a_small_mask_counts_less(dice: Any) -> None:
    spot = np.full((2, 32, 32), -1, np.float32)
    spot[0, :, :16] = 1  # half of the plane, unharmed
    spot[1, :2, :2] = 1  # four pixels, lost
    gone = spot.copy()
    gone[1] = -1
    losses = []
    for small in (0.0, 0.5):
        metric = plain(dice)(0.0, None, small)
        metric.update("a", spot, gone, None)
        losses.append(metric.result().loss)
    assert losses[0] == pytest.approx(0.5)
    assert losses[1] == pytest.approx((4 / 512) / (1 + 4 / 512))


def test_scores_that_are_not_one_for_each_mask_are_refused() -> None:
    def score(reference: Any, candidate: Any, levels: Any) -> tuple[Any, Any]:
        return np.ones(1), np.ones(1)

    with pytest.raises(SpecError, match=r"gave \[1\] scores and \[1\] pixels for 2 masks"):
        plain(SimpleNamespace(score=score))(0.0).update("a", LEFT, LEFT, None)
