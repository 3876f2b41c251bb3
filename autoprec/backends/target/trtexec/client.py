"""A target's own `trtexec` in the agent's place: for machines without Python, or without TensorRT's bindings.

Each request is a script of a POSIX shell. A reading is a short run of its own, so that engines take turns as
those of an agent do. What is written there is in one folder, and engines go when the line is closed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import shlex
import tarfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from autoprec.backends.target.address import Address
from autoprec.backends.target.agent import wire
from autoprec.backends.target.agent.power import COMMANDS, read_power
from autoprec.backends.target.channel import LIMIT_BYTES, SECONDS
from autoprec.backends.target.faults import FullError, GoneError
from autoprec.backends.target.trtexec import scripts
from autoprec.backends.target.trtexec.exports import (
    Tool,
    first_error,
    read_device,
    read_help,
    read_load,
    read_memory,
    read_outputs,
    read_profile,
    read_times,
)
from autoprec.backends.target.trtexec.flags import build_flags, timings_file
from autoprec.backends.target.trtexec.probe import smallest_model
from autoprec.backends.target.trtexec.shell import CommandError, Shell
from autoprec.errors import BackendError, TrialError

Answer = tuple[dict[str, Any], list[bytes]]
_KEY = "target.folder"
_WARM_MS, _RUNS, _PROFILED_RUNS = 100, 20, 10
"""Warm-up of a reading, and the fewest inferences in it; those of a profile."""
_REFUSED, _NOT_FOUND = 9, (126, 127)

_CLOCKS = (
    "cat /proc/loadavg; printf '\\000'; "
    + " ".join(f"{shlex.join(words)} </dev/null 2>/dev/null; printf '\\000';" for words in COMMANDS)
    + " finish 0"
)


class Trtexec:
    """Answers what an agent answers. The target's trtexec is at `address.trtexec`."""

    cuts = False

    def __init__(self, address: Address) -> None:
        self.address = address
        self._shell = Shell(address)
        self._tool = Tool((0, 0, 0), frozenset())
        self._folder = self._run = ""
        self._options: dict[str, Any] = {}
        self._types: dict[int, dict[str, str]] = {}
        self._feeds: dict[int, list[str]] = {}
        self._memory: dict[int, int] = {}
        self.is_lost = False  # each command has a line of its own
        self._end: Callable[[], object] = lambda: None

    def ask(
        self, request: str, blobs: Sequence[bytes] = (), most: int | None = None, **header: Any
    ) -> Answer:
        """Send a request, and return its answer, which has a limit of its own. See `Asked.ask`.

        Raises as `Channel.ask`.
        """
        del most
        self._shell.seconds = SECONDS.get(request)
        try:
            return _REQUESTS[request](self, header, blobs)
        except CommandError as error:
            raise self._told(request, error) from error

    def close(self) -> None:
        """Remove the engines there; a second call does nothing."""
        self._end()

    def _told(self, request: str, error: CommandError) -> Exception:
        words = first_error(str(error))
        if error.is_disk:
            return FullError(f"{self.address.name}: {words}; `autoprec target clean` frees space")
        if request == "hello" and error.code == 1:
            return BackendError(f"{self.address.name}: {words}; name a writable folder in {_KEY}")
        if error.is_gone:
            return GoneError(f"{self.address.name}: {words}")
        if error.code in _NOT_FOUND:
            return BackendError(
                f"{self.address.name}: {words}; name its trtexec in target.trtexec, on a Jetson "
                "/usr/src/tensorrt/bin/trtexec"
            )
        if error.code != _REFUSED:
            return TrialError("crash", f"{self.address.name}: {words}")
        if "out of memory" in str(error).lower():
            return TrialError("memory", words)
        return TrialError("build" if request in ("build", "hello") else "run", words)

    def _hello(self, header: dict[str, Any], _: Sequence[bytes]) -> Answer:
        """Read trtexec's help, and the device from the log of a build of one Relu."""
        if header["engine"] != "tensorrt":
            raise BackendError(f"target.trtexec: {header['engine']} has none; only tensorrt has")
        self._options = header["options"]
        told = self._shell.run(scripts.HELLO, [self.address.folder, self.address.trtexec]).decode(
            errors="replace"
        )
        try:
            self._folder, self._run, machine, disk, text = told.split("\n", 4)
            self._end = weakref.finalize(self, _remove, self._shell, self._folder, self._run)
            self._tool = read_help(text)
            free = int(disk.split()[-3]) * 1024
        except (ValueError, IndexError) as error:
            where = f"{self.address.name}: {self.address.trtexec}"
            raise BackendError(f"{where}: {error}; name its trtexec in target.trtexec") from error
        relu = smallest_model()
        digest = hashlib.sha256(relu).hexdigest()
        self._put({"digests": [digest]}, [relu])
        name, capability = read_device(self._built("probe.plan", [digest], ())[1])
        facts = {
            "library": "TensorRT",
            "version": ".".join(map(str, self._tool.version)),
            "device": f"{name} ({'.'.join(map(str, capability))}), by trtexec",
            "capability": capability,
            "machine": machine[:80],
            "python": "not used",
            "free_bytes": free,
            "power": self._clocks()[0],
            "is_weak": self._tool.is_weak,
        }
        return facts, []

    def _missing(self, header: dict[str, Any], _: Sequence[bytes]) -> Answer:
        told = self._shell.run(scripts.MISSING, [self._folder, *header["digests"]]).decode(errors="replace")
        return {"missing": told.split()}, []

    def _put(self, header: dict[str, Any], blobs: Sequence[bytes]) -> Answer:
        memory = io.BytesIO()
        with tarfile.open(fileobj=memory, mode="w:gz", compresslevel=1) as archive:
            for digest, blob in zip(header["digests"], blobs, strict=True):
                entry = tarfile.TarInfo(digest)
                entry.size = len(blob)
                archive.addfile(entry, io.BytesIO(blob))
        places = {"folder": shlex.quote(self._folder), "run": shlex.quote(self._run), "limit": LIMIT_BYTES}
        self._shell.feed(scripts.PUT.format(**places), memory.getvalue())
        return {}, []

    def _build(self, header: dict[str, Any], _: Sequence[bytes]) -> Answer:
        number = header["number"]
        size, log = self._built(f"{number}.plan", header["parts"], header["layers"])
        self._types[number] = header["types"]
        self._memory[number] = read_memory(log)
        return {"engine_bytes": size, "device_memory_bytes": 0}, []

    def _built(self, plan: str, parts: Sequence[str], layers: Sequence[Sequence[str]]) -> tuple[int, str]:
        """Bytes of a plan, and the log of its build."""
        flags = build_flags(
            self._tool, self._options, layers, f"{self._run}/model.onnx", f"{self._run}/{plan}"
        )
        words = [self._folder, self._run, f"{self._run}/{plan}", *parts, "--", self.address.trtexec, *flags]
        size, _, log = self._shell.run(scripts.BUILD, words).decode(errors="replace").partition("\n")
        if not size.strip().isdigit():
            raise TrialError("crash", "the target's answer holds no size of an engine")
        return int(size), log

    def _plan(self, header: dict[str, Any], _: Sequence[bytes]) -> Answer:
        """The bytes of a newly built engine."""
        self._built("shipped.plan", header["parts"], header["layers"])
        words = [self._folder, f"{self._run}/shipped.plan"]
        return {}, [self._shell.run('cd "$1" && cat "$2" && rm "$2"; finish $?', words)]

    def _timings(self, *_: Any) -> Answer:
        words = [self._folder, timings_file(self._tool)]
        return {}, [self._shell.run('cd "$1" && { [ ! -e "$2" ] || cat "$2"; }; finish $?', words)]

    def _prepare(self, header: dict[str, Any], _: Sequence[bytes]) -> Answer:
        number, feeds = header["number"], []
        for (name, kind, _), digest in zip(header["inputs"], header["digests"], strict=True):
            if wire_type(self._types[number][name]) != kind:
                raise TrialError(
                    "run", f"input {name!r} is {self._types[number][name]}; trtexec is fed {kind}"
                )
            feeds.append(f"'{name}':blobs/{digest}")
        self._feeds[number] = feeds
        return {"device_memory_bytes": self._memory[number]}, []

    def _once(self, header: dict[str, Any], _: Sequence[bytes]) -> Answer:
        """One inference, if its outputs are wanted; without them there is nothing to do."""
        number = header["number"]
        if not header["outputs"]:
            return {}, []
        flags = ["--iterations=1", "--warmUp=0", f"--exportOutput={self._run}/outputs.json"]
        results = read_outputs(self._ran([number], "outputs.json", flags)[0])
        kinds = {name: np.dtype(wire_type(self._types[number].get(name, "float32"))) for name in results}
        arrays = [np.ascontiguousarray(results[name].astype(_kept(kinds[name]))) for name in results]
        described = wire.describe(zip(results, arrays, strict=True))
        return {"arrays": described}, [array.tobytes() for array in arrays]

    def _rounds(self, header: dict[str, Any], _: Sequence[bytes]) -> Answer:
        runs = max(_RUNS, int(header["repeats"]))
        flags = [f"--iterations={runs}", f"--warmUp={_WARM_MS}", f"--exportTimes={self._run}/times.json"]
        fast = [f"--{name}" for name in ("noDataTransfers", "useSpinWait", "useCudaGraph")]  # as agents do
        if not self._options.get("cuda_graph", True):
            fast.pop()
        return {
            "milliseconds": list(map(read_times, self._ran(header["order"], "times.json", flags + fast)))
        }, []

    def _describe(self, header: dict[str, Any], _: Sequence[bytes]) -> Answer:
        flags = [
            f"--iterations={_PROFILED_RUNS}",
            "--profilingVerbosity=detailed",
            f"--exportLayerInfo={self._run}/layers.json",
            f"--exportProfile={self._run}/profile.json",
        ]
        layers, profile = self._ran([header["number"]], "layers.json profile.json", flags)
        return {"message": "", "json": layers, "times": read_profile(profile)}, []

    def _ran(self, order: Sequence[int], wanted: str, flags: Sequence[str]) -> list[str]:
        """The files that a run of each plan wrote, in order; all plans get the inputs of the first."""
        first = order[0]
        feeds = self._feeds.get(first)
        fed = [f"--loadInputs={','.join(feeds)}"] if feeds else []
        device = [f"--device={self._options['device']}"] if self._options.get("device") else []
        plans = [f"{self._run}/{number}.plan" for number in order]
        command = [self.address.trtexec, "--duration=0", *fed, *device, *flags]
        words = [self._folder, self._run, wanted, str(len(plans)), *plans, *command]
        told = self._shell.run(scripts.RUN, words).decode(errors="replace")
        *files, log = told.split("\0")
        if len(files) != len(plans) * len(wanted.split()):
            raise TrialError("crash", "the target's trtexec does not write what it is asked for")
        self._memory[order[-1]] = read_memory(log) or self._memory.get(order[-1], 0)
        return files

    def _close(self, header: dict[str, Any], _: Sequence[bytes]) -> Answer:
        self._shell.run(
            'cd "$1" && rm -f "$2"; finish 0', [self._folder, f"{self._run}/{header['number']}.plan"]
        )
        return {}, []

    def _clocks(self, *_: Any) -> Answer:
        load, *told = self._shell.run(_CLOCKS).decode(errors="replace").split("\0")
        if len(told) <= len(COMMANDS):
            raise TrialError("crash", "the target's answer holds no clock readings")
        return {**read_load(load), **read_power(told)}, []

    def _clean(self, *_: Any) -> Answer:
        told = self._shell.run(scripts.CLEAN, [self.address.folder]).decode(errors="replace").strip()
        return {"bytes": int(told) * 1024 if told.isdigit() else 0}, []


_REQUESTS: Mapping[str, Callable[[Trtexec, dict[str, Any], Sequence[bytes]], Answer]] = MappingProxyType(
    {
        "hello": Trtexec._hello,
        "missing": Trtexec._missing,
        "put": Trtexec._put,
        "build": Trtexec._build,
        "plan": Trtexec._plan,
        "timings": Trtexec._timings,
        "prepare": Trtexec._prepare,
        "run": Trtexec._once,
        "rounds": Trtexec._rounds,
        "describe": Trtexec._describe,
        "close": Trtexec._close,
        "clocks": Trtexec._clocks,
        "clean": Trtexec._clean,
    }
)


def _remove(shell: Shell, folder: str, run: str) -> None:
    """Remove what one line built."""
    with contextlib.suppress(CommandError, TrialError, BackendError):
        shell.run('cd "$1" && rm -rf "$2"; finish 0', [folder, run])


def wire_type(name: str) -> str:
    """numpy's name of a type as it lies in a file."""
    return np.dtype(name).str


def _kept(kind: np.dtype[Any]) -> np.dtype[Any]:
    """The type to keep outputs in: FP16 was printed with six digits, and loses nothing more as float32."""
    return np.dtype(np.float32) if kind.kind == "f" else kind
