"""Engines that are somewhere else: built, run and timed on a target, over the system's ssh or beside us.

The search, its blocks, scores and store stay here. An agent of one file goes over, speaks on its standard
streams, and does there what needs the device.
"""

from autoprec.backends.target.backend import TargetBackend

__all__ = ["TargetBackend"]
