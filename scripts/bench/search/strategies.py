"""Strategies side by side: each proposes rows for a problem until the budget is spent."""

from __future__ import annotations

import ast
import contextlib
import importlib
import time
import warnings
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import optuna
from elsewhere import TRIALS, elsewhere, left_to
from problems import Problem
from trials import complete, running

from autoprec.records import Assignment
from autoprec.search import Strategy, create_strategy
from autoprec.search.space import Row, Space
from autoprec.search.strategies._optuna import OptunaStrategy

Trace = tuple[list[Row], list[tuple[float, float]], list[float]]
"""Rows in the order tried, what was measured, and seconds of every proposal."""


def run(name: str, problem: Problem, budget: int, seed: int) -> Trace:
    """Try `budget` rows, or fewer if the strategy runs out of proposals.

    In a name `anchored` measures the anchors first; `x8` keeps eight trials in flight; `exact` gives exact
    priors, the most that better ones could gain; `prior` adds a search of the same model on another engine,
    like `--prior STUDY`; `MODULE.NAME=VALUE` sets a constant of the strategy, such as
    `surrogates.acquisition.LOG_WEIGHT=1.0`.

    Args:
        name: of the strategy, with its options.
        problem: what is searched.
        budget: number of rows.
        seed: of strategy and measurements.
    """
    if name in ONE_SHOT:
        return _one_shot(ONE_SHOT[name], problem, budget, seed)
    with contextlib.ExitStack() as constants:
        strategy, *options = name.split()
        for option in options:
            if "=" in option:
                constants.enter_context(_constant(*option.split("=")))
        return _run(strategy, options, problem, budget, seed)


@contextlib.contextmanager
def _constant(name: str, value: str) -> Iterator[None]:
    """Give a constant of `autoprec.search` another value within the block."""
    place, _, constant = name.rpartition(".")
    module = importlib.import_module(f"autoprec.search.{place}")
    usual = getattr(module, constant)
    setattr(module, constant, ast.literal_eval(value))
    try:
        yield
    finally:
        setattr(module, constant, usual)


def _run(strategy: str, options: list[str], problem: Problem, budget: int, seed: int) -> Trace:
    at_once = next((int(option[1:]) for option in options if option.startswith("x")), 1)
    if strategy == "gp":
        chosen: Strategy = OptunaStrategy(problem.blocks, _gp, seed)
    else:
        priors = problem.exact_priors if "exact" in options else problem.priors
        if "prior" in options:
            rows, values, _ = run("autoprec anchored", elsewhere(problem), TRIALS, seed)
            priors = msgspec.structs.replace(priors, scored=left_to(problem, rows, values))
        chosen = create_strategy(strategy, seed=seed, blocks=problem.blocks, priors=priors)
    return _searched(chosen, problem, budget, seed, anchored="anchored" in options, at_once=at_once)


def _gp(seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.samplers.GPSampler(seed=seed)


def _searched(
    strategy: Strategy, problem: Problem, budget: int, seed: int, *, anchored: bool, at_once: int
) -> Trace:
    """Run a strategy; trials end in the order in which they began, and a new one begins whenever one ends."""
    space = Space(problem.blocks)
    rows: list[Row] = []
    values: list[tuple[float, float]] = []
    seconds: list[float] = []
    queue = [tuple(row) for row in problem.anchors.tolist()] if anchored else []
    first = len(queue)
    while len(values) < budget:
        while len(rows) < min(budget, len(values) + at_once):
            # As in a study, nothing is proposed before all anchors are measured.
            if len(values) < first <= len(rows):
                break
            start = time.perf_counter()
            if not queue:
                queue = [
                    _row(space, a) for a in strategy.propose(min(budget, len(values) + at_once) - len(rows))
                ]
            seconds.append(time.perf_counter() - start)
            if not queue:
                break
            rows.append(queue.pop(0))
            strategy.learn([running(len(rows) - 1, problem.blocks, space.decode(rows[-1]))])
        if len(rows) == len(values):
            break
        values.append(problem.measure(rows[len(values)], seed))
        number = len(values) - 1
        strategy.learn([complete(number, problem.blocks, space.decode(rows[number]), values[number])])
    return rows, values, seconds


def _row(space: Space, assignment: Assignment) -> Row:
    row = space.encode(assignment.as_dict())
    assert row is not None
    return row


def _one_shot(generator: Callable[..., Iterator[Row]], problem: Problem, budget: int, seed: int) -> Trace:
    measured: dict[Row, tuple[float, float]] = {}
    seconds: list[float] = []
    proposals = generator(problem, measured)
    while len(measured) < budget:
        start = time.perf_counter()
        row = next(proposals, None)
        if row is None:
            break
        if row not in measured:
            seconds.append(time.perf_counter() - start)
            measured[row] = problem.measure(row, seed)
    return list(measured), list(measured.values()), seconds


def _anchors(problem: Problem) -> Iterator[Row]:
    yield from map(tuple, problem.anchors.tolist())


def greedy(problem: Problem, measured: dict[Row, tuple[float, float]]) -> Iterator[Row]:
    """All single changes of the reference first, then the best ones on top of each other."""
    yield from _anchors(problem)
    count, kinds = problem.anchors.shape[1], len(problem.precisions)
    reference = (0,) * count
    changes = []
    for block in range(count):
        for kind in range(1, kinds):
            row = (*reference[:block], kind, *reference[block + 1 :])
            yield row
            saved, lost = measured[reference][0] - measured[row][0], measured[row][1] - measured[reference][1]
            if saved > 0:
                changes.append((max(lost, 1e-5) / saved, block, kind))
    current = list(reference)
    for _, block, kind in sorted(changes):
        if current[block] == 0:
            current[block] = kind
            yield tuple(current)


def lagrangian(problem: Problem, measured: dict[Row, tuple[float, float]]) -> Iterator[Row]:  # noqa: ARG001
    """Least predicted time + multiplier * summed sensitivity, as in HAWQ-V3 and ModelOpt's auto_quantize."""
    yield from _anchors(problem)
    space = Space(problem.blocks)
    times = space.table(problem.priors.latency_ms)
    losses = np.nan_to_num(space.table(problem.priors.sensitivity))
    spread = np.ptp(times, axis=1).sum() / np.ptp(losses, axis=1).sum()
    multipliers = spread * np.logspace(-3, 3, 2049)
    # Coarse steps first, then ever finer ones between them.
    order = sorted(range(2049), key=lambda n: (-(n & -n) if n else -4096, n))
    for index in order:
        yield tuple((times + multipliers[index] * losses).argmin(axis=1).tolist())


ONE_SHOT: dict[str, Callable[..., Iterator[Row]]] = {"greedy": greedy, "lagrangian": lagrangian}
STRATEGIES = (
    "autoprec anchored",
    "autoprec anchored x8",
    "tpe anchored",
    "tpe",
    "nsga2 anchored",
    "random anchored",
    "gp anchored",
    *ONE_SHOT,
)
