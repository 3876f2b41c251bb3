"""The agent's own parts: what comes over the line is data, what it keeps is bounded, old Pythons read it."""

from __future__ import annotations

import ast
import hashlib
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprec.backends.target.agent import wire
from autoprec.backends.target.agent.store import Blobs
from autoprec.backends.target.package import agent_archive

AGENT = Path(wire.__file__).parent


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@given(st.dictionaries(st.text(max_size=8), st.integers(), max_size=3), st.lists(st.binary(max_size=9000)))
def test_a_frame_comes_out_as_it_went_in(header: dict[str, int], blobs: list[bytes]) -> None:
    header.pop("blobs", None)
    stream = io.BytesIO()
    wire.send(stream, header, blobs)
    stream.seek(0)
    assert wire.receive(stream) == (header, blobs)


@given(st.binary(max_size=200))
def test_anything_else_is_no_frame(data: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.receive(io.BytesIO(data))


def test_a_blob_never_grows_beyond_what_it_said() -> None:
    import json
    import zlib

    bomb = zlib.compress(bytes(1 << 24))
    text = json.dumps({"blobs": [[len(bomb), len(bomb), "z"]]}).encode()
    frame = wire._LENGTHS.pack(wire.PROTOCOL, len(text)) + text + bomb
    with pytest.raises(wire.WireError, match="not the announced one"):
        wire.receive(io.BytesIO(frame))


def test_a_damaged_blob_is_not_kept(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, 1 << 20)
    with pytest.raises(ValueError, match="damaged"):
        blobs.put(digest(b"one"), b"other")
    assert blobs.missing([digest(b"one")]) == [digest(b"one")]


@pytest.mark.parametrize("name", ["../etc/passwd", "", "A" * 64, "0" * 63])
def test_only_digests_name_blobs(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a digest"):
        Blobs(tmp_path, 1 << 20).read(name)


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, 250)
    data = [bytes([number]) * 100 for number in range(5)]
    for each in data:
        blobs.put(digest(each), each)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 250
    assert blobs.read(digest(data[-1])) == data[-1]


@pytest.mark.parametrize("path", sorted(AGENT.glob("*.py")), ids=lambda path: path.name)
def test_python_3_8_reads_the_agent(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    for node in ast.walk(tree):
        module = getattr(node, "module", None) or ""
        assert not module.startswith("autoprec") or module.startswith("autoprec.backends.target.agent")


def test_the_agent_is_the_same_file_every_time() -> None:
    first = agent_archive()
    agent_archive.cache_clear()
    assert agent_archive() == first
    assert len(first[0]) < 64 << 10


def test_bf16_is_rounded_half_to_even() -> None:
    import ml_dtypes

    from autoprec.backends.target.agent.tensorrt_engine import _as_bf16

    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    assert (_as_bf16(values) == values.astype(ml_dtypes.bfloat16).view(np.uint16)).all()


PUTTING = """
import hashlib, pathlib, sys
from autoprec.backends.target.agent.store import Blobs
store = Blobs(pathlib.Path(sys.argv[1]), 20_000)
for _ in range(20):
    for data in (bytes([n]) * 1000 for n in range(50)):
        store.put(hashlib.sha256(data).hexdigest(), data)
        store.missing([hashlib.sha256(data).hexdigest()])
"""


@pytest.mark.slow
def test_agents_beside_each_other_keep_within_the_limit(tmp_path: Path) -> None:
    words = [sys.executable, "-c", PUTTING, str(tmp_path / "blobs")]
    agents = [subprocess.Popen(words, stderr=subprocess.PIPE) for _ in range(3)]
    assert [(agent.communicate(timeout=60)[1], agent.returncode) for agent in agents] == [(b"", 0)] * 3
    assert sum(path.stat().st_size for path in (tmp_path / "blobs").iterdir()) <= 23_000
