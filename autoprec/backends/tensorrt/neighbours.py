"""How many of a GPU's processes do not belong to this search.

In a container NVML counts processes by the host's numbers, or by none that mean anything here: then ours are
told by what they hold open, and as many are taken off.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from autoprec.files import SHARED_TMPDIR

VISIBLE = "CUDA_VISIBLE_DEVICES"
_OF_CONTEXTS = ("/dev/nvidia-uvm", "/dev/dxg")
"""What each process with a CUDA context holds open: the second on WSL."""


def others(pids: Sequence[int], *, holds_context: bool) -> int:
    """How many processes belong neither to this search nor to its workers.

    Args:
        pids: of all that compute on the GPU, as NVML numbers them.
        holds_context: whether this process is one of them, under whatever number.
    """
    ours = {process.pid: process for process in _search()}
    if ours.keys() & set(pids):
        return len(set(pids) - ours.keys())
    here = os.environ.get(VISIBLE)
    workers = [pid for pid, process in ours.items() if pid != os.getpid() and _computes(process, here)]
    return max(0, len(pids) - len(workers) - holds_context)


def _search() -> Iterator[psutil.Process]:
    """The process that searches, and all that it has started; a worker knows that it is one."""
    with suppress(psutil.NoSuchProcess):
        owner = psutil.Process(os.getppid() if SHARED_TMPDIR in os.environ else os.getpid())
        yield owner
        yield from owner.children(recursive=True)


def _computes(process: psutil.Process, visible: str | None) -> bool:
    """Whether a process has a CUDA context, on a GPU of those that this process is shown: what the search
    itself is shown it chose after its start, which cannot be seen from outside."""
    with suppress(psutil.Error, OSError):
        files = {str(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir()}
        is_shown = process.pid == os.getppid() or process.environ().get(VISIBLE) == visible
        return is_shown and not files.isdisjoint(_OF_CONTEXTS)
    return False
