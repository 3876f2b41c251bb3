from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autoprec.search.fronts import front_mask, front_of, hypervolume, improvement

coordinate = st.integers(0, 12).map(lambda n: n / 10)
points = st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=12).map(np.array)
CORNER = np.array([1.0, 1.0])


def test_the_area_behind_a_staircase_is_counted_once() -> None:
    values = np.array([[0.2, 0.6], [0.6, 0.2], [0.7, 0.7], [2.0, 0.0]])
    assert np.isclose(hypervolume(values, CORNER), 0.8 * 0.4 + 0.4 * 0.4)


@given(points)
def test_nothing_on_a_front_is_dominated_and_everything_off_it_is(values: np.ndarray) -> None:
    mask = front_mask(values)
    for value, on_front in zip(values, mask, strict=True):
        others = values[(values != value).any(axis=1)]
        dominated = bool((others <= value).all(axis=1).any())
        assert not (on_front and dominated)
        assert on_front or dominated or (values[mask] == value).all(axis=1).any()


@given(points, points)
def test_an_improvement_is_the_area_that_a_point_adds(values: np.ndarray, extra: np.ndarray) -> None:
    before = hypervolume(values, CORNER)
    after = [hypervolume(np.vstack((values, point)), CORNER) for point in extra]
    assert np.allclose(improvement(extra, front_of(values), CORNER), np.array(after) - before)
