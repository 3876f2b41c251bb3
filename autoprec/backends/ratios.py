"""Statistics of paired rounds: the typical ratio and its interval. `timing.py` takes the readings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri, stdtrit

from autoprec.records import Interval

_TRIMMED = 0.2
"""Share of the ratios that is left out at either end."""

BUILD_SPREAD: Mapping[str, float] = MappingProxyType(
    {"host": 0.004, "processor": 0.004, "cuda": 0.001, "target": 0.004}
)
"""Standard deviation of the ratio between pairs of builds of the same models, by stopwatch; else 0. A target
may be a CPU, so its counts as one.

It stays while they live; where they lie in memory is the likely cause. 0.42 % over 38 pairs of builds of one
model, 80 to 100 rounds each (OpenVINO, 1 thread, Xeon with 2 MiB L2, 2026-11-23). On a GPU 0.11 % over 12
pairs of one model and 0.05 % over 6 of another, 40 rounds each (TensorRT-RTX 1.6.1, H200, 2026-11-23); of the
0.11 % most is that the engine that was built second was slower.

Source: Mytkowicz and others, Producing wrong data without doing anything obviously wrong, ASPLOS 2009; two
levels of repetition as in Kalibera and Jones, Rigorous benchmarking in reasonable time, ISMM 2013.
"""


class TypicalRatio(NamedTuple):
    """The middle of ratios, and its interval."""

    ratio: float
    interval: Interval


def typical_ratio(ordered: Sequence[float], build_spread: float = 0.0) -> TypicalRatio:
    """The middle of sorted ratios, and its 95 % interval (of level 0 for a single one).

    The mean of logarithms without the fifth at either end: outliers do not move it, and for noise near the
    normal it varies less than the median. Rounds are taken as independent: over 24 series of 100 rounds, idle
    and beside busy neighbours, logarithms of neighbouring ratios correlated by -0.05 on average.
    `build_spread`, the standard deviation of a logarithm that all ratios share, adds to the interval.

    Source: Tukey and McLaughlin, Sankhya A 25, 1963; Wilcox, Introduction to Robust Estimation and
    Hypothesis Testing, 4.3.
    """
    logs = np.log(ordered)
    cut = int(_TRIMMED * len(logs))
    kept = logs[cut : len(logs) - cut]
    ratio = float(np.exp(kept.mean()))
    if len(logs) == 1:
        return TypicalRatio(ratio, Interval(low=ratio, high=ratio, level=0.0))
    spread = np.clip(logs, kept[0], kept[-1]).std(ddof=1) * math.sqrt(len(logs)) / len(kept)
    reach = math.exp(math.hypot(float(stdtrit(len(kept) - 1, 0.975)) * spread, ndtri(0.975) * build_spread))
    return TypicalRatio(ratio, Interval(low=ratio / reach, high=ratio * reach))
