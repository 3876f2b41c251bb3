"""What is measured before the search proposes: each block alone, where that can be of use."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprec import Study
from autoprec.errors import StudyError
from autoprec.records import TrialRecord
from autoprec.search import RoughScore
from autoprec.store import Store
from autoprec.study.night import priors as priors_of_a_night
from autoprec.study.night.priors import BACK, KIND, PRIOR, BlockLoss, load_priors, sensitivities
from tiny_study import write_study
from trial_records import BLOCKS, IDENTITY


def adaptive(folder: Path, more: str = "") -> Path:
    folder.mkdir()
    path = write_study(folder, more)
    path.write_text(path.read_text().replace('strategy = "random"', 'strategy = "autoprec"'))
    return path


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of five trials."""
    study = Study.load(adaptive(tmp_path_factory.mktemp("studies") / "one"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(priors_of_a_night, "_TRIALS", 1000)  # a busy machine leaves none of them out
        study.search("5")
    return study


def test_blocks_are_tried_alone_in_what_is_not_slower_than_the_reference(searched: Study) -> None:
    times = {
        (row.block, row.asked): row.time_ms
        for trial in searched.trials() if trial.origin == "anchor" and trial.measurement
        for row in trial.measurement.audit
    }  # fmt: skip
    blocks = {block for block, _ in times}
    assert len(blocks) == 3
    reference = searched.reference()
    assert reference is not None
    usual = reference.precision
    wanted = {block for block in blocks if times[block, "int8"] <= times[block, usual]}
    assert {block for block, losses in searched.sensitivity().items() if "int8" in losses} == wanted


def test_blocks_are_tried_back_in_float_where_the_others_are_quantised(searched: Study) -> None:
    with Store.open(searched.database, read_only=True) as store:
        back = store.facts("tiny", BACK, RoughScore)
        priors = load_priors(store, "tiny", 0.01)
    assert set(back) == {f"{block}|back" for block in ("a", "b", "c")}
    assert all(
        list(dict(proposal.assignment.choices).values()).count("int8") == 2 for proposal in back.values()
    )
    assert set(priors.scored) == set(back.values())


def test_another_study_of_the_model_serves_as_the_prior_and_stays(tmp_path: Path, searched: Study) -> None:
    second = Study.load(adaptive(tmp_path / "two"))
    second.search("5", prior=searched)
    with Store.open(second.database, read_only=True) as store:
        kept = store.facts("tiny", PRIOR, RoughScore)
        assert not sensitivities(store, "tiny").keys() & searched.sensitivity().keys()
        assert load_priors(store, "tiny", 0.01).sensitivity.keys() >= searched.sensitivity().keys()
    assert {proposal.assignment for proposal in kept.values()} == {t.assignment for t in searched.trials()}


def test_a_study_is_no_prior_of_itself_nor_is_one_that_was_never_searched(tmp_path: Path) -> None:
    study = Study.load(adaptive(tmp_path / "one"))
    other = Study.load(adaptive(tmp_path / "two"))
    with pytest.raises(StudyError, match="own prior"):
        study.search("1", prior=study)
    with pytest.raises(StudyError, match="measured nothing yet"):
        study.search("1", prior=other)


def test_losses_of_earlier_versions_are_read_beside_those_of_today(tmp_path: Path) -> None:
    with Store.open(tmp_path / "study.db") as store:
        store.bind("demo", IDENTITY, BLOCKS)
        store.put_fact("demo", KIND, "a|b|int8", 0.25)
        store.put_fact("demo", KIND, "stem|int8", BlockLoss(block="stem", precision="int8", loss=0.5))
        assert sensitivities(store, "demo") == {"a|b": {"int8": 0.25}, "stem": {"int8": 0.5}}


def test_a_run_whose_preparation_took_a_fifth_of_its_time_proposes_at_once(tmp_path: Path) -> None:
    study = Study.load(adaptive(tmp_path / "one"))
    trials = 0

    def end(study: Study, trial: TrialRecord) -> None:
        nonlocal trials
        trials += trial.origin == "search"
        if trials:
            study.stop()

    study.search("3s", callbacks=[end])
    assert not study.sensitivity()
