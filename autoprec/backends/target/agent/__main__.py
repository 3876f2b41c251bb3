"""Serves requests until the line is closed: `python3 agent.pyz FOLDER LIMIT_BYTES`."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any, BinaryIO, Dict, Iterator, List, Tuple

import numpy as np

from autoprec.backends.target.agent import wire
from autoprec.backends.target.agent.power import power_here
from autoprec.backends.target.agent.store import Blobs

Frame = Tuple[Dict[str, Any], List[bytes]]
MOST_REPEATS = 100_000
SILENT_SECONDS = 3600.0
"""A line whose other end is gone without a word may never close: the agent, and its memory, go after that."""


class Agent:
    """The engines that autoprec asked for, by the number that it gave them."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.blobs = Blobs(folder / "blobs", limit)
        self._folder = folder
        self._maker = None  # type: Any
        self._engines = {}  # type: Dict[int, Any]

    def hello(self, header: dict[str, Any], _: list[bytes]) -> Frame:
        """Load the engine's bindings, and say what is here."""
        kind, options = header["engine"], header["options"]
        if kind == "openvino":
            from autoprec.backends.target.agent.openvino_engine import OpenVinoCompiler

            self._maker = OpenVinoCompiler(options)
        elif kind == "tensorrt":
            from autoprec.backends.target.agent.tensorrt_engine import TensorRTBuilder

            self._maker = TensorRTBuilder(options, self._folder)
        else:
            raise ValueError(f"this agent has no engine {kind!r}")
        facts = dict(self._maker.facts())
        facts["python"] = platform.python_version()
        facts["machine"] = f"{platform.system()} {platform.machine()}"
        facts["free_bytes"] = self.blobs.free_bytes()
        facts["power"] = power_here()
        return facts, []

    def kind_of(self, error: OSError) -> str:
        """The kind of an error: "disk" is full, "folder" is not usable, or "engine" for its library."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return "disk"
        return "folder" if str(error.filename or "").startswith(str(self._folder)) else "engine"

    def missing(self, header: dict[str, Any], _: list[bytes]) -> Frame:
        """The digests of blobs that are not here yet."""
        return {"missing": self.blobs.missing(header["digests"])}, []

    def put(self, header: dict[str, Any], blobs: list[bytes]) -> Frame:
        """Keep blobs."""
        for digest, data in zip(header["digests"], blobs):
            self.blobs.put(digest, data)
        return {}, []

    def build(self, header: dict[str, Any], _: list[bytes]) -> Frame:
        """Build an engine of a model whose parts are here."""
        number = int(header["number"])
        with self._model(header["parts"]) as path:
            told = dict(header["options"], layers=header.get("layers", []), parts=header["parts"])
            engine = self._maker.build(path, told)
        self._engines[number] = engine
        return {"engine_bytes": engine.engine_bytes, "device_memory_bytes": engine.device_memory_bytes}, []

    def plan(self, header: dict[str, Any], _: list[bytes]) -> Frame:
        """The bytes of a newly built engine."""
        with self._model(header["parts"]) as path:
            return {}, [self._maker.plan(path, {"layers": header["layers"]})]

    def timings(self, *_: Any) -> Frame:
        """The kernel timings that builds here share."""
        return {}, [self._maker.timings()]

    @contextmanager
    def _model(self, parts: list[str]) -> Iterator[Path]:
        """A temporary model file, put together from stored parts."""
        path = self._folder / f"model-{os.getpid()}.onnx"
        try:
            with path.open("wb") as file:
                for digest in parts:
                    file.write(self.blobs.read(digest))
            yield path
        finally:
            if path.exists():
                path.unlink()

    def prepare(self, header: dict[str, Any], _: list[bytes]) -> Frame:
        """Place inputs that are here as blobs."""
        inputs = {}
        for (name, kind, shape), digest in zip(header["inputs"], header["digests"]):
            inputs[name] = np.frombuffer(self.blobs.read(digest), np.dtype(kind)).reshape(shape)
        engine = self._engines[header["number"]]
        engine.prepare(inputs)
        return {"device_memory_bytes": engine.device_memory_bytes}, []

    def run(self, header: dict[str, Any], _: list[bytes]) -> Frame:
        """One inference of what was prepared; its outputs come back if they are wanted."""
        engine = self._engines[header["number"]]
        engine.execute()
        if not header["outputs"]:
            return {}, []
        arrays = [np.ascontiguousarray(array) for array in engine.outputs()]
        if "cut" in header:
            return _cut(engine.output_names, arrays, header["cut"])
        described = wire.describe(zip(engine.output_names, arrays))
        return {"arrays": described}, [array.tobytes() for array in arrays]

    def rounds(self, header: dict[str, Any], _: list[bytes]) -> Frame:
        """Readings of engines in turn, in ms, each after an unmeasured execution that fills the caches."""
        order, repeats = header["order"], min(int(header["repeats"]), MOST_REPEATS)
        readings = []
        for number in order:
            engine = self._engines[number]
            engine.execute()
            readings.append(engine.milliseconds(repeats))
        return {"milliseconds": readings}, []

    def describe(self, header: dict[str, Any], _: list[bytes]) -> Frame:
        """What an engine runs, as its library reports it."""
        return self._engines[header["number"]].description(), []

    def close(self, header: dict[str, Any], _: list[bytes]) -> Frame:
        """Free an engine; an unknown number is ignored."""
        engine = self._engines.pop(header["number"], None)
        if engine is not None:
            engine.close()
        return {}, []

    def clean(self, *_: Any) -> Frame:
        """Remove what the agent keeps on the disk, its own file included; the process ends with the line."""
        held = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        # Only what an agent writes: the folder is the user's choice, and may hold other things.
        for path in self._folder.iterdir():
            if path.name == "blobs":
                shutil.rmtree(str(path))
            elif path.suffix == ".onnx":
                _remove_unread(path)
            elif path.name.startswith("agent-") or path.suffix in (".cache", ".part"):
                path.unlink()
        if not any(self._folder.iterdir()):
            self._folder.rmdir()
        return {"bytes": held}, []

    def clocks(self, *_: Any) -> Frame:
        """Clocks, power and load now."""
        return dict(power_here(), **self._maker.clocks()), []


REQUESTS = (
    "hello",
    "missing",
    "put",
    "build",
    "plan",
    "timings",
    "prepare",
    "run",
    "rounds",
    "describe",
    "close",
    "clocks",
    "clean",
)


def _remove_unread(path: Path) -> None:
    """Remove a model, unless another running agent builds from it."""
    number = re.match(r"model-(\d+)\.onnx$", path.name)
    try:
        if number is not None and int(number.group(1)) != os.getpid():
            # Signal 0 does nothing but ask whether the process is there.
            os.kill(int(number.group(1)), 0)
            return
    except (OSError, OverflowError):
        pass
    path.unlink()


def _cut(names: List[str], arrays: List[Any], wanted: Dict[str, Any]) -> Frame:
    """A bit for each value of an output, set above `wanted`, and how many are NaN or infinite."""
    index = names.index(wanted["name"]) if wanted["name"] in names else int(wanted["index"])
    array = arrays[index].astype(np.float32)
    strange = int(array.size - np.isfinite(array).sum())
    # Compared in float32, as the search compares logits that come whole.
    bits = np.packbits(array.reshape(-1) > np.float32(wanted["above"]))
    return {"shape": list(array.shape), "strange": strange}, [bits.tobytes()]


def main(folder: Path, limit: int) -> None:
    """Answer requests. The process ends with the line, at once, even in the middle of a build."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between the answers
    # Models and images lie there: nobody else on the machine needs to read them.
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    agent = Agent(folder, limit)
    frames = Queue(maxsize=1)  # type: Queue[Frame]
    # A thread of its own, since a library that builds does not look at the line.
    threading.Thread(target=_listen, args=(sys.stdin.buffer, frames), daemon=True).start()
    while True:
        try:
            header, blobs = frames.get(timeout=SILENT_SECONDS)
        except Empty:
            return
        wire.send(answers, *_answer(agent, header, blobs))


def _listen(stream: BinaryIO, frames: Queue[Frame]) -> None:
    try:
        while True:
            frames.put(wire.receive(stream))
    except wire.WireError:
        os._exit(0)


def _answer(agent: Agent, header: dict[str, Any], blobs: list[bytes]) -> Frame:
    """The answer to a request, or its error; an error leaves the agent as it was."""
    name = header.pop("request", None)
    if name not in REQUESTS:
        return {"error": "engine", "message": f"no such request: {name!r}"}, []
    try:
        return getattr(agent, name)(header, blobs)  # type: ignore[no-any-return]
    except MemoryError:
        return {"error": "memory", "message": "out of memory on the target"}, []
    except ImportError as error:
        return {"error": "missing", "message": str(error)}, []
    except FileNotFoundError as error:
        return {"error": "gone", "message": str(error)}, []
    except OSError as error:
        return {"error": agent.kind_of(error), "message": str(error)}, []
    except Exception as error:  # noqa: BLE001 - whatever an engine's library raises is an answer
        kind = str(getattr(error, "kind", "engine"))
        return {"error": kind, "message": f"{type(error).__name__}: {error}"}, []


if __name__ == "__main__":
    main(Path(sys.argv[1]).expanduser(), int(sys.argv[2]))
