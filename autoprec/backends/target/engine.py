"""An engine that lives on a target: what it is asked to do goes over the line when its answer is wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from autoprec.backends._base import Arrays, as_float32
from autoprec.backends.target.models import split_model
from autoprec.errors import TrialError
from autoprec.records import KernelTime

_SENDABLE = frozenset("biuf")
_BATCH_BYTES = 64 << 20


class Asked(Protocol):
    """What answers on a target: an agent, or its trtexec."""

    def ask(
        self, request: str, blobs: Sequence[bytes] = (), **header: Any
    ) -> tuple[dict[str, Any], list[bytes]]:
        """One answer. Raises `TrialError`."""

    @property
    def is_lost(self) -> bool:
        """Whether nothing more can be asked."""

    def close(self) -> None:
        """End it; a second call does nothing."""


class Line:
    """What answers on a target, and what is known to be there."""

    def __init__(self, channel: Asked, newest_opset: int = 0, *, is_weak: bool = False) -> None:
        self.channel, self.newest_opset, self.is_weak = channel, newest_opset, is_weak
        self._there: set[str] = set()
        self._engines = 0

    def next_number(self) -> int:
        """A number for an engine; none is given twice."""
        self._engines += 1
        return self._engines

    def bring(self, blobs: dict[str, bytes]) -> None:
        """Send what is not there yet."""
        unsure = [digest for digest in blobs if digest not in self._there]
        if not unsure:
            return
        answer, _ = self.channel.ask("missing", digests=unsure)
        named = answer.get("missing")
        if not isinstance(named, list) or not all(isinstance(digest, str) for digest in named):
            raise TrialError("crash", "the target's answer does not say what it lacks")
        missing = [digest for digest in unsure if digest in set(named)]
        while missing:
            size = 0
            batch: list[str] = []
            while missing and (not batch or size + len(blobs[missing[0]]) <= _BATCH_BYTES):
                batch.append(missing.pop(0))
                size += len(blobs[batch[-1]])
            self.channel.ask("put", [blobs[digest] for digest in batch], digests=batch)
        self._there.update(unsure)


class TargetEngine:
    """An engine on the other side of a line.

    Args:
        line: where it is.
        model_path: the ONNX file here.
        inputs, outputs: names of its inputs, and of its outputs in order.
        read: what the library there says of the engine, as kernels.
        profiled: measure every kernel.

    Raises `TrialError` as the engine there does.
    """

    def __init__(
        self,
        line: Line,
        model_path: Path,
        inputs: Sequence[str],
        outputs: Sequence[str],
        read: Callable[[dict[str, Any]], tuple[KernelTime, ...]],
        *,
        profiled: bool = False,
    ) -> None:
        self._line, self._read = line, read
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        parts = split_model(model_path, line.newest_opset, is_weak=line.is_weak)
        self._types, self._renamed = parts.types, {layer.name: layer.node for layer in parts.layers}
        line.bring(parts.blobs)
        self._number: int | None = line.next_number()
        answer, _ = line.channel.ask(
            "build",
            number=self._number,
            parts=parts.order,
            types=parts.types,
            layers=[layer[:3] for layer in parts.layers],
            options={"profiled": profiled},
        )
        self.engine_bytes = _size(answer, "engine_bytes") or sum(map(len, parts.blobs.values()))
        self.device_memory_bytes = _size(answer, "device_memory_bytes")
        self._pending = False

    def prepare(self, inputs: Arrays) -> None:
        """Bring inputs over, each content once, and place them on the device there."""
        missing = [name for name in self._inputs if name not in inputs]
        if missing:
            raise TrialError("run", f"the input {missing[0]!r} is not fed; fed are: {', '.join(inputs)}")
        arrays = {name: _plain(inputs[name], self._types.get(name, "")) for name in self._inputs}
        blobs = {name: array.tobytes() for name, array in arrays.items()}
        digests = {name: hashlib.sha256(blob).hexdigest() for name, blob in blobs.items()}
        self._line.bring({digests[name]: blob for name, blob in blobs.items()})
        described = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
        answer = self._ask("prepare", inputs=described, digests=[digests[name] for name in arrays])[0]
        self.device_memory_bytes = _size(answer, "device_memory_bytes")

    def execute(self) -> None:
        """One inference; it happens when its outputs or `synchronize` are requested."""
        self._pending = True

    def synchronize(self) -> None:
        """Have what `execute` began done."""
        if self._pending:
            self._ask("run", outputs=False)
        self._pending = False

    def outputs(self) -> dict[str, NDArray[Any]]:
        """The outputs of an inference of what was prepared."""
        answer, blobs = self._ask("run", outputs=True)
        self._pending = False
        described = answer.get("arrays")
        if not isinstance(described, list) or not len(described) == len(blobs) == len(self._outputs):
            raise TrialError("crash", "the target's answer does not hold the model's outputs")
        try:
            arrays = [
                _array(kind, shape, blob) for (_, kind, shape), blob in zip(described, blobs, strict=True)
            ]
        except (ValueError, TypeError) as error:
            raise TrialError("crash", f"the target's answer holds no arrays: {error}") from error
        names = [str(name or ours) for (name, *_), ours in zip(described, self._outputs, strict=True)]
        if sorted(names) != sorted(self._outputs):
            raise TrialError("crash", "the target's answer does not hold the model's outputs")
        return dict(zip(names, arrays, strict=True))

    def milliseconds(self, repeats: int) -> float:
        """The mean of `repeats` inferences, by the clock there."""
        return self.turns([self], repeats)[0]

    def turns(self, engines: Sequence[TargetEngine], repeats: int) -> list[float]:
        """Readings of engines of this line in turn, in ms: each after an unmeasured inference."""
        answer, _ = self._ask("rounds", order=[engine._number for engine in engines], repeats=repeats)
        found = answer.get("milliseconds")
        if not isinstance(found, list) or len(found) != len(engines):
            raise TrialError("crash", "the target's answer holds no readings")
        if not all(isinstance(reading, int | float) and 0 < reading < 1e9 for reading in found):
            raise TrialError("crash", "the target's readings are no times")
        return [float(reading) for reading in found]

    def kernels(self) -> tuple[KernelTime, ...]:
        """Every kernel with the ONNX nodes in it, as the library there reports them."""
        found = self._read(self._ask("describe")[0])
        return tuple(
            msgspec.structs.replace(kernel, nodes=tuple(self._renamed.get(n, n) for n in kernel.nodes))
            for kernel in found
        )

    def close(self) -> None:
        """Free it there; a second call does nothing."""
        if self._number is None:
            return
        number, self._number = self._number, None
        try:
            self._line.channel.ask("close", number=number)
        except TrialError:  # the line is cut: the agent is gone, and the engine with it
            return

    def _ask(self, request: str, **header: Any) -> tuple[dict[str, Any], list[bytes]]:
        return self._line.channel.ask(request, number=self._number, **header)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _plain(array: NDArray[Any], kind: str) -> NDArray[Any]:
    """An array in the model's type, if numpy knows it everywhere; else as float32."""
    array = array if array.dtype.kind in _SENDABLE else as_float32(array)
    return np.require(array, kind if kind and np.dtype(kind).kind in _SENDABLE else None, "C")


def _size(answer: dict[str, Any], key: str) -> int:
    value = answer.get(key, 0)
    return int(value) if isinstance(value, int | float) and 0 <= value < 1 << 50 else 0


def _array(kind: str, shape: list[int], blob: bytes) -> NDArray[Any]:
    dtype = np.dtype(kind)
    if dtype.kind not in _SENDABLE:
        raise ValueError(f"type {kind!r}")
    return as_float32(np.frombuffer(blob, dtype).reshape(shape).copy())
