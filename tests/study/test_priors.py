"""What is measured before the search proposes: each block alone, where that can be of use."""

from __future__ import annotations

from pathlib import Path

from autoprec import Study
from tiny_study import write_study


def test_blocks_are_tried_alone_in_what_is_not_slower_than_the_reference(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    path.write_text(path.read_text().replace('strategy = "random"', 'strategy = "autoprec"'))
    study = Study.load(path)
    study.search("5")
    times = {
        (row.block, row.asked): row.time_ms
        for trial in study.trials() if trial.origin == "anchor" and trial.measurement
        for row in trial.measurement.audit
    }  # fmt: skip
    blocks = {block for block, _ in times}
    assert len(blocks) == 3
    wanted = {block for block in blocks if times[block, "int8"] <= times[block, "fp16"]}
    assert {block for block, losses in study.sensitivity().items() if "int8" in losses} == wanted
