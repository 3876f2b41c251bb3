"""A study goes on scoring as it was begun."""

from __future__ import annotations

from pathlib import Path

from autoprec import Study
from tiny_study import write_study

BEFORE = "[quality]\nsmall_mask = 0.0\n"
"""The rule of earlier versions, whose digest says nothing of it."""


def test_a_study_from_before_small_masks_counted_less_goes_on_without_that(tmp_path: Path) -> None:
    path = write_study(tmp_path, BEFORE)
    Study.load(path).search("1")
    path.write_text(path.read_text().replace(BEFORE, ""))
    again = Study.load(path)
    assert again.spec.quality.small_share == 0
    again.search("1")
    assert len(again.trials()) == 2


def test_a_new_study_counts_small_masks_less(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    Study.load(path).search("1")
    again = Study.load(path)
    assert again.spec.quality.small_share > 0
    again.search("1")
    assert len(again.trials()) == 2
