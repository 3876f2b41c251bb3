"""The evidence of a study: one database, shared with Optuna, that survives a kill at any instant.

Nothing outside this folder imports SQLAlchemy or writes SQL.
"""

from autoprec.records import Doing, Worker, pareto
from autoprec.store._artifacts import Artifacts
from autoprec.store._lock import exclusive, searching
from autoprec.store._optuna import JoiningStorage, Mirrored
from autoprec.store._repair import Health, examine, rebuild
from autoprec.store._runs import Run
from autoprec.store._store import Store
from autoprec.store._workers import BEAT_SECONDS, CLOCKS_SECONDS, Membership, host

__all__ = [
    "BEAT_SECONDS",
    "CLOCKS_SECONDS",
    "Artifacts",
    "Doing",
    "Health",
    "JoiningStorage",
    "Membership",
    "Mirrored",
    "Run",
    "Store",
    "Worker",
    "examine",
    "exclusive",
    "host",
    "pareto",
    "rebuild",
    "searching",
]
