"""The guide's recipe, as somebody adds it who has read nothing else."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import families
from autoprec import recipes
from autoprec.quality.plain import plain
from autoprec.quality.scoring import label_iou
from autoprec.recipes._base import Facts, Plan
from autoprec.recipes.choosing import choose_output
from autoprec.recipes.writing import write_definition
from autoprec.spec import load_spec

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "extending.md"


def test_the_recipe_of_the_guide_takes_the_fused_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.findall(r"```python\n(\"\"\"U²-Net.*?)```", GUIDE.read_text(), re.DOTALL)[0]
    (tmp_path / "u2net.py").write_text(code)
    u2net = runpy.run_path(str(tmp_path / "u2net.py"))["u2net"]
    monkeypatch.setattr(recipes, "RECIPES", {**recipes.RECIPES, "u2net": u2net})
    model = families.segmenter(tmp_path / "net.onnx", "Sigmoid", name="d0")
    written = write_definition(model, folder=tmp_path / "studies", recipe="u2net")
    spec = load_spec(written.path)
    assert (spec.pipeline.output, spec.quality.metric, spec.quality.threshold) == ("d0", "mask_iou", 0.5)
    assert "mean and std are ImageNet's" in written.reasons


def test_a_metric_of_ones_own_is_written_with_the_recipes_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dice(facts: Facts) -> Plan:
        choice = choose_output(facts, ("masks",))
        return Plan(output=choice.output, layout=choice.layout, metric="dice", threshold=0.5, reasons=())

    monkeypatch.setattr(recipes, "RECIPES", {"dice": dice})
    monkeypatch.setattr("autoprec.quality.METRICS", {"dice": plain(label_iou)})
    model = families.segmenter(tmp_path / "net.onnx", "Sigmoid", name="masks")
    written = write_definition(model, folder=tmp_path / "studies", recipe="dice")
    assert load_spec(written.path).quality.threshold == 0.5
