"""Optuna's storage on a database of ours: in our transactions, and with fewer statements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
from sqlalchemy.orm import Session


class JoiningStorage(optuna.storages.RDBStorage):
    """Optuna's tables. Parameters of a new trial are written at once, and its number is read alone.

    Optuna looks up the trial, and an earlier trial's distribution, for each parameter: with 40 blocks three
    quarters of all statements of a trial. A study's blocks are checked before, and what a block may have is
    allowed to change from night to night.
    """

    def join(self, engine: sa.Engine, current: Callable[[], sa.Connection | None]) -> None:
        """From now on work with `engine`, inside the transaction that `current` gives."""
        self.engine.dispose()
        self.engine = engine
        self.scoped_session = _Sessions(engine, current)  # type: ignore[assignment]

    def get_trial_number_from_id(self, trial_id: int) -> int:
        """By one statement: Optuna reads the whole trial for it."""
        session = self.scoped_session()
        try:
            number = session.scalar(sa.select(models.TrialModel.number).filter_by(trial_id=trial_id))
        finally:
            session.close()
        if number is None:
            raise KeyError(f"Optuna has no trial of the id {trial_id}")
        return int(number)

    def _set_trial_param_without_commit(
        self,
        session: Session,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None = None,  # noqa: ARG002 - Optuna's signature
    ) -> None:
        row: Any = models.TrialParamModel(
            trial_id=trial_id,
            param_name=param_name,
            param_value=param_value_internal,
            distribution_json=distribution_to_json(distribution),
        )
        session.add(row)


class _Sessions:
    """In place of Optuna's sessions: what they commit inside a transaction of ours commits with it."""

    def __init__(self, engine: sa.Engine, current: Callable[[], sa.Connection | None]) -> None:
        self._engine, self._current = engine, current

    def __call__(self) -> Session:
        """A new session, on the transaction of this thread if there is one."""
        connection = self._current()
        return Session(bind=connection or self._engine, join_transaction_mode="create_savepoint")

    def remove(self) -> None:
        """Nothing: each session is closed by whoever requested it."""
