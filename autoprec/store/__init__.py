"""The evidence of a study: one SQLite file, shared with Optuna, that survives being killed at any time.

Nothing outside this folder imports SQLAlchemy or writes SQL.
"""

from autoprec.records import pareto
from autoprec.store._lock import exclusive, searching
from autoprec.store._runs import Run
from autoprec.store._store import Store

__all__ = ["Run", "Store", "exclusive", "pareto", "searching"]
