"""Rounds alternate, the interval covers what it says, and rounds end when it is narrow or time is up."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprec.backends import Engine
from autoprec.backends.openvino import OpenVinoBackend
from autoprec.backends.ratios import BUILD_SPREAD, typical_ratio
from autoprec.backends.simulated import ASSIGNMENT_KEY, SimulatedBackend
from autoprec.backends.timing import STOPWATCHES, Deadline, elapsed, pair
from autoprec.records import Interval, Latency
from autoprec.spec import TimingSection

MODEL = '<ir_version: 10, opset_import: ["" : 21]> g (float[1,8] x) => (float[1,8] y) { [relu] y = Relu(x) }'


def model(folder: Path, precision: str) -> Path:
    proto = onnx.parser.parse_model(MODEL)
    onnx.helper.set_model_props(proto, {ASSIGNMENT_KEY: json.dumps([["all", precision]])})
    onnx.save(proto, folder / f"{precision}.onnx")
    return folder / f"{precision}.onnx"


def simulated(
    folder: Path,
    *,
    noise: float,
    interval: float = 0.01,
    seconds: float = 60,
    minimum_rounds: int = 20,
    others: Sequence[tuple[str, str]] = (),
    settled: Callable[[Interval], bool] = lambda _: False,
) -> Latency:
    """A candidate that takes 6 ms against a reference that takes 10 ms."""
    costs = {"base_ms": 1, "noise": noise, "blocks": {"all": {"fp16": {"ms": 9}, "int8": {"ms": 5}}}}
    (folder / "costs.json").write_text(json.dumps(costs))
    backend = SimulatedBackend({"costs": str(folder / "costs.json")})
    reference, candidate = (backend.build(model(folder, name)) for name in ("fp16", "int8"))
    return pair(
        reference,
        candidate,
        backend,
        TimingSection(interval=interval, seconds=seconds, minimum_rounds=minimum_rounds, warmup=1),
        others=[(backend.build(model(folder, a)), backend.build(model(folder, b))) for a, b in others],
        settled=settled,
    )


def test_the_ratio_is_candidate_over_reference(tmp_path: Path) -> None:
    comparison = simulated(tmp_path, noise=0)
    assert comparison.ratio == pytest.approx(0.6)
    assert comparison.median_ms == pytest.approx(6)
    assert comparison.reference_median_ms == pytest.approx(10)
    assert comparison.ratio_interval.high - comparison.ratio_interval.low == pytest.approx(0)
    assert comparison.rounds == 20


def test_noise_asks_for_rounds_until_the_interval_is_narrow(tmp_path: Path) -> None:
    comparison = simulated(tmp_path, noise=0.05)
    width = comparison.ratio_interval.high - comparison.ratio_interval.low
    assert comparison.rounds > 100
    assert width <= 0.01 * comparison.ratio * 1.001
    assert comparison.ratio == pytest.approx(0.6, rel=0.02)
    assert comparison.p10_ms < comparison.median_ms < comparison.p90_ms


def test_rounds_end_when_the_time_is_up(tmp_path: Path) -> None:
    comparison = simulated(tmp_path, noise=0.5, seconds=0.8)
    assert 20 < comparison.rounds < 100


def test_there_are_never_fewer_rounds_than_the_minimum(tmp_path: Path) -> None:
    assert simulated(tmp_path, noise=0.5, seconds=1e-9, minimum_rounds=33).rounds == 33


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=60))
def test_the_interval_holds_the_ratio_and_the_ratio_is_one_of_the_middle(values: list[float]) -> None:
    ratio, interval = typical_ratio(sorted(values))
    assert interval.low <= ratio <= interval.high
    assert min(values) * (1 - 1e-12) <= ratio <= max(values) * (1 + 1e-12)


def test_swapping_candidate_and_reference_inverts_ratio_and_interval() -> None:
    ratios = np.sort(np.random.default_rng(0).lognormal(0, 0.1, 25))
    there, around = typical_ratio(ratios.tolist())
    back, inverse = typical_ratio((1 / ratios)[::-1].tolist())
    assert there * back == pytest.approx(1)
    assert around.low * inverse.high == pytest.approx(1)


def test_a_fifth_of_outliers_hardly_moves_the_ratio() -> None:
    ratios = [0.99, 1.0, 1.01] * 8 + [9.0] * 6
    assert typical_ratio(ratios).ratio == pytest.approx(1, abs=0.01)


def test_a_single_round_has_no_interval() -> None:
    ratio, interval = typical_ratio([0.5])
    assert ratio == pytest.approx(0.5)
    assert interval == Interval(low=ratio, high=ratio, level=0.0)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        _, interval = typical_ratio(np.sort(np.exp(0.02 * random.standard_t(3, 25))).tolist())
        hits += interval.low <= 1 <= interval.high
    assert 0.93 <= hits / 1000 <= 0.97


def test_a_spread_of_builds_widens_the_interval_to_what_it_allows_for() -> None:
    random, hits = np.random.default_rng(0), 0
    for _ in range(1000):
        luck = 0.005 * random.standard_normal()
        _, interval = typical_ratio(np.sort(np.exp(luck + 0.02 * random.standard_t(3, 50))).tolist(), 0.005)
        hits += interval.low <= 1 <= interval.high
    assert 0.93 <= hits / 1000 <= 0.98


@pytest.mark.parametrize(("minimum_rounds", "rounds"), [(5, 5), (50, 20)])
def test_a_settled_ratio_ends_sooner(minimum_rounds: int, rounds: int, tmp_path: Path) -> None:
    comparison = simulated(tmp_path, noise=0.05, minimum_rounds=minimum_rounds, settled=lambda _: True)
    assert comparison.rounds == rounds


def test_rounds_are_looked_at_seldom_so_that_lucky_ones_do_not_end_them(tmp_path: Path) -> None:
    widths: list[float] = []

    def look(interval: Interval) -> bool:
        widths.append(interval.high - interval.low)
        return False

    comparison = simulated(tmp_path, noise=0.05, settled=look)
    assert 2 < len(widths) < comparison.rounds / 10


def test_all_builds_take_turns(tmp_path: Path) -> None:
    comparison = simulated(tmp_path, noise=0, others=[("fp16", "fp16")])
    assert comparison.ratio == pytest.approx(0.6**0.5)  # half of the rounds give 0.6, the others 1


def test_the_interval_allows_for_the_luck_of_real_builds(tmp_path: Path) -> None:
    backend = OpenVinoBackend({})
    path, feeds = model(tmp_path, "fp32"), {"x": np.ones((1, 8), np.float32)}
    with ExitStack() as stack:
        one, two, *more = [stack.enter_context(backend.build(path)) for _ in range(6)]
        for engine in (one, two, *more):
            engine.prepare(feeds)
        others = list(zip(more[::2], more[1::2], strict=True))
        timing = TimingSection(interval=0.5, seconds=5, minimum_rounds=6, warmup=1)
        comparison = pair(one, two, backend, timing, others=others)
    assert np.log(comparison.ratio_interval.high / comparison.ratio) >= 1.95 * BUILD_SPREAD[
        "processor"
    ] / np.sqrt(3)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_real_engine_is_timed_on_the_host(threads: int, tmp_path: Path) -> None:
    backend = OpenVinoBackend({"threads": threads})
    path, feeds = model(tmp_path, "fp32"), {"x": np.ones((1, 8), np.float32)}
    with backend.build(path) as reference, backend.build(path) as candidate:
        for engine in (reference, candidate):
            engine.prepare(feeds)
        comparison = pair(
            reference, candidate, backend, TimingSection(interval=0.5, seconds=5, minimum_rounds=7, warmup=2)
        )
    assert comparison.rounds >= 7
    assert 0 < comparison.p10_ms <= comparison.median_ms <= comparison.p90_ms
    assert comparison.ratio_interval.low <= comparison.ratio <= comparison.ratio_interval.high


class Counting:
    """An engine's part that a stopwatch touches."""

    def __init__(self) -> None:
        self.executed = 0

    def execute(self) -> None:
        self.executed += 1

    def synchronize(self) -> None:
        pass


@pytest.mark.parametrize("name", ["host", "processor"])
def test_a_reading_spans_all_its_repeats(name: str) -> None:
    engine = Counting()
    watched: Engine = engine  # type: ignore[assignment]
    assert STOPWATCHES[name](watched, 5) >= 0
    assert engine.executed == 5


def test_elapsed_is_set_also_when_the_stage_fails() -> None:
    with pytest.raises(ValueError, match="broken"), elapsed() as stage:
        raise ValueError("broken")
    assert stage.seconds > 0


def test_a_deadline_passes_or_never_comes() -> None:
    assert Deadline(0).is_over
    assert not Deadline(1000).is_over
    assert not Deadline(None).is_over


def test_the_garbage_collector_is_on_again_after_timing(tmp_path: Path) -> None:
    simulated(tmp_path, noise=0)
    assert gc.isenabled()
