"""Records are what they say: they never change, are built by names, and what they leave out says nothing."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import msgspec
import pytest

import autoprec
from autoprec.records import Interval, Measurement, Record

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


CLASSES = sorted(
    {
        owner
        for module in modules()
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
