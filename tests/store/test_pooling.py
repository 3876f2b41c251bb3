"""Two measurements of one assignment make one, figure by figure."""

from __future__ import annotations

import math

import msgspec
import pytest

from autoprec.records import Interval, TrialRecord, counting, surely_dominated
from trial_records import complete


def measured(number: int, ratio: float, half: float, loss: float, rounds: int) -> TrialRecord:
    trial = complete(number, 10 * ratio, loss)
    assert trial.measurement is not None
    latency = msgspec.structs.replace(
        trial.measurement.latency,
        ratio=ratio,
        ratio_interval=Interval(low=ratio - half, high=ratio + half, level=0.95),
        median_ms=9 * ratio,
        p10_ms=8 * ratio,
        p90_ms=11 * ratio,
        reference_median_ms=10 + number,
        rounds=rounds,
    )
    quality = msgspec.structs.replace(
        trial.measurement.quality,
        loss_interval=Interval(low=loss / 2, high=loss * 2),
        miou=1 - loss,
        logit_error=3 * loss,
        truth_miou=None if number else 0.5,
    )
    whole = msgspec.structs.replace(
        trial.measurement, latency=latency, quality=quality, engine_bytes=1000 + number
    )
    return msgspec.structs.replace(trial, measurement=whole)


def test_a_pooled_measurement_holds_the_means_and_all_rounds() -> None:
    (trial,) = counting([measured(1, 0.7, 0.03, 0.3, 40), measured(0, 0.5, 0.04, 0.1, 20)])
    assert (trial.number, trial.pooled, trial.latency_ms) == (1, (0,), 6)
    assert trial.measurement is not None
    latency, quality = trial.measurement.latency, trial.measurement.quality
    assert latency.rounds == 60
    figures = (latency.ratio, latency.median_ms, latency.p10_ms, latency.p90_ms, latency.reference_median_ms)
    assert figures == pytest.approx((0.6, 5.4, 4.8, 6.6, 10.5))
    # They differ by more than their rounds say: half of that is 0.1.
    assert (latency.ratio_interval.low, latency.ratio_interval.high) == pytest.approx((0.5, 0.7))
    assert (quality.loss, quality.miou, quality.logit_error) == pytest.approx((0.2, 0.8, 0.6))
    assert (quality.loss_interval.low, quality.loss_interval.high) == pytest.approx((0.1, 0.4))
    assert quality.truth_miou is None, "the latest has none"


def test_measurements_that_agree_narrow_the_interval_as_independent_ones_do() -> None:
    (trial,) = counting([measured(0, 0.5, 0.03, 0.1, 20), measured(1, 0.5, 0.04, 0.1, 20)])
    assert trial.measurement is not None
    interval = trial.measurement.latency.ratio_interval
    assert interval.high - 0.5 == pytest.approx(math.hypot(0.03, 0.04) / 2)
    assert 0.5 - interval.low == pytest.approx(0.025)


def test_three_measurements_count_alike() -> None:
    trials = [measured(n, ratio, 0.03, 0.1 * (n + 1), 10) for n, ratio in enumerate((0.4, 0.5, 0.9))]
    (trial,) = counting(trials)
    assert trial.measurement is not None
    # What is no mean is the latest's.
    assert (trial.number, trial.pooled, trial.measurement.engine_bytes) == (2, (0, 1), 1002)
    assert (trial.latency_ms, trial.loss) == pytest.approx((6.0, 0.2))
    (alone,) = counting(trials[:1])
    assert (alone, alone.pooled) == (trials[0], ())


def test_an_interval_of_a_ratio_stays_above_zero() -> None:
    (trial,) = counting([measured(0, 0.5, 2.0, 0.1, 20), measured(1, 0.5, 2.0, 0.1, 20)])
    assert trial.measurement is not None
    assert trial.measurement.latency.ratio_interval.low == pytest.approx(0.5 / 1000)


def test_a_point_is_surely_dominated_where_another_is_better_in_both_at_its_worst() -> None:
    point = Interval(low=5.0, high=6.0), Interval(low=0.2, high=0.3)
    better = Interval(low=3.0, high=4.9), Interval(low=0.0, high=0.19)
    assert surely_dominated(*point, [better])
    for touching in (Interval(low=3.0, high=5.0), Interval(low=5.5, high=7.0)):
        assert not surely_dominated(*point, [(touching, better[1])])
    assert not surely_dominated(*point, [(better[0], Interval(low=0.0, high=0.2))])
    assert not surely_dominated(*point, [])
