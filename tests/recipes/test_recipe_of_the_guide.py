"""The guide's recipe, as somebody adds it who has read nothing else."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import families
from autoprec import recipes
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
