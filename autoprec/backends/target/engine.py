"""An engine that lives on a target: requests are sent when their answers are needed."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from autoprec.backends._base import Arrays, as_float32
from autoprec.backends.target.line import Line
from autoprec.backends.target.models import split_model
from autoprec.closing import Closing
from autoprec.errors import ModelError, TrialError
from autoprec.records import KernelTime

_SENDABLE = frozenset("biuf")
_TYPE = re.compile(r"[<>|=]?[biuf]\d{1,2}")
_WIDEST = 8
"""Bytes of a number."""
_ANY = 1 << 30
"""Bytes of outputs whose sizes depend on data."""


class TargetEngine(Closing):
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
        self.cuts = line.channel.cuts and line.sends_cut
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        parts = split_model(model_path, line.newest_opset, is_weak=line.is_weak)
        self._types, self._renamed = parts.types, {layer.name: layer.node for layer in parts.layers}
        self._shapes = parts.shapes
        self._number: int | None = line.next_number()
        answer, _ = line.ask_with(
            parts.blobs,
            "build",
            number=self._number,
            parts=parts.order,
            types=parts.types,
            layers=[layer[:3] for layer in parts.layers],
            options={"profiled": profiled},
        )
        # OpenVINO reports no size: its weights as they were sent stand for it.
        self.engine_bytes = _size(answer, "engine_bytes") or sum(map(len, parts.blobs.values()))
        self.device_memory_bytes = _size(answer, "device_memory_bytes")
        self._pending = False

    def prepare(self, inputs: Arrays) -> None:
        """Send inputs, each distinct content once, and place them on the target's device."""
        missing = [name for name in self._inputs if name not in inputs]
        if missing:
            raise TrialError(
                "run", f"the input {missing[0]!r} was not given; given were: {', '.join(inputs)}"
            )
        arrays = {name: _plain(inputs[name], self._types.get(name, "")) for name in self._inputs}
        blobs = {name: array.tobytes() for name, array in arrays.items()}
        digests = {name: hashlib.sha256(blob).hexdigest() for name, blob in blobs.items()}
        described = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
        answer, _ = self._line.ask_with(
            {digests[name]: blob for name, blob in blobs.items()},
            "prepare",
            number=self._number,
            inputs=described,
            digests=[digests[name] for name in arrays],
        )
        self.device_memory_bytes = _size(answer, "device_memory_bytes")

    def execute(self) -> None:
        """One inference; it happens when its outputs or `synchronize` are requested."""
        self._pending = True

    def synchronize(self) -> None:
        """Run the pending inference, if there is one."""
        if self._pending:
            self._ask("run", 0, outputs=False)
        self._pending = False

    def outputs(self) -> dict[str, NDArray[Any]]:
        """The outputs of an inference of what was prepared."""
        answer, blobs = self._ask("run", self._most_bytes(self._outputs), outputs=True)
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
        # By name and not by place: TensorRT may list outputs in another order than the model.
        if sorted(names) != sorted(self._outputs):
            raise TrialError("crash", "the target's answer does not hold the model's outputs")
        results = dict(zip(names, arrays, strict=True))
        for name, array in results.items():
            self._check_shape(name, array.shape)
        return results

    def cut(self, inputs: Arrays, output: str, above: float) -> NDArray[np.bool_]:
        """As `CutsMasks.cut`: a bit for each value comes over the line."""
        self.prepare(inputs)
        if output not in self._outputs:
            raise ModelError(
                f"pipeline.output is {output!r}, but the model's outputs are: {', '.join(self._outputs)}"
            )
        wanted = {"name": output, "index": self._outputs.index(output), "above": above}
        answer, blobs = self._ask("run", self._most_bytes([output]), outputs=True, cut=wanted)
        try:
            shape, strange = _shape(answer.get("shape")), answer.get("strange")
            masks = _unpacked(blobs[0], shape)
        except (ValueError, TypeError, IndexError) as error:
            raise TrialError("crash", f"the target's answer holds no masks: {error}") from error
        self._check_shape(output, masks.shape)
        # `type`, not `isinstance`: True is an int, too.
        if type(strange) is not int or strange:
            raise TrialError("nan", f"some values of the output {output!r} are NaN or infinite")
        return masks

    def milliseconds(self, repeats: int) -> float:
        """The mean of `repeats` inferences, by the clock there."""
        return self.turns([self], repeats)[0]

    def turns(self, engines: Sequence[TargetEngine], repeats: int) -> list[float]:
        """Readings of engines of this line in turn, in ms: each after an unmeasured inference."""
        answer, _ = self._ask("rounds", order=[engine._number for engine in engines], repeats=repeats)
        readings = answer.get("milliseconds")
        if not isinstance(readings, list) or len(readings) != len(engines):
            raise TrialError("crash", "the target's answer holds no readings")
        if not all(type(reading) in (int, float) and 0 < reading < 1e9 for reading in readings):
            raise TrialError("crash", "the target's readings are not times")
        return [float(reading) for reading in readings]

    def kernels(self) -> tuple[KernelTime, ...]:
        """Every kernel with the ONNX nodes in it, as the library there reports them."""
        table = self._read(self._ask("describe")[0])
        return tuple(
            msgspec.structs.replace(kernel, nodes=tuple(self._renamed.get(n, n) for n in kernel.nodes))
            for kernel in table
        )

    def close(self) -> None:
        """Free the engine on the target; a second call does nothing."""
        if self._number is None:
            return
        number, self._number = self._number, None
        try:
            self._line.channel.ask("close", number=number)
        except TrialError:  # the line is cut: the agent is gone, and the engine with it
            return

    def _ask(
        self, request: str, most: int | None = None, **header: Any
    ) -> tuple[dict[str, Any], list[bytes]]:
        return self._line.ask(request, most=most, number=self._number, **header)

    def _most_bytes(self, names: Sequence[str]) -> int:
        """The most bytes that outputs of the model's shapes can take."""
        sizes = [self._shapes.get(name) for name in names]
        bounded = [
            math.prod(size for size in shape if size) for shape in sizes if shape and None not in shape
        ]
        return _ANY if len(bounded) < len(names) else _WIDEST * sum(bounded)

    def _check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise `TrialError` for a shape that is not the model's."""
        wanted = self._shapes.get(name)
        if wanted is None or (
            len(wanted) == len(shape)
            and all(ours in (None, theirs) for ours, theirs in zip(wanted, shape, strict=True))
        ):
            return
        raise TrialError(
            "crash", f"the target's output {name!r} is {list(shape)}, and the model's is {list(wanted)}"
        )


def _plain(array: NDArray[Any], kind: str) -> NDArray[Any]:
    """An array in the model's type, if numpy knows it everywhere; else as float32."""
    array = array if array.dtype.kind in _SENDABLE else as_float32(array)
    return np.require(array, kind if kind and np.dtype(kind).kind in _SENDABLE else None, "C")


def _size(answer: dict[str, Any], key: str) -> int:
    value = answer.get(key, 0)
    return int(value) if isinstance(value, int | float) and 0 <= value < 1 << 50 else 0


def _array(kind: object, shape: object, blob: bytes) -> NDArray[Any]:
    """Received bytes as an array. Raises ValueError for anything but numbers."""
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        raise ValueError(f"type {str(kind)[:40]!r}")
    return as_float32(np.frombuffer(blob, np.dtype(kind)).reshape(_shape(shape)).copy())


def _unpacked(blob: bytes, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Bits as masks of `shape`. Raises ValueError for another number of bits."""
    size = math.prod(shape)
    if len(blob) != -(-size // 8):
        raise ValueError(f"{len(blob)} bytes for {size} bits")
    bits = np.unpackbits(np.frombuffer(blob, np.uint8))[:size]
    return bits.reshape(shape).astype(np.bool_)


def _shape(told: object) -> tuple[int, ...]:
    """A received shape. Raises ValueError for anything but sizes."""
    if not isinstance(told, list) or not all(type(size) is int and 0 <= size < 1 << 40 for size in told):
        raise ValueError(f"shape {str(told)[:40]}")
    return tuple(told)
