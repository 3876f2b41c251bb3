"""A target's own `trtexec` in the agent's place."""

from autoprec.backends.target.trtexec.client import Trtexec

__all__ = ["Trtexec"]
