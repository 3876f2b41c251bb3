"""Optuna's samplers as strategies: an Optuna study in memory learns the stored trials, then proposes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState

from autoprec.records import Assignment, Block, TrialRecord
from autoprec.search._base import seed_of_night
from autoprec.search.history import Outcome, Trials
from autoprec.search.pool import any_unknown, unknown
from autoprec.search.proposals import search_space
from autoprec.search.space import Row, Space

REPEATS = 10
"""After this many known draws in a row, an unknown row is drawn at random."""
DRAWS = 1000


class OptunaStrategy:
    """Makes a strategy of one of Optuna's samplers, for (latency_ms, loss), both minimised.

    Args:
        blocks: in graph order.
        make: creates the sampler from a seed.
        seed: the study's.
    """

    def __init__(self, blocks: Sequence[Block], make: Callable[[int], BaseSampler], seed: int) -> None:
        # At its default level Optuna announces the in-memory study as if it were the user's.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._blocks = tuple(blocks)
        self._space = Space(blocks)
        self._distributions = search_space(blocks)
        self._make = make
        self._seed = seed
        self._trials = Trials(self._space)
        self._news: dict[int, Outcome] = {}
        self._study: optuna.Study | None = None
        self._open: dict[Row, Trial] = {}
        self._standings: dict[Row, Outcome] = {}

    def learn(self, records: Iterable[TrialRecord]) -> None:
        """See `Strategy`."""
        self._news.update(self._trials.learn(records))

    def propose(self, count: int = 1) -> tuple[Assignment, ...]:
        """See `Strategy`."""
        study = self._begun()
        chosen: dict[Row, Trial | None] = {}
        while len(chosen) < count:
            row, trial = self._drawn(study, chosen)
            if row is None:
                break
            chosen[row] = trial
        self._open.update({row: trial for row, trial in chosen.items() if trial is not None})
        return tuple(Assignment.from_mapping(self._blocks, self._space.decode(row)) for row in chosen)

    def _begun(self) -> optuna.Study:
        """The in-memory study, brought up to date."""
        if self._study is None:
            sampler = self._make(seed_of_night(self._seed, self._trials.next_number))
            self._study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        # By number, since what a sampler learns depends on the order of its trials.
        for number in sorted(self._news):
            outcome = self._news[number]
            before = self._standings.get(outcome.row)
            # Once measured, an assignment stays measured, also where a later trial of it fails.
            if before is None or not _is_measured(before) or _is_measured(outcome):
                self._standings[outcome.row] = outcome
            # Proposals of this process are open already; trials measured elsewhere are entered as if
            # proposed here.
            trial = self._open.pop(outcome.row, None) or self._entered(self._study, outcome.row)
            if outcome.standing == "running":
                self._open[outcome.row] = trial
            else:
                self._tell(self._study, trial, outcome)
        self._news.clear()
        return self._study

    def _entered(self, study: optuna.Study, row: Row) -> Trial:
        """A trial with these parameters."""
        # The study is private to this object, so the next `ask` takes what is queued here.
        study.enqueue_trial(self._space.decode(row))
        return study.ask(self._distributions)

    def _tell(self, study: optuna.Study, trial: Trial, outcome: Outcome) -> None:
        """Report the values, or for a failure the worst ones so far."""
        values = [(o.latency_ms, o.loss) for o in self._standings.values() if _is_measured(o)]
        if _is_measured(outcome):
            # Exactly 0 means that the study sets no limit, so there is no constraint to report.
            if outcome.excess:
                trial.set_constraint("limit", outcome.excess)
            study.tell(trial, (outcome.latency_ms, outcome.loss))
        # Samplers learn nothing from trials in state FAIL, and would propose the same again.
        elif outcome.standing == "failed" and values:
            study.tell(trial, np.max(values, axis=0).tolist())
        else:
            study.tell(trial, state=TrialState.FAIL)

    def _drawn(self, study: optuna.Study, chosen: dict[Row, Trial | None]) -> tuple[Row | None, Trial | None]:
        """An unknown row and its trial; no trial if the row was drawn at random, no row if all are known."""
        for _ in range(REPEATS):
            trial = study.ask(self._distributions)
            row = self._space.encode(trial.params)
            assert row is not None
            standing = self._standings.get(row)
            if standing is None and row not in chosen:
                return row, trial
            if standing is None or standing.standing == "running":
                study.tell(trial, state=TrialState.FAIL)
            else:
                self._tell(study, trial, standing)
        taken = frozenset(self._standings.keys() | chosen.keys())
        rng = np.random.default_rng([self._seed, len(taken)])
        fresh = unknown(self._space.draw(rng, DRAWS), taken)
        if not len(fresh):
            fresh = any_unknown(self._space, taken)
        return (tuple(fresh[0].tolist()), None) if len(fresh) else (None, None)


def _is_measured(outcome: Outcome) -> bool:
    return outcome.standing == "measured"
