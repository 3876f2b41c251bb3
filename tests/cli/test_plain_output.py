"""An output whose encoding lacks characters (`LANG=de_DE`): everything is printed, and JSON stays JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from autoprec.cli import main
from tiny_study import write_study


def printed(monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    data = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(data, "latin-1", write_through=True))
    with pytest.raises(SystemExit) as end:
        main(words)
    assert not end.value.code
    return data.getvalue().decode("latin-1")


def test_an_output_of_latin_1_shows_plot_tables_and_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_study(tmp_path).rename(tmp_path / "größe😀.toml")
    assert "* front" in printed(monkeypatch, "search", "--study", str(path), "--budget", "2")
    for command in ("front", "trials", "blocks"):
        assert printed(monkeypatch, command, "--study", str(path))
    rows = json.loads(printed(monkeypatch, "trials", "--json", "--study", str(path)))
    assert rows[0]["study"] == "größe😀"
