"""Known latency and known mask loss, without computing anything: for tests and for work on strategies.

The cost table is a JSON file. Latency is `base_ms`, the blocks' `ms`, and `boundary_ms` for every change of
precision from one block to the next; loss is the sum of the blocks' losses. `noise` is drawn afresh for every
engine, from `seed` and the number of engines built before:

    {"base_ms": 1.0, "boundary_ms": 0.1, "noise": 0.01, "seed": 0,
     "blocks": {"stem": {"fp16": {"ms": 2.0}, "int8": {"ms": 1.0, "loss": 0.02, "fails": "crash"}}}}

A candidate says what it is in its metadata: `autoprec.assignment`, a JSON list of [block, precision]. A
model without it costs `base_ms` and loses nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import msgspec
import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from autoprec.backends._base import Arrays, StopwatchName
from autoprec.closing import Closing
from autoprec.errors import BackendError, SpecError, TrialError
from autoprec.records import Clocks, Fingerprint, KernelTime

# As `graph/rewrite` writes it: backends import nothing of the graph's rooms.
ASSIGNMENT_KEY = "autoprec.assignment"
Fault = Literal["build", "run", "nan", "crash", "hang", "memory"]
_NotNegative = Annotated[float, msgspec.Meta(ge=0)]
_MEGABYTES_EATEN = 2048


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One block in one precision; `fails` is what goes wrong, if anything."""

    ms: _NotNegative
    loss: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    fails: Fault | None = None


class Costs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cost table. `noise` is the relative standard deviation of one reading."""

    blocks: dict[str, dict[str, Cost]]
    base_ms: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    boundary_ms: _NotNegative = 0.0
    noise: _NotNegative = 0.0
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0


class SimulatedBackend:
    """Builds engines that only know what they cost.

    Args:
        options: `costs`, the path of the cost table.

    Raises `SpecError` for another option, `BackendError` for a table that is missing or malformed.
    """

    name = "simulated"
    stopwatch: StopwatchName = "known"
    base_precision = "fp16"
    bases: tuple[str, ...] = ("fp16",)
    grids: tuple[str, ...] = ("signed",)
    widened: frozenset[tuple[str, str]] = frozenset()
    splits_projections: bool = False
    builds_on_device: bool = False
    has_own_device: bool = False
    uses_tf32: bool = False

    def __init__(self, options: Mapping[str, str | int | float | bool]) -> None:
        unknown = sorted(set(options) - {"costs"})
        if unknown or "costs" not in options:
            wrong = f"has no option {unknown[0]!r}" if unknown else "needs an option"
            raise SpecError(f"backend.options: simulated {wrong}; it takes: costs, the path of a cost table")
        path = Path(str(options["costs"]))
        self._builds = 0
        try:
            self._text = path.read_bytes()
            self._costs = msgspec.json.decode(self._text, type=Costs)
        except (OSError, UnicodeError, msgspec.MsgspecError) as error:
            raise BackendError(f"{path}: cannot be read as a table of simulated costs: {error}") from error

    def fingerprint(self) -> Fingerprint:
        """The digest of the cost table stands for the device."""
        digest = hashlib.sha256(self._text).hexdigest()[:16]
        return Fingerprint(backend=self.name, version="1", device=f"cost table {digest}")

    def build(self, model_path: Path, *, profiled: bool = False) -> SimulatedEngine:  # noqa: ARG002
        """Look the candidate's blocks up. Raises `TrialError("build", ...)` for one that has no cost."""
        try:
            model = onnx.load(model_path, load_external_data=False)
            metadata = {entry.key: entry.value for entry in model.metadata_props}
            choices = msgspec.json.decode(metadata.get(ASSIGNMENT_KEY, "[]"), type=list[tuple[str, str]])
        except (FileNotFoundError, DecodeError, msgspec.MsgspecError) as error:
            raise TrialError("build", f"{model_path.name} is not a readable candidate: {error}") from error
        chosen: dict[tuple[str, str], Cost] = {}
        for block, precision in choices:
            cost = self._costs.blocks.get(block, {}).get(precision)
            if cost is None or cost.fails == "build":
                why = "has no simulated cost" if cost is None else "is set to fail"
                raise TrialError("build", f"block {block!r} {why} in {precision}")
            chosen[block, precision] = cost
        self._builds += 1
        # By the build: two of one candidate read differently, and a search that is repeated reads the same.
        random = np.random.default_rng((self._costs.seed, self._builds))
        return SimulatedEngine(model, chosen, self._costs, random)

    def clocks(self) -> Clocks:
        """Nothing: there is no device."""
        return Clocks()


class SimulatedEngine(Closing):
    """Makes masks with the loss that its assignment has.

    Every output plane is 1 in the first half of its pixels and -1 in the rest; a share `loss` of the ones
    is -1 too. So mask IoU against an engine without loss is 1 - `loss`, to one pixel.

    Args:
        model: the candidate; only its inputs and outputs are read.
        chosen: the cost of each block, by (block, precision).
        costs: the whole table, for what lies between blocks and for noise.
        random: draws the noise of readings.
    """

    device_memory_bytes = 0

    def __init__(
        self,
        model: onnx.ModelProto,
        chosen: dict[tuple[str, str], Cost],
        costs: Costs,
        random: np.random.Generator,
    ) -> None:
        self.engine_bytes = model.ByteSize()
        weights = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [value.name for value in model.graph.input if value.name not in weights]
        self._shapes = {value.name: _shape(value) for value in model.graph.output}
        self._chosen = chosen
        changes = sum(one[1] != other[1] for one, other in itertools.pairwise(chosen))
        self._latency_ms = costs.base_ms + changes * costs.boundary_ms + sum(c.ms for c in chosen.values())
        self._loss = min(1.0, sum(cost.loss for cost in chosen.values()))
        self._faults = {cost.fails for cost in chosen.values()}
        self._noise = costs.noise
        self._random = random

    def prepare(self, inputs: Arrays) -> None:
        """Check that every input is fed."""
        missing = [name for name in self._inputs if name not in inputs]
        if missing:
            raise TrialError(
                "run", f"the input {missing[0]!r} was not given; given were: {', '.join(inputs)}"
            )

    def execute(self) -> None:
        """Nothing, or what a block is set to do wrong: a real crash, hang or hunger."""
        if "crash" in self._faults:
            # As a fault in a library ends a process: no exception, no `finally`.
            os.abort()
        if "hang" in self._faults:
            threading.Event().wait()
        if "memory" in self._faults:
            _eat_memory()
        if "run" in self._faults:
            raise TrialError("run", "a block is set to fail in inference")

    def synchronize(self) -> None:
        """Nothing."""

    def known_milliseconds(self) -> float:
        """The latency of one execution, with the noise of one reading."""
        return self._latency_ms * math.exp(self._noise * self._random.standard_normal())

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Masks as float32 logits, by output name."""
        return {name: self._masks(shape) for name, shape in self._shapes.items()}

    def kernels(self) -> tuple[KernelTime, ...]:
        """One for each block, holding a node named like it."""
        return tuple(
            KernelTime(nodes=(block,), kernel=f"simulated_{precision}", precision="", time_ms=cost.ms)
            for (block, precision), cost in self._chosen.items()
        )

    def close(self) -> None:
        """Nothing to free."""

    def _masks(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        if "nan" in self._faults:
            return np.full(shape, np.nan, np.float32)
        pixels = math.prod(shape[-2:])
        plane = np.full(pixels, -1, np.float32)
        plane[: round((1 - self._loss) * (pixels // 2))] = 1
        return np.broadcast_to(plane.reshape(shape[-2:]), shape).copy()


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """The fixed shape of an output."""
    sizes = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
    if len(sizes) < 2 or 0 in sizes:
        raise TrialError(
            "build", f"the output {value.name!r} needs a fixed shape that ends in height and width"
        )
    return tuple(sizes)


def _eat_memory() -> NoReturn:
    """Allocate until the worker's memory limit kills the process; stops short of filling a machine."""
    eaten = [b"\1" * 2**20 for _ in range(_MEGABYTES_EATEN)]
    raise TrialError("memory", f"{len(eaten)} MiB were taken and no limit struck")
