"""A run of a search: a ledger (what is known and stored), a queue (what is next), workers, and their loop."""

from autoprec.study.night.loop import Night

__all__ = ["Night"]
