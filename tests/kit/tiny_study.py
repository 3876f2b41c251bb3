"""A study that is real and small: three convolutions, arrays as samples, OpenVINO."""

from __future__ import annotations

import atexit
import fcntl
import functools
import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from autoprec import Study

DEFINITION = """
[model]
path = "tiny.onnx"

[pipeline]
output = "masks"

[samples]
calibration = "calibration"
evaluation = "evaluation"

[blocks]
minimum = 1

[search]
finalists = 0
strategy = "random"

[timing]
seconds = 0.05
minimum_rounds = 5
warmup = 1
"""


def timed_for(definition: Path, seconds: float) -> Path:
    """Let a definition's trials be timed for so long: where that must show, on a busy machine too."""
    definition.write_text(definition.read_text().replace("seconds = 0.05", f"seconds = {seconds}"))
    return definition


def write_model(path: Path, *, scale: float = 1.0, seed: int = 0, count: int = 3) -> Path:
    """3x3 convolutions in modules `a`, `b`, `c` and so on; `scale` multiplies the first one's weights."""
    modules = "abcdefgh"[:count]
    channels = [3, *[16] * (count - 1), 2]
    random = np.random.default_rng(seed)
    nodes, weights, value = [], [], "image"
    for name, inputs, outputs in zip(modules, channels[:-1], channels[1:], strict=True):
        spread = (scale if name == "a" else 1.0) / np.sqrt(9 * inputs)
        array = (random.standard_normal((outputs, inputs, 3, 3)) * spread).astype(np.float32)
        weights.append(numpy_helper.from_array(array, f"{name}.weight"))
        result = "masks" if name == modules[-1] else f"{name}.conv"
        conv = helper.make_node(
            "Conv", [value, f"{name}.weight"], [result], name=f"/{name}/conv/Conv", pads=[1] * 4
        )
        nodes.append(conv)
        value = result
        if name != modules[-1]:
            nodes.append(helper.make_node("Relu", [value], [f"{name}.act"], name=f"/{name}/act/Relu"))
            value = f"{name}.act"
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("masks", TensorProto.FLOAT, [1, 2, 32, 32])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10), path)
    return path


def write_samples(folder: Path, count: int = 4, seed: int = 0) -> Path:
    """`.npz` archives with one array `image` each."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        np.savez(folder / f"{number}.npz", image=random.standard_normal((1, 3, 32, 32)).astype(np.float32))
    return folder


def write_study(folder: Path, more: str = "", count: int = 3, *, asked: bool = True) -> Path:
    """A definition with its model of so many blocks, and samples; returns the definition's path.

    In a test, unless it is not `asked`, the engine has answered in the first search of this process what a
    search asks of it: asking anew would take as long as the rest of a short search.
    """
    if asked and "PYTEST_CURRENT_TEST" in os.environ:
        shutil.copytree(_searched() / "cache", os.environ["XDG_CACHE_HOME"], dirs_exist_ok=True)
    write_model(folder / "tiny.onnx", count=count)
    write_samples(folder / "calibration", seed=1)
    write_samples(folder / "evaluation", seed=2)
    path = folder / "tiny.toml"
    path.write_text(DEFINITION + more)
    return path


def write_searched(folder: Path) -> Path:
    """A study of five trials, searched once and then copied; returns the definition's path."""
    shutil.copytree(_searched() / "study", folder, dirs_exist_ok=True)
    shutil.copytree(_searched() / "cache", os.environ["XDG_CACHE_HOME"], dirs_exist_ok=True)
    return folder / "tiny.toml"


@functools.cache
def _searched() -> Path:
    """The folder of a searched study and the cache beside it: one for all processes of a run of tests."""
    folder = _shared() / "searched"
    with (folder.parent / "searched.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not folder.exists():
            (begun := folder.with_suffix(".begun")).mkdir()
            with mock.patch.dict(os.environ, XDG_CACHE_HOME=str(begun / "cache")):
                (begun / "study").mkdir()
                Study.load(write_study(begun / "study", asked=False)).search("5")
            begun.rename(folder)
    return folder


def _shared() -> Path:
    """The folder in which xdist's processes have their own; a new one for a process that is alone."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return Path(tempfile.gettempdir()).parent
    folder = Path(tempfile.mkdtemp(prefix="autoprec-searched-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
