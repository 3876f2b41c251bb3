"""Changes requests to an agent on a target; the agent must answer whatever comes, or end the connection."""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from autoprec.backends.target.agent import wire
from autoprec.backends.target.agent.__main__ import Agent, _answer
from changes import mutators, texts, wires
from tiny_study import write_model

_BLOB_BYTES = 1 << 30


def write(folder: Path) -> Path:
    """Write the requests of a night as they go over the line."""
    folder.mkdir()
    model = write_model(folder / "tiny.onnx").read_bytes()
    pixels = np.zeros((1, 3, 32, 32), np.float32).tobytes()
    parts, inputs = [hashlib.sha256(model).hexdigest()], [hashlib.sha256(pixels).hexdigest()]
    stream = io.BytesIO()
    wire.send(stream, {"request": "hello", "engine": "openvino", "options": {"threads": 1}})
    wire.send(stream, {"request": "missing", "digests": [*parts, *inputs]})
    wire.send(stream, {"request": "put", "digests": [*parts, *inputs]}, [model, pixels])
    wire.send(stream, {"request": "build", "number": 1, "parts": parts, "options": {}})
    wire.send(
        stream,
        {"request": "prepare", "number": 1, "inputs": [["image", "<f4", [1, 3, 32, 32]]], "digests": inputs},
    )
    cut = {"name": "masks", "index": 0, "above": 0.0}
    wire.send(stream, {"request": "run", "number": 1, "outputs": True, "cut": cut})
    wire.send(stream, {"request": "run", "number": 1, "outputs": True})
    wire.send(stream, {"request": "rounds", "order": [1, 1], "repeats": 2})
    for request in ("describe", "clocks", "timings", "close", "clean"):
        wire.send(stream, {"request": request, "number": 1})
    (folder / "requests").write_bytes(stream.getvalue())
    return folder / "requests"


def change(data: bytes, dice: random.Random) -> bytes:
    """Change one request, or repeat, move or drop one."""
    frames = list(_frames(data))
    place = dice.randrange(len(frames))
    head, rest = frames[place]
    match dice.randrange(5):
        case 0:
            frames.insert(dice.randrange(len(frames)), frames[place])
        case 1:
            del frames[place]
        case 2:
            whole = struct.pack(">II", wire.PROTOCOL, len(head)) + head + rest
            frames[place] = next(_frames(wires.frame(whole, dice)), (b"", b""))
        case 3:
            frames[place] = (texts.json_text(head, dice), rest)
        case _:
            asked = json.loads(head)
            # With sizes that fit, so that the change reaches the agent and not just the framing.
            sizes = asked.pop("blobs")
            changed = mutators.document(asked, dice)
            frames[place] = (
                mutators.as_json({**changed, "blobs": sizes} if isinstance(changed, dict) else changed),
                rest,
            )
    return b"".join(struct.pack(">II", wire.PROTOCOL, len(head)) + head + rest for head, rest in frames)


def serve(path: Path) -> object:
    """Answer each request as an agent does; every answer must be one that can be sent."""
    agent, answers = Agent(path.parent / "agent", 1 << 30), io.BytesIO()
    with path.open("rb") as stream:
        try:
            while True:
                wire.send(answers, *_answer(agent, *wire.receive(stream, _BLOB_BYTES)))
        except wire.WireError:
            return None


def _frames(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place + 8 <= len(data):
        _, length = struct.unpack_from(">II", data, place)
        head = data[place + 8 : place + 8 + length]
        place += 8 + length
        try:
            held = sum(size for _, size, _ in json.loads(head)["blobs"])
        except (ValueError, TypeError, KeyError, RecursionError):
            held = len(data)
        yield head, data[place : place + held]
        place += held
