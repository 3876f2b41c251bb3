"""Loading libraries: what hardly any model needs is left for later; where address space is limited, enough is
asked for first, and no load lasts for ever.

OpenBLAS reserves a buffer for each of its threads as it loads. Where it gets none, some of its versions ask
again without an end, and others send the process a SIGINT.

`python -P -m autoprec.loading MODULE FD` is a worker: it runs MODULE, which answers on the pipe FD.
"""

from __future__ import annotations

import gc
import importlib
import mmap
import os
import resource
import runpy
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader, find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from autoprec.errors import BackendError, UserError

_POSTPONED = ("sympy", "onnx_ir._symbolic_shapes", "numpy.f2py", "numpy.testing")
"""Modules that onnx-ir imports for arithmetic with symbolic sizes, and nobody uses before: a third of what a
command and each of its workers load (2.7 of 7.8 s on a machine with a slow disk). And two that SciPy imports,
with all names of NumPy."""

_LEAST_BYTES = 384 << 20
"""Of address space, for the libraries with one thread of OpenBLAS; with 290 MiB they may load for ever."""
_THREAD_BYTES = 128 << 20
"""For each of OpenBLAS' threads, in both of its copies (NumPy's and SciPy's)."""
_BUFFER_BYTES = 64 << 20
"""What must be left for OpenBLAS' buffer of 32 MiB and the stack of a thread."""
_MOST_THREADS, _OUR_THREADS = 64, 8
"""Of each copy of OpenBLAS, as it is built for wheels; and of autoprec's own."""
_SECONDS = 12.0
"""Of the processor's: loading takes 2 to 4."""
_STATM = Path("/proc/self/statm")

STARTING = threading.RLock()
"""Held while a process is started or copied, and while this one has a lower limit, which it would inherit.
Reentrant: garbage may be collected meanwhile, and what removes a target's engines then starts one, too."""


class _Postponing(MetaPathFinder):
    """Finds the modules of `_POSTPONED`, which then load when one of their names is used."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002 - the signature of a finder
    ) -> ModuleSpec | None:
        if fullname not in _POSTPONED:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def postpone() -> None:
    """Load later what is hardly ever used, in processes of autoprec's own: not in programs that import it."""
    if not any(isinstance(finder, _Postponing) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Postponing())


@contextmanager
def staying() -> Iterator[None]:
    """What is loaded in the block stays to the end: no collection of garbage looks through it, then or later.

    Each would look through all modules, the last as the process ends: a third of a short command's time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


def ensure_memory() -> None:
    """Raises `UserError` where a process may have less memory than the libraries need to load.

    Where it is enough for one thread of OpenBLAS, but not for all, this process and its workers have one.
    """
    if not _can_start(2 * min(len(os.sched_getaffinity(0)), _MOST_THREADS) + _OUR_THREADS):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # or it sends this process a SIGINT
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    if limit < _LEAST_BYTES:
        raise UserError(
            f"the shell allows {limit >> 20} MiB of address space, too little to load the libraries; raise "
            "the limit with `ulimit -v`"
        )
    if limit < _LEAST_BYTES + _THREAD_BYTES * len(os.sched_getaffinity(0)):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _can_start(count: int) -> bool:
    """Whether so many threads can run at once, for all limits of the user, the shell and the container."""
    # In a copy: here, each thread would leave an arena of 64 MiB of address space behind.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, from Python 3.12 on
        try:
            copy = os.fork()
        except OSError:
            return False
    if copy == 0:
        os._exit(_start(count))
    return end_of(copy) == 0


def _start(count: int) -> int:
    """Start so many threads that wait; the exit code for it."""
    waits = threading.Event()
    try:
        for _ in range(count):
            threading.Thread(target=waits.wait, daemon=True).start()
    except BaseException:  # noqa: BLE001 - a copy of this process must never go on as this process
        return 1
    return 0


def end_of(copy: int) -> int:
    """Wait for a copy of this process to end; its status as of `os.waitpid`."""
    try:
        return os.waitpid(copy, 0)[1]
    except ChildProcessError:  # whoever started this process has it ignore SIGCHLD: no end is ever told
        return 0


def take_buffer() -> None:
    """Let NumPy's OpenBLAS have its buffer now, where address space is limited.

    It takes one of 32 MiB with its first large product, and ends the process, or never returns, where there
    is none left. Raises `UserError` there.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return
    if not _has_left(_BUFFER_BYTES):
        raise UserError(
            f"the shell allows {limit >> 20} MiB of address space, nearly all of which is taken; raise the "
            "limit with `ulimit -v`"
        )
    numpy: Any = importlib.import_module("numpy")  # not above: help does without, elsewhere
    square = numpy.ones((128, 128))
    square @ square


def ensure_room(library: str, needed_bytes: int) -> None:
    """Raises `BackendError` where an engine's library is still to be loaded, and less address space is left
    than it takes: with less, OpenVINO ends the process by a segmentation fault, and TensorRT by an abort."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY or library in sys.modules or find_spec(library) is None:
        return
    if _has_left(needed_bytes):
        return
    raise BackendError(
        f"the shell allows {limit >> 20} MiB of address space, of which less than the {needed_bytes >> 20} "
        f"MiB are left that {library} takes to load; raise the limit with `ulimit -v`"
    )


def _has_left(size: int) -> bool:
    """Whether so many bytes of address space can be had."""
    try:
        mmap.mmap(-1, size).close()
    except (OSError, MemoryError):
        return False
    return True


@contextmanager
def bounded(most_bytes: int) -> Iterator[None]:
    """In the block, this process may take so much more address space than it has, where that is known."""
    if not _STATM.exists():
        yield
        return
    with STARTING:
        now = int(_STATM.read_text().split()[0]) * resource.getpagesize()
        before, most = resource.getrlimit(resource.RLIMIT_AS)
        limits = [limit for limit in (before, now + most_bytes) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min(limits), most))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (before, most))


def end_if_stuck() -> None:
    """Under a limit of address space this process ends by SIGPROF if loading takes too long; see `loaded`."""
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        signal.setitimer(signal.ITIMER_PROF, _SECONDS)


def loaded() -> None:
    """All libraries are there: this process may compute for as long as it likes."""
    signal.setitimer(signal.ITIMER_PROF, 0)


def _main() -> None:
    try:
        ensure_memory()
        end_if_stuck()
        postpone()
        take_buffer()
    except UserError as error:
        sys.exit(str(error))
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
