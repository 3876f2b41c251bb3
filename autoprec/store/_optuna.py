"""Optuna's storage inside autoprec's transactions, and with fewer statements."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Any, NamedTuple

import optuna
import sqlalchemy as sa
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy.orm import Session


class Mirrored(NamedTuple):
    """A trial in Optuna's tables; `values` (latency_ms, loss) is empty where none were told."""

    state: TrialState
    values: tuple[float, ...]


class JoiningStorage(optuna.storages.RDBStorage):
    """Optuna's storage, with trials begun and finished in a few statements, however many there are.

    Optuna itself counts all trials of a study to number a new one, looks the trial up for each parameter and
    attribute, and makes a savepoint for each call: sixty statements a trial while others wait for the lock.
    """

    _current: Callable[[], sa.Connection | None] = staticmethod(lambda: None)

    _translated: Callable[[], AbstractContextManager[None]] = staticmethod(nullcontext)

    def join(
        self,
        engine: sa.Engine,
        current: Callable[[], sa.Connection | None],
        translated: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """From now on use `engine`, inside the transaction that `current` returns, if any; `translated` turns
        the database's errors into autoprec's."""
        self._translated = translated
        # Optuna made its own engine to check its tables; its connections would not see our open
        # transaction.
        self.engine.dispose()
        self.engine = engine
        self._current = current
        self.scoped_session = _Sessions(engine, current)  # type: ignore[assignment]

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """As Optuna's, which is called outside of transactions, too."""
        with self._translated():
            return super().create_new_study(directions, study_name)

    def begin(
        self, study: int, params: Mapping[str, tuple[float, str]], attributes: Mapping[str, str]
    ) -> tuple[int, int]:
        """Write a running trial; returns its number, which follows the newest trial's, and its id.

        Args:
            study: Optuna's id of the study.
            params: internal value and distribution (JSON) by parameter name.
            attributes: user attributes by name.
        """
        with self._session() as session:
            # As in Optuna: the row lock keeps others from numbering a trial of the study meanwhile.
            session.execute(sa.select(models.StudyModel.study_id).filter_by(study_id=study).with_for_update())
            newest = sa.select(models.TrialModel.number).filter_by(study_id=study)
            last = session.scalar(newest.order_by(models.TrialModel.trial_id.desc()).limit(1))
            number = 0 if last is None else last + 1
            trial = models.TrialModel(study_id=study, number=number, state=TrialState.RUNNING)
            trial.datetime_start = datetime.now()
            session.add(trial)
            session.flush()
            key: dict[str, Any] = {"trial_id": trial.trial_id}
            rows = [
                {**key, "param_name": name, "param_value": value, "distribution_json": distribution}
                for name, (value, distribution) in params.items()
            ]
            told = [
                {**key, "key": name, "value_json": json.dumps(value)} for name, value in attributes.items()
            ]
            for model, added in ((models.TrialParamModel, rows), (models.TrialUserAttributeModel, told)):
                if added:
                    session.execute(sa.insert(model), added)
            trial_id = int(trial.trial_id)
            session.commit()
        return number, trial_id

    def finish(self, trial: int, state: TrialState, values: Sequence[float] = ()) -> None:
        """Write the outcome of a trial, by its id; a finished one stays as it is.

        Raises `KeyError` for an unknown id.
        """
        with self._session() as session:
            row = session.scalar(sa.select(models.TrialModel).filter_by(trial_id=trial).with_for_update())
            if row is None:
                raise KeyError(f"Optuna has no trial of the id {trial}")
            if row.state.is_finished():
                return
            row.state = state
            row.datetime_complete = datetime.now()
            stored = [models.TrialValueModel.value_to_stored_repr(value) for value in values]
            added = [
                {"trial_id": trial, "objective": objective, "value": value, "value_type": kind}
                for objective, (value, kind) in enumerate(stored)
            ]
            if added:
                session.execute(sa.insert(models.TrialValueModel), added)
            session.commit()

    def adapt(self, study: int, choices: Mapping[str, Sequence[str]]) -> None:
        """Let categorical parameters of all trials have other choices, where their value is one of those.

        Args:
            study: Optuna's id of the study.
            choices: by parameter name; other parameters are another tool's.

        Raises `LookupError` or `ValueError` where a parameter is not as Optuna writes it.
        """
        param, trial = models.TrialParamModel, models.TrialModel
        ours = param.trial_id.in_(sa.select(trial.trial_id).filter_by(study_id=study))
        key = (param.param_name, param.param_value, param.distribution_json)
        # One statement for all trials that chose alike: there may be a million parameters.
        query = sa.select(*key).where(ours, param.param_name.in_(choices)).distinct()
        with self._session() as session:
            for name, value, written in session.execute(query).all():
                now = CategoricalDistribution(choices[name])
                if (before := json_to_distribution(written)) == now:
                    continue
                if (chosen := before.to_external_repr(value)) in now.choices:
                    text, place = distribution_to_json(now), now.to_internal_repr(chosen)
                    alike = sa.and_(*(c == was for c, was in zip(key, (name, value, written), strict=True)))
                    changed = sa.update(param).where(ours, alike)
                    session.execute(changed.values(param_value=place, distribution_json=text))
            session.commit()

    def told(self, study: int, *states: TrialState) -> dict[int, Mirrored]:
        """State and values by trial number, in one statement: Optuna would read parameters too.

        Args:
            study: Optuna's id of the study.
            states: trials to include; all by default.
        """
        value, trial = models.TrialValueModel, models.TrialModel
        columns = (trial.number, trial.state, value.value, value.value_type)
        query = sa.select(*columns).outerjoin(value, value.trial_id == trial.trial_id)
        query = query.where(trial.study_id == study).order_by(trial.trial_id, value.objective)
        if states:
            query = query.where(trial.state.in_(states))
        trials: dict[int, Mirrored] = {}
        with self._session() as session:
            for number, state, stored, kind in session.execute(query):
                earlier = trials.get(number, Mirrored(state, ()))
                values = () if stored is None and kind is None else (_value(stored, kind),)
                trials[number] = Mirrored(state, earlier.values + values)
        return trials

    def identifier(self, study: int, number: int, likely: int | None = None) -> int:
        """The id of a trial; a right guess in `likely` saves a search. Raises `KeyError` for none."""
        trial = models.TrialModel
        query = sa.select(trial.trial_id).filter_by(study_id=study, number=number)
        with self._session() as session:
            trial_id = None if likely is None else session.scalar(query.filter_by(trial_id=likely))
            trial_id = session.scalar(query.limit(1)) if trial_id is None else trial_id
        if trial_id is None:
            raise KeyError(f"Optuna has no trial {number}")
        return int(trial_id)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """A session on this thread's transaction, if any; unlike Optuna's, without a savepoint."""
        bound = self._current() or self.engine
        with self._translated(), Session(bind=bound, join_transaction_mode="rollback_only") as session:
            yield session

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


def _value(stored: float | None, kind: Any) -> float:
    """A stored value as a float; NaN for a row that Optuna cannot have written."""
    if stored is not None:
        return stored
    infinities = {
        models.TrialValueModel.TrialValueType.INF_POS: math.inf,
        models.TrialValueModel.TrialValueType.INF_NEG: -math.inf,
    }
    return infinities.get(kind, math.nan)


class _Sessions:
    """Replaces Optuna's sessions: their commits inside an autoprec transaction take effect with it."""

    def __init__(self, engine: sa.Engine, current: Callable[[], sa.Connection | None]) -> None:
        self._engine, self._current = engine, current

    def __call__(self) -> Session:
        """A new session, on this thread's transaction if there is one."""
        connection = self._current()
        # A savepoint for each session: a rollback of Optuna's must not undo the rest of our transaction.
        return Session(bind=connection or self._engine, join_transaction_mode="create_savepoint")

    def remove(self) -> None:
        """Do nothing: each session is closed by its user."""
