"""Records are what they say: they never change, are built by names, and what they leave out says nothing."""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autoprec
from autoprec.records import (
    Assignment,
    Basis,
    Departure,
    Exactness,
    Fingerprint,
    Interval,
    Measurement,
    Record,
    SampleScore,
    TrialRecord,
    anchors,
    blocks,
    comparisons,
    exports,
    from_json,
    layers,
    measurements,
    outputs,
    reports,
    studies,
    to_json,
)
from autoprec.records.fidelity import UNLIKE, in_words
from trial_records import IDENTITY, complete, failed, running

ROOMS = ("records", "store", "search", "quality", "legality", "graph", "backends.tensorrt.layers")
SAID = {
    ("Interval", "level"): 0.95,
    ("Basis", "version"): 1,
    ("BlockDifference", "cosine"): 1.0,
    ("BlockReasons", "sureness"): "unknown",
    ("Layer", "lists_constants"): True,
    ("ModelOutput", "scale"): 1.0,
    ("Priors", "accepted_loss"): 0.01,
    ("Recipe", "layout"): "nchw",
    ("RoughScore", "doubt"): 0.1,
}
"""What a record says unless it says otherwise; every other field that is left out is empty, 0 or None."""


def modules() -> Iterator[ModuleType]:
    for room in ROOMS:
        module = importlib.import_module(f"{autoprec.__name__}.{room}")
        yield module
        for info in pkgutil.walk_packages(getattr(module, "__path__", []), f"{module.__name__}."):
            yield importlib.import_module(info.name)


MODULES = (blocks, comparisons, exports, layers, measurements, outputs, reports, studies, *modules())
CLASSES = sorted(
    {
        owner
        for module in MODULES
        for owner in vars(module).values()
        if isinstance(owner, type) and owner.__module__ == module.__name__
    },
    key=lambda owner: (owner.__module__, owner.__name__),
)
RECORDS = [owner for owner in CLASSES if issubclass(owner, Record)]
DATACLASSES = [owner for owner in CLASSES if dataclasses.is_dataclass(owner)]


@pytest.mark.parametrize("owner", RECORDS, ids=lambda owner: owner.__name__)
def test_a_record_is_frozen_and_built_by_names(owner: Any) -> None:
    assert owner.__struct_config__.frozen
    with pytest.raises(TypeError, match="positional"):
        owner(*[None] * len(owner.__struct_fields__)) if owner.__struct_fields__ else owner(None)


@pytest.mark.parametrize("owner", RECORDS, ids=lambda owner: owner.__name__)
def test_what_a_record_leaves_out_says_nothing(owner: type[Record]) -> None:
    """Rows that earlier versions stored lack what came later: it must not read as if it had been measured."""
    for field in msgspec.structs.fields(owner):
        wanted = SAID.get((owner.__name__, field.name))
        if field.default is not msgspec.NODEFAULT and field.default == field.default:
            assert field.default == wanted if wanted is not None else not _says(field.default), field.name


def _says(default: object) -> bool:
    """Whether a default holds anything; a record of defaults holds nothing."""
    if isinstance(default, msgspec.Struct):
        return any(_says(getattr(default, name)) for name in default.__struct_fields__)
    return bool(default)


@pytest.mark.parametrize("owner", DATACLASSES, ids=lambda owner: owner.__name__)
def test_a_fit_is_frozen_and_takes_no_attribute_more(owner: Any) -> None:
    assert owner.__dataclass_params__.frozen
    is_cached = any(type(member).__name__ == "cached_property" for member in vars(owner).values())
    assert is_cached or "__slots__" in vars(owner)


def test_a_measurement_of_two_objectives_says_no_more() -> None:
    measured = Measurement.of_objectives(3.0, 0.25, reference_ms=2.0, noise=0.5)
    assert (measured.latency_ms, measured.quality.loss, measured.quality.miou) == (3.0, 0.25, 0.75)
    latency = measured.latency
    assert (latency.median_ms, latency.p10_ms, latency.p90_ms, latency.rounds) == (3.0, 3.0, 3.0, 1)
    assert (latency.ratio, latency.reference_median_ms) == (1.5, 2.0)
    assert latency.ratio_interval == Interval(low=0.75, high=2.25)
    assert (measured.engine_bytes, measured.peak_memory_bytes, measured.audit) == (0, 0, ())
    assert measured.quality.loss_interval == Interval(low=0.25, high=0.25)
    assert Measurement.of_objectives(3.0, 0.25).latency.ratio_interval == Interval(low=3.0, high=3.0)
    assert latency.interval_ms(4.0) == Interval(low=3.0, high=9.0)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (0.0, "nothing"),
        (0.0005, "5e-04 of its spread"),
        (0.001, "0.1 % of its spread"),
        (0.5, "50 % of its spread"),
        (0.994, "99 % of its spread"),
        (0.995, "0.995 times its spread"),
        (2.0, "2 times its spread"),
        (UNLIKE, "another shape, or values that are not finite"),
    ],
)
def test_an_error_is_said_in_parts_of_the_values_spread(error: float, words: str) -> None:
    assert in_words(error) == words


def test_a_step_is_beyond_its_tolerance_unless_nothing_was_compared() -> None:
    for error, is_beyond in ((0.1, False), (0.11, True)):
        assert Departure(step="engine", error=error, tolerance=0.1).is_beyond is is_beyond
        assert Exactness(error=error, tolerance=0.1).is_wrong is is_beyond
    assert not Departure(step="engine", error=1.0, missing="no time").is_beyond
    assert not Exactness(error=1.0, missing="no time").is_wrong


def test_a_score_that_older_versions_stored_as_iou_is_read() -> None:
    assert SampleScore(sample="a", mask=0, iou=0.75).score == 0.75
    assert SampleScore(sample="a", mask=0, iou=0.75, score=0.5).score == 0.5
    assert math.isnan(SampleScore(sample="a", mask=0).score)


def test_anchors_are_what_was_labelled_as_it_came_fastest_first() -> None:
    def labelled(trial: TrialRecord, weights: str = "") -> TrialRecord:
        choices = msgspec.structs.replace(trial.assignment, weights=weights)
        return msgspec.structs.replace(trial, label="all-int8", assignment=choices)

    slow, fast = complete(0, 9.0, 0.0, choices="fp16 fp16"), complete(1, 4.0, 0.1, choices="int8 int8")
    refined = labelled(complete(2, 3.0, 0.0, choices="int8 int8"), weights="refined")
    trials = (labelled(slow), labelled(fast), refined, complete(3, 2.0, 0.0))
    assert [trial.number for trial in anchors(trials)] == [1, 0]


def test_a_trial_counts_for_its_runs_budget_unless_something_outside_ended_it() -> None:
    assert complete(0, 5.0, 0.1).counts
    assert failed(0).counts
    assert not failed(0, kind="interrupted").counts
    assert not complete(1, 5.0, 0.1, reused_from=0, origin="reused").counts
    interrupted = running(0).settled()
    assert interrupted.failure is not None
    assert (interrupted.state, interrupted.failure.kind) == ("failed", "interrupted")
    assert failed(0).settled() == failed(0)


def test_an_identity_of_an_early_version_splits_the_base_off_its_digest() -> None:
    early = msgspec.structs.replace(IDENTITY, spec="digest+fp16", basis=None).typed()
    assert (early.spec, early.basis) == ("digest", Basis(version=0, base="fp16"))
    assert early.typed() is early


def test_a_trial_is_shown_in_one_line() -> None:
    assert repr(complete(3, 5.0, 0.125)) == "TrialRecord(3, complete, 5 ms, loss 0.1250)"
    assert repr(failed(2)) == "TrialRecord(2, failed, build)"
    assert repr(running(1)) == "TrialRecord(1, running)"


@given(st.lists(st.floats(), max_size=4))
def test_any_float_survives_the_way_through_json(values: list[float]) -> None:
    assert str(from_json(to_json({"a": tuple(values)}), dict[str, list[float]])["a"]) == str(values)


def test_an_engine_has_the_digest_that_earlier_versions_stored() -> None:
    engine = Fingerprint(backend="openvino", version="2026.0", device="CPU")
    assert engine.digest == "ed84f1a9c5a5238d"


def test_an_assignment_has_the_digest_that_earlier_versions_stored() -> None:
    mix = Assignment(choices=(("stem", "int8"), ("neck", "fp16")))
    assert mix.digest == "94194cd4ae235e28"
    assert len({mix.digest, msgspec.structs.replace(mix, weights="refined").digest}) == 2
