"""Where a trial departs from the reference: value by value, on the engine or in exact arithmetic."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from rich.console import Console

from autoprec import Layerwise, Study
from autoprec.errors import StudyError, TrialError
from autoprec.measurement.fidelity import layers
from autoprec.measurement.messages import Locate, Setup
from autoprec.report import layerwise_view
from autoprec.spec import load_spec
from command_line import autoprec
from tiny_study import write_model, write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Its last trial has one block of three in INT8, the second one."""
    loaded = Study.load(write_study(tmp_path_factory.mktemp("study")))
    loaded.enqueue({"b": "int8"})
    loaded.search(5, callbacks=[lambda study, trial: study.stop() if trial.origin == "queued" else None])
    return loaded


def last(study: Study) -> int:
    return study.trials()[-1].number


def shown(layerwise: Layerwise, width: int = 80) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(layerwise_view(layerwise))
    return " ".join(capture.get().split())


@pytest.mark.parametrize("exactly", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_first_block_that_breaks_is_the_one_that_was_changed(study: Study, exactly: bool) -> None:
    layerwise = study.where(last(study), tolerance=1e-4, samples=2, exactly=exactly)
    a, b, c = layerwise.blocks
    assert (layerwise.first, layerwise.samples) == ("b", 2)
    assert ("exact" in layerwise.ran) == exactly
    assert a.error < 1e-6 < b.error < 0.2
    assert (a.block, b.before, c.before) == ("a", a.error, b.error)
    assert 0 < b.mean_abs < b.max_abs
    assert 0.9 < b.cosine < 1


def test_nodes_are_compared_where_they_are_asked_for(study: Study) -> None:
    layerwise = study.where(last(study), tolerance=0.9, samples=1, layers=True)
    assert {one.node for one in layerwise.blocks} >= {"/a/conv/Conv", "/a/act/Relu", "/b/act/Relu"}
    assert not layerwise.first
    assert "no block breaks: b differs most" in shown(layerwise)


def test_the_command_names_the_block_that_breaks(study: Study) -> None:
    words = ("where", str(last(study)), "--tolerance", "0.0001", "--samples", "1", "--study", "tiny.toml")
    done = autoprec(*words, "--json", folder=study.folder.parent)
    assert done.returncode == 0, done.stderr
    listing = msgspec.json.decode(done.stdout, type=Layerwise)
    assert listing.first == "b"
    for width in (60, 80, 200):
        assert "the first block that breaks: b (int8; fp32 in the reference)" in shown(listing, width)


def test_a_trial_that_is_not_there_is_refused(study: Study) -> None:
    with pytest.raises(StudyError, match="no trial 99"):
        study.where(99)


def test_where_the_engine_takes_no_outputs_more_exact_arithmetic_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_spec(write_study(tmp_path))

    def refuse(path: Path) -> None:
        raise TrialError("build", "it has too many outputs")

    monkeypatch.setattr(layers, "reach", lambda *_: SimpleNamespace(build=refuse))
    setup = Setup(
        backend=spec.backend,
        pipeline=spec.pipeline,
        samples=spec.samples,
        quality=spec.quality,
        timing=spec.timing,
        shapes={"image": (1, 3, 32, 32)},
        reference_path=str(tmp_path / "tiny.onnx"),
        reference_digest="",
    )
    other = write_model(tmp_path / "other.onnx", scale=1.5)
    layerwise = layers.locate(
        Locate(setup=setup, candidate_path=str(other), values=("a.act",), samples=1), print
    )
    assert layerwise.ran == "exact arithmetic; the engine does not give them: it has too many outputs"
    assert layerwise.figures["a.act"][2] > 0
