"""Changes frames on the line to a target, and the answers of its agent."""

from __future__ import annotations

import io
import json
import random
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoprec.backends.target.agent import wire
from autoprec.backends.target.backend import TargetBackend
from autoprec.backends.target.channel import Channel
from autoprec.backends.target.engine import TargetEngine
from autoprec.backends.target.line import Line
from autoprec.errors import BackendError
from changes import mutators, texts
from tiny_study import write_model

_HELLO = {"library": "", "version": "2026.4.1", "device": "EPYC", "newest_opset": 22, "free_bytes": 1 << 40,
          "python": "3.11", "machine": "Linux", "capability": [8, 9]}  # fmt: skip
_ANSWERS: dict[str, dict[str, Any]] = {
    "hello": _HELLO,
    "missing": {"missing": ["a" * 64]},
    "put": {},
    "build": {"engine_bytes": 1000, "device_memory_bytes": 2000},
    "prepare": {"device_memory_bytes": 2000},
    "run": {"arrays": [["masks", "<f4", [1, 2, 32, 32]]]},
    "rounds": {"milliseconds": [1.5]},
    "describe": {
        "nodes": [["Convolution", "brgconv_avx512_f32", "/a/conv/Conv", "12"]],
        "message": "",
        "json": "",
        "times": {},
    },
    "clocks": {"sm_mhz": 1000, "load": 0.5},
    "close": {},
    "clean": {"bytes": 5},
}


class Recorded(Channel):
    """A channel with recorded answers instead of an agent."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers, self._loss = answers, None
        self._out = io.BytesIO()

    def ask(
        self, request: str, blobs: Sequence[bytes] = (), most: int | None = None, **header: Any
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Answer as a real channel does, through the bytes of a frame."""
        del blobs, header, most
        answer = self._answers.get(request)
        if not isinstance(answer, dict):
            raise BackendError("no such answer")
        stream = io.BytesIO()
        wire.send(
            stream, answer, [np.zeros((1, 2, 32, 32), np.float32).tobytes()] if request == "run" else []
        )
        stream.seek(0)
        return wire.receive(stream)

    @property
    def is_lost(self) -> bool:
        """Never: there is no process that could end."""
        return False

    def close(self) -> None:
        """Nothing to close."""


def write(folder: Path) -> Path:
    """Write a frame with arrays or, into a folder named `answers`, the answers of an agent."""
    folder.mkdir()
    if folder.name == "answers":
        (folder / "answers.json").write_text(json.dumps(_ANSWERS))
        write_model(folder / "tiny.onnx")
        return folder / "answers.json"
    stream = io.BytesIO()
    wire.send(stream, _ANSWERS["run"], [np.arange(2048, dtype=np.float32).tobytes(), b"abc"])
    (folder / "frame").write_bytes(stream.getvalue())
    return folder / "frame"


def frame(data: bytes, dice: random.Random) -> bytes:
    """Change a frame's header, its version or its announced length."""
    version, length = struct.unpack(">II", data[:8])
    header = texts.json_text(data[8 : 8 + length], dice)
    version = dice.choice((version, version, version, 0, 2, (1 << 32) - 1))
    length = dice.choice((len(header), len(header), len(header), 0, (1 << 32) - 1))
    return struct.pack(">II", version, length) + header + data[8 + length :]


def answer(data: bytes, dice: random.Random) -> bytes:
    """Change values in the answers of an agent."""
    return mutators.as_json(mutators.document(json.loads(data), dice))


def receive(path: Path) -> object:
    """Read a frame; None for one that is refused."""
    with path.open("rb") as stream:
        try:
            return wire.receive(stream)
        except wire.WireError:
            return None


def use(path: Path) -> object:
    """Build, feed, time and describe an engine whose agent gives the changed answers."""
    try:
        answers = json.loads(path.read_bytes())
    except (ValueError, RecursionError):  # for `receive` to find
        return None
    answers = answers if isinstance(answers, dict) else {}
    for engine in ("openvino", "tensorrt"):
        backend = TargetBackend({"engine": engine, "target": "local:"})
        channel = Recorded(answers)
        backend.facts, _ = channel.ask("hello")
        newest = backend.facts.get("newest_opset", 0)
        backend._line = Line(channel, newest if isinstance(newest, int) else 0)
        backend.fingerprint()
        backend.checks()
        _ = backend.base_precision, backend.splits_projections
        with backend.build(path.with_name("tiny.onnx")) as built:
            built.prepare({"image": np.zeros((1, 3, 32, 32), np.float32)})
            built.outputs()
            if isinstance(built, TargetEngine):
                built.milliseconds(3)
            built.kernels()
        backend.clocks()
    return None
