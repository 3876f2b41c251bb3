"""Times two models in turn as autoprec does, and says how well their ratio is known. Part of `verify.py`.

Rounds, order, warm-up, the typical ratio and its interval are those of `autoprec search` and `autoprec
verify`: the trimmed mean of the ratios' logarithms, Student's interval over the winsorised rest (Tukey and
McLaughlin, 1963), and what the luck of a build leaves unknown however long it is timed.
"""

import gc
import math
import statistics
import time
from typing import Any

TRIMMED = 0.2
"""Share of the ratios that is dropped at either end."""
BUILD_SPREAD = 0.004
"""Standard deviation of the ratio between pairs of builds of the same models, on a CPU."""
GRAIN_MS = 1.0
"""Shorter inferences are repeated within a round, so that the resolution of the clock does not matter."""
MOST_ROUNDS = 1000
"""Most rounds, and inferences before the first, that a recipe may demand: it may come from anybody."""
BETWEEN_LOOKS = 1.25
"""The number of rounds grows by this factor between two checks of the interval."""


def milliseconds(engine: Any, repeats: int, threads: int) -> float:
    """Mean milliseconds of an inference: processor time on one thread, which neighbours do not stretch."""
    clock = time.process_time_ns if threads == 1 else time.perf_counter_ns
    start = clock()
    for _ in range(repeats):
        engine.execute()
    return (clock() - start) / (1e6 * repeats)


def turn(engine: Any, repeats: int, threads: int) -> float:
    """Like `milliseconds`, after an inference that refills the caches emptied by the other engine."""
    engine.execute()
    return milliseconds(engine, repeats, threads)


def paired(
    model: Any, reference: Any, recipe: dict[str, Any], threads: int, seconds: float
) -> tuple[float, float, float]:
    """The ratio of two prepared engines' times, and the ends of its 95 % interval.

    Rounds end once the interval is as narrow as the recipe asks for, or `seconds` are over; never before the
    recipe's smallest number.

    Args:
        model: the candidate, its inputs placed.
        reference: what it is compared with, its inputs placed.
        recipe: `interval`, `minimum_rounds` and `warmup` of the manifest's recipe.
        threads: of each engine; one is timed by processor time, several by wall time.
        seconds: time limit of all rounds.
    """
    for engine in (reference, model):
        for _ in range(min(recipe["warmup"], MOST_ROUNDS)):
            engine.execute()
    grain = min(milliseconds(engine, 3, threads) for engine in (reference, model))
    repeats = max(1, math.ceil(GRAIN_MS / max(grain, 1e-6)))
    ratios: list[float] = []
    fewest, spent = min(int(recipe["minimum_rounds"]), MOST_ROUNDS), 0.0
    look, end, was_on = fewest, time.monotonic() + seconds, gc.isenabled()
    gc.disable()  # a collection in the middle of a round would count as latency
    try:
        while len(ratios) < fewest or not (time.monotonic() >= end or spent > 1e3 * seconds):
            if len(ratios) >= look:
                middle, low, high = typical_ratio(ratios)
                if (high - low) / middle <= recipe["interval"]:
                    break
                look = math.ceil(look * BETWEEN_LOOKS)
            # The order alternates, so that a drift within rounds favours neither.
            order = (reference, model) if len(ratios) % 2 else (model, reference)
            readings = [turn(engine, repeats, threads) for engine in order]
            theirs, ours = readings if len(ratios) % 2 else reversed(readings)
            ratios.append(ours / theirs)
            spent += ours + theirs
    finally:
        if was_on:
            gc.enable()
    return typical_ratio(ratios, BUILD_SPREAD)


def typical_ratio(ratios: list[float], build_spread: float = 0.0) -> tuple[float, float, float]:
    """The middle of ratios, and the ends of its 95 % interval, which is empty for a single ratio."""
    logs = sorted(map(math.log, ratios))
    cut = int(TRIMMED * len(logs))
    kept = logs[cut : len(logs) - cut]
    middle = math.exp(statistics.fmean(kept))
    if len(logs) == 1:
        return middle, middle, middle
    clipped = [min(max(one, kept[0]), kept[-1]) for one in logs]
    spread = statistics.stdev(clipped) * math.sqrt(len(logs)) / len(kept)
    normal = statistics.NormalDist().inv_cdf(0.975)
    reach = math.exp(math.hypot(student(len(kept) - 1) * spread, normal * build_spread))
    return middle, middle / reach, middle * reach


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's distribution, by bisection of its closed form.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        low, high = (angle, high) if within(angle, freedom) < 0.95 else (low, angle)
    return math.sqrt(freedom) * math.tan(low)


def within(angle: float, freedom: int) -> float:
    """The probability that |t| is below the tangent of an angle, times the root of the degrees of freedom."""
    is_odd, cosine, total = freedom % 2, math.cos(angle), 0.0
    term = cosine if is_odd else 1.0
    for step in range(1, (freedom - is_odd) // 2 + 1):
        total += term
        term *= cosine**2 * ((2 * step) / (2 * step + 1) if is_odd else (2 * step - 1) / (2 * step))
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if is_odd else total
