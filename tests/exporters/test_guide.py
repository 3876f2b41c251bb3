"""The guide's exporter, as somebody adds it who has read nothing else."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from tiny_export import export_of


def test_the_exporter_of_the_guide_writes_a_table(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "extending.md").read_text()
    code = re.findall(r"```python\n(\"\"\"`blocks.csv`.*?)```", guide, re.DOTALL)[0]
    (tmp_path / "table.py").write_text(code)
    export = export_of(tmp_path / "study")
    (path,) = runpy.run_path(str(tmp_path / "table.py"))["write"](export, tmp_path)
    lines = [",".join(choice) for choice in export.trial.assignment.choices]
    assert path.read_text().splitlines() == ["block,precision", *lines]
