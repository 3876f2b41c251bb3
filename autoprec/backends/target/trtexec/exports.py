"""trtexec's output as data: its help, its log, and the files of its `--export` options.

TensorRT 8.5 to 11; what comes from a target is checked before it is used.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoprec.errors import TrialError

_BANNER = re.compile(r"&&&& RUNNING TensorRT\.trtexec \[TensorRT v([\d.]+)\]")
_DEVICE = re.compile(r"Selected Device: (.+)")
_CAPABILITY = re.compile(r"Compute Capability: (\d+)\.(\d+)")
_MEMORY = re.compile(r"TensorRT-managed allocation in IExecutionContext.*now: CPU -?\d+, GPU (\d+) \(MiB\)")
_ERROR = re.compile(r"\[E\] (?:\[TRT\] |Error\[\d+\]: )*(.+)")
_OUTPUT = re.compile(
    r'"name" : "(?P<name>.*)"\s*,\s*"dimensions" : "(?P<shape>[\dx]*)"\s*,\s*"values" : '
    r"\[(?P<values>[^\]]*)\]"
)


class Tool(NamedTuple):
    """A target's trtexec: its version, and the options that its help names, without dashes."""

    version: tuple[int, int, int]
    flags: frozenset[str]

    @property
    def is_weak(self) -> bool:
        """Whether this version ignores the model's types, and takes precisions by options."""
        return "stronglyTyped" not in self.flags and "precisionConstraints" in self.flags


def read_help(text: str) -> Tool:
    """What `trtexec --help` lists. Raises ValueError for the words of something else."""
    banner = _BANNER.search(text)
    if banner is None:
        raise ValueError("it does not answer as trtexec does")
    # Only heads of entries: their explanations name other options, which need not exist.
    lines = [line for line in text.splitlines() if line.lstrip().startswith("--")]
    heads = [line.strip().split("  ")[0] for line in lines]
    return Tool(
        _version(banner[1]), frozenset(flag for head in heads for flag in re.findall(r"--(\w+)", head))
    )


def _version(text: str) -> tuple[int, int, int]:
    """(major, minor, patch): 8601 is 8.6.1, and 100300 is 10.3.0."""
    if "." in text:
        major, minor, patch = (int(part) for part in [*text.split("."), "0", "0"][:3])
        return major, minor, patch
    number = int(text)
    scale = 10_000 if number >= 100_000 else 1_000
    return number // scale, number % scale // 100, number % 100


class LoggedGpu(NamedTuple):
    """Name and compute capability of the GPU that a log names; empty where it names none."""

    name: str
    capability: list[int]


def read_device(log: str) -> LoggedGpu:
    """The GPU that a log names."""
    name, capability = _DEVICE.search(log), _CAPABILITY.search(log)
    numbers = [int(number) for number in capability.groups()] if capability else []
    return LoggedGpu(name[1].strip()[:80] if name else "", numbers)


def read_load(text: str) -> dict[str, float]:
    """The load average of /proc/loadavg; nothing of other words."""
    stamp = re.match(r"\d{1,6}\.\d{2} ", text)
    return {"load_average": float(stamp[0])} if stamp else {}


def read_memory(log: str) -> int:
    """Bytes that an execution context holds on the device; 0 where the log does not say."""
    sizes = _MEMORY.findall(log)
    return int(sizes[-1]) << 20 if sizes else 0


def first_error(log: str) -> str:
    """The first error in a log; without one, its last line."""
    told = _ERROR.search(log)
    last = next((line for line in reversed(log.splitlines()) if line.strip()), "trtexec gives no reason")
    return " ".join((told[1] if told else last).split())[:400]


def read_times(text: str) -> float:
    """The median GPU time in ms of a file of `--exportTimes`. Raises `TrialError`."""
    trace = _json(text)
    times = (
        [run.get("computeMs") for run in trace if isinstance(run, dict)] if isinstance(trace, list) else []
    )
    if not times or not all(isinstance(ms, int | float) and 0 < ms < 1e9 for ms in times):
        raise TrialError("crash", "the target's trtexec exports no times")
    return float(np.median(np.array(times, np.float64)))


def read_profile(text: str) -> dict[str, float]:
    """Mean ms by layer, of a file of `--exportProfile`. Raises `TrialError`."""
    told = _json(text)
    entries = [entry for entry in told if isinstance(entry, dict)] if isinstance(told, list) else []
    means = {str(entry.get("name", "")): entry.get("averageMs") for entry in entries}
    return {name: float(ms) for name, ms in means.items() if isinstance(ms, int | float) and 0 <= ms < 1e9}


def read_outputs(text: str) -> dict[str, NDArray[np.float64]]:
    """Arrays by name, of a file of `--exportOutput`: nearly JSON, but for `nan` and `inf`.

    Raises `TrialError` for sizes that do not fit what is there.
    """
    results = {}
    for match in _OUTPUT.finditer(text):
        shape = tuple(int(size) for size in match["shape"].split("x") if size)
        try:
            values = np.array(match["values"].split(",") if match["values"].strip() else [], np.float64)
            results[match["name"]] = values.reshape(shape)
        except ValueError as error:
            raise TrialError("crash", f"the target's trtexec exports no array: {error}") from error
    return results


def _json(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        raise TrialError("crash", f"the target's trtexec exports no JSON: {error}") from error
