"""A study that version 0.1 searched: this version shows it, searches on, and reports it.

`written_by_0_1.db.gz` was written by `autoprec search --budget 3` at 920aadd, of the study below.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from autoprec import Study
from autoprec.backends import create_backend
from autoprec.report.page import page
from tiny_study import write_study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    path = write_study(tmp_path)
    searched = 'strategy = "random"\nprecisions = ["fp32", "int8"]\nreference = "fp32"'
    path.write_text(path.read_text().replace('strategy = "random"', searched))
    database = tmp_path / "tiny" / "study.db"
    database.parent.mkdir()
    database.write_bytes(gzip.decompress(Path(__file__).with_name("written_by_0_1.db.gz").read_bytes()))
    with closing(sqlite3.connect(database)) as connection, connection:
        (text,) = connection.execute("SELECT identity FROM autoprec_studies").fetchone()
        here = create_backend("openvino", {}).fingerprint()
        # As if it had been searched here: on another processor it is refused, and rightly.
        identity = json.loads(text) | {"fingerprint": msgspec.to_builtins(here)}
        identity["fingerprint"]["options"] = json.loads(text)["fingerprint"]["options"]
        connection.execute("UPDATE autoprec_studies SET identity = ?", (json.dumps(identity),))
    return Study.load(path)


def test_a_study_of_0_1_is_shown_searched_on_and_reported(study: Study) -> None:
    earlier = study.trials()
    assert [trial.label for trial in earlier] == ["all-fp32", "all-int8", "", ""]
    assert {trial.number for trial in study.front()} == {0, 1, 3}
    study.search(1)
    assert study.trials()[: len(earlier)] == earlier
    assert [trial.state for trial in study.trials()][len(earlier) :] == ["complete"]
    assert "all-int8" in page(study.findings(runs=False))
