"""A stub library behind TensorRT's own bindings, which learns by itself how it is called.

The vtable slot of each virtual function is in NVIDIA's headers only. Here each method of the bindings is
called once, and the slot it asks for is remembered under the method's name. After that, a test says what each
does.
"""

from __future__ import annotations

import atexit
import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import tensorrt as trt

_CALL = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_int, *[ctypes.c_void_p] * 5)
_MAKE = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p, *[ctypes.c_void_p] * 2)
MAKERS = {
    "createInferBuilder_INTERNAL": "Builder",
    "createInferRuntime_INTERNAL": "Runtime",
    "createNvOnnxParser_INTERNAL": "OnnxParser",
}
_FIRST = 4 if int(trt.__version__.split(".")[0]) > 10 else 0
"""Where the functions of ILogger and IProfiler begin: from TensorRT 11 on, behind those of their versions."""
_ERROR = 1


class Dims(ctypes.Structure):
    """nvinfer1::Dims64."""

    _fields_ = (("count", ctypes.c_int32), ("sizes", ctypes.c_int64 * 8))


class Made(NamedTuple):
    """An object for a call to return: its class, and the Python state it stands for."""

    name: str
    state: Any


class Hollow:
    """The library.

    Attributes:
        does: by `Class.method`, what a call returns: a number, a text, bytes of memory, sizes, a `Made`, or
            the name of a class to return an object of; or a function of the arguments that returns one.
        this: the state of the object whose method is being called.
        logged: errors that a call logs before it returns, by `Class.method`.
        called: the names of the methods called, in order.
    """

    def __init__(self, folder: Path) -> None:
        library = next(path for path in folder.iterdir() if b"hollow_listen" in path.read_bytes())
        self._native = ctypes.CDLL(str(library))
        self._native.hollow_table.restype = ctypes.c_void_p
        self.does: dict[str, Any] = {}
        self.logged: dict[str, str] = {}
        self.called: list[str] = []
        self.this: Any = None
        self._states: dict[int, Any] = {}
        self._classes: dict[int, str] = {}
        self._names: dict[tuple[str, int], str] = {}
        self._learning = ""
        self._logger = 0
        self._kept: list[Any] = [_CALL(self._asked), _MAKE(self._result)]  # for as long as the process lives
        self._native.hollow_listen(*self._kept[:2])
        # The bindings let go of their objects when Python ends, when there is nobody to answer.
        atexit.register(self._native.hollow_listen, None, None)

    def learn(self, name: str, call: Callable[[], Any], gives: Any = 0) -> Any:
        """Call a method once to learn its slot, then again for its result.

        Args:
            name: `Class.method`.
            call: calls the method.
            gives: what it returns, as in `does`.

        Raises:
            AssertionError: the method calls nothing of the library.
        """
        self.does[name] = gives
        self._learning = name
        self._ended(call)
        assert not self._learning, f"{name} calls nothing of the library"
        answer = self._ended(call)
        self._kept.append(answer)
        return answer

    def state(self, place: int) -> Any:
        """The state of an object; None if it has none."""
        return self._states.get(place)

    @staticmethod
    def text(place: int) -> str:
        """The C string that a caller passed."""
        return ctypes.string_at(place).decode()

    def report(self, profiler: int, layer: str, ms: float) -> None:
        """Report a layer's time to a profiler."""
        self._native.hollow_report(
            ctypes.c_void_p(profiler), _FIRST, ctypes.c_char_p(layer.encode()), ctypes.c_float(ms)
        )

    @staticmethod
    def _ended(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (RuntimeError, TypeError, ValueError):  # answers while learning may not fit
            return None

    def _result(self, symbol: bytes, first: int, second: int) -> int:
        name = MAKERS.get(symbol.decode(), "")
        self._logger = second if name == "OnnxParser" else first
        self._say(f"{name}.__init__")
        gives = self.does.get(f"{name}.__init__", 1)
        if callable(gives):
            gives = gives(first, second)
        return self._object(name, self.state(first)) if name and gives else 0

    def _asked(self, place: int, *arguments: int) -> int:
        first, second = arguments[:2]
        # A Dims does not fit in a register: the caller passes an address for it first, and the object second.
        by_memory = first not in self._classes
        name = self._classes.get(second if by_memory else first, "")
        told = self._names.get((name, place), "")
        if not told and self._learning.startswith(f"{name}."):
            told = self._names[name, place] = self._learning
            self._learning = ""
            return self._dims(first, ()) if by_memory else 0
        self.called += [told] if told else []
        self._say(told)
        gives = self.does.get(told, 0)
        self.this = self.state(second if by_memory else first)
        if callable(gives):
            gives = gives(*arguments[2 if by_memory else 1 :])
        if by_memory:
            return self._dims(first, gives or ())
        return self._native_value(gives)

    def say(self, words: str) -> None:
        """Log an error."""
        text = ctypes.c_char_p(words.encode())
        self._native.hollow_log(ctypes.c_void_p(self._logger), _FIRST, _ERROR, text)

    def _say(self, name: str) -> None:
        if words := self.logged.get(name):
            self.say(words)

    def _native_value(self, gives: Any) -> int:
        if isinstance(gives, Made):
            return self._object(gives.name, gives.state)
        if isinstance(gives, str) and hasattr(trt, gives):
            return self._object(gives)
        if isinstance(gives, (str, bytes)):
            data = gives.encode() if isinstance(gives, str) else gives
            self._kept.append(ctypes.create_string_buffer(data, len(data) + 1))
            return ctypes.addressof(self._kept[-1])
        return int(gives)

    def _object(self, name: str, state: Any = None) -> int:
        # The layout the bindings expect: a table of virtual functions, then a pointer to an inner object
        # with its own.
        outer, inner = (ctypes.c_void_p * 8)(), (ctypes.c_void_p * 8)()
        outer[0] = inner[0] = self._native.hollow_table()
        outer[1] = ctypes.addressof(inner)
        for part in (outer, inner):
            self._classes[ctypes.addressof(part)] = name
            self._states[ctypes.addressof(part)] = state
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(part))  # the bindings outlive this module
        return ctypes.addressof(outer)

    @staticmethod
    def _dims(place: int, sizes: tuple[int, ...]) -> int:
        dims = Dims.from_address(place)
        dims.count = len(sizes)
        for index, size in enumerate(sizes):
            dims.sizes[index] = size
        return place
