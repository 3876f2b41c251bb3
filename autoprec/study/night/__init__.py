"""A night: a ledger (what is known and stored), a queue (what is next), workers, and the loop over them."""

from autoprec.study.night.loop import Night

__all__ = ["Night"]
