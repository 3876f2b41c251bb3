"""TensorRT-RTX presenting itself as full TensorRT of a version.

Has the classes, methods, properties, enum members and signatures that the dump of that version has, and no
others: what comes back is wrapped too, a name that the version lacks is an `AttributeError`, and arguments
that do not fit a signature are a `TypeError`, as pybind11 raises them. What the version has and TensorRT-RTX
lacks is there, and cannot be used: that is a fault of the test, and an `AssertionError`.

What no library would do by itself is arranged for a test in `FAULTS` and `TARGET`.
"""

from __future__ import annotations

import functools
import gzip
import json
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import tensorrt_rtx as real
from signatures import bind, unserved  # type: ignore[import-not-found]

DUMPS = Path(__file__).parent.parent / "api"
CALLBACKS = ("ILogger", "IProfiler", "IProgressMonitor")
"""Classes that Python code derives from, and the library calls."""
VALUES = re.compile(r"Dims\w*|Permutation|Weights|IHostMemory")
"""Plain values and memory, the same in all versions."""

FAULTS: dict[str, Any] = {}
"""By `Class.method`: what a call gives instead, or raises if it is an exception. For `Class.__init__`, what
the library logs as an error before pybind11 raises that the factory gave nothing."""
TARGET: list[tuple[int, int]] = []
"""The GPU that is pretended to be here, for which full TensorRT builds without being told."""

TOLD: list[tuple[str, ...]] = []
"""What a weakly typed network and its builder were told, which TensorRT-RTX cannot be: (layer, `precision` or
`output`, type), and (`flag`, name)."""

UNSET = {"ILayer.precision_is_set": False, "IBuilderConfig.int8_calibrator": None}
"""Of weakly typed networks, which TensorRT-RTX has not."""

_QUESTIONS = ("get_flag", "get_quantization_flag", "get_preview_feature")
_SELF = "_real"
_REFUSED = "pybind11::init(): factory function returned nullptr"


def masked(version: str) -> ModuleType:
    """The module. Raises `FileNotFoundError` for a version that has no dump."""
    with gzip.open(DUMPS / f"api-{version}.json.gz", "rt") as file:
        surface = json.load(file)
    return Mask(surface).module


class Mask:
    """One version's surface over the real module."""

    def __init__(self, surface: dict[str, Any]) -> None:
        self.module = ModuleType("tensorrt", f"TensorRT-RTX behind the mask of {surface['version']}")
        self.classes: dict[str, type] = {}
        for name in sorted(surface["classes"], key=lambda n: (n not in CALLBACKS, n != "ILayer")):
            self.classes[name] = self._class(name, surface["classes"][name], getattr(real, name, None))
            setattr(self.module, name, self.classes[name])
        self.module.__version__ = surface["version"]  # type: ignore[attr-defined]
        for name, told in surface["values"].items():
            if match := re.match(r"DataType <DataType\.(\w+)", told):
                setattr(self.module, name, self.classes["DataType"].__members__[match[1]])  # type: ignore[attr-defined]
        for name in surface["functions"]:
            setattr(self.module, name, functools.partial(self._call, name, getattr(real, name, None), None))

    def wrap(self, value: Any) -> Any:
        """A value of the library as the version has it."""
        if isinstance(value, (list, tuple)):
            return type(value)(map(self.wrap, value))
        name = type(value).__name__
        if type(value).__module__.partition(".")[0] != real.__name__ + "_bindings" or VALUES.fullmatch(name):
            return value
        if isinstance(value, _CALLBACK_TYPES):
            return value
        mask = self._mask_of(type(value))
        if hasattr(mask, "__members__"):
            return mask.__members__[value.name]
        return mask(value, _is_native=True)

    def unwrap(self, value: Any) -> Any:
        """What the library takes for a value of the version."""
        if isinstance(value, (list, tuple)):
            return type(value)(map(self.unwrap, value))
        return getattr(value, _SELF)() if isinstance(value, Member) else getattr(value, _SELF, value)

    def _mask_of(self, native: type) -> Any:
        """The version's class for one of the library's."""
        owner: Any = self.module
        for part in native.__qualname__.split("."):
            assert hasattr(owner, part), (
                f"TensorRT-RTX gives a {native.__qualname__}, which the version lacks"
            )
            owner = getattr(owner, part)
        return owner

    def _class(self, name: str, told: dict[str, Any], native: Any) -> type:
        if "enum" in told:
            return _enum(name, told["enum"], native)
        if VALUES.fullmatch(name) and native is not None:
            return native  # type: ignore[no-any-return]
        if name in CALLBACKS:
            return self._callback(name, told, native)
        if name == "Logger":
            return _logger(self.module)
        bases = tuple(self.classes[base] for base in told.get("bases", ()) if base == "ILayer")
        slots = () if bases else (_SELF,)
        names: dict[str, Any] = {"__slots__": slots, "__init__": self._init(name, told), "__eq__": _same,
                                 "__hash__": _number, "__module__": "tensorrt_bindings.tensorrt"}  # fmt: skip
        for method, signatures in told.get("methods", {}).items():
            if not method.startswith("__") or method in ("__len__", "__getitem__"):
                names[method] = self._method(f"{name}.{method}", signatures, native)
        for key, recorded in told.get("properties", {}).items():
            names[key] = self._property(key, is_fixed=recorded["ro"], of=name)
        for key, inner in told.get("nested", {}).items():
            names[key] = self._class(key, inner, getattr(native, key, None))
        return type(name, bases, names)

    def _init(self, name: str, told: dict[str, Any]) -> Callable[..., None]:
        signatures = told.get("methods", {}).get("__init__", ["?"])

        def construct(mask: Any, *given: Any, _is_native: bool = False, **named: Any) -> None:
            if _is_native:
                mask._real = given[0]
                return
            if signatures == ["?"]:
                raise TypeError(f"tensorrt_bindings.tensorrt.{name}: No constructor defined!")
            bind(name, signatures, (mask, *given), named)
            if (said := FAULTS.get(f"{name}.__init__")) is not None:
                logger = next(v for v in (*given, *named.values()) if isinstance(v, self.module.ILogger))
                logger.log(real.ILogger.Severity.ERROR, said)
                raise TypeError(_REFUSED)
            native = getattr(real, name)
            mask._real = native(*map(self.unwrap, given), **{k: self.unwrap(v) for k, v in named.items()})

        return construct

    def _method(self, name: str, signatures: list[str], native: Any) -> Callable[..., Any]:
        short = name.partition(".")[2]

        @functools.wraps(getattr(native, short, unserved))
        def method(mask: Any, *given: Any, **named: Any) -> Any:
            bind(short, signatures, (mask, *given), named)
            if name in FAULTS:
                return _fault(name)
            if name == "ILayer.set_output_type":
                return TOLD.append((mask._real.name, "output", given[1].name))
            if short == "set_flag" and given[0].is_foreign:
                return TOLD.append(("flag", given[0].name))
            if short in _QUESTIONS and any(isinstance(v, Member) and v.is_foreign for v in given):
                return False
            function = getattr(mask._real, short, None)
            assert function is not None, f"TensorRT-RTX has no {name}: the mask cannot serve it"
            if name == "Builder.create_network":
                return self.wrap(function(self._flags(*given, **named)))
            with _undeprecated() if "Timing" in name or "timing" in name else nullcontext():
                returned = self._call(short, function, None, *given, **named)
            if name == "Builder.create_builder_config":
                _aim(returned._real)
            return returned

        return method

    def _flags(self, flags: int = 0) -> int:
        """The same flags as the library numbers them; STRONGLY_TYPED is 1 in TensorRT 10 and 0 in 11."""
        told = self.module.NetworkDefinitionCreationFlag.__members__
        native = real.NetworkDefinitionCreationFlag.__members__
        wanted = [member.name for member in told.values() if flags >> int(member) & 1]
        is_weak = "STRONGLY_TYPED" not in wanted and "STRONGLY_TYPED" in told
        assert not is_weak, "types are the model's own only in a strongly typed network"
        return sum(1 << int(native[name]) for name in wanted if name in native)

    def _call(self, name: str, function: Any, signatures: Any, *given: Any, **named: Any) -> Any:
        assert function is not None, f"TensorRT-RTX has no {name}: the mask cannot serve it"
        return self.wrap(function(*map(self.unwrap, given), **{k: self.unwrap(v) for k, v in named.items()}))

    def _property(self, key: str, *, is_fixed: bool, of: str) -> property:
        def get(mask: Any) -> Any:
            if f"{of}.{key}" in UNSET:
                return UNSET[f"{of}.{key}"]
            assert hasattr(mask._real, key), f"TensorRT-RTX has no {of}.{key}: the mask cannot serve it"
            return _fault(f"{of}.{key}") if f"{of}.{key}" in FAULTS else self.wrap(getattr(mask._real, key))

        def put(mask: Any, value: Any) -> None:
            if (of, key) == ("ILayer", "precision"):
                TOLD.append((mask._real.name, key, value.name))
                return
            setattr(mask._real, key, self.unwrap(value))

        return property(get, None if is_fixed else put)

    def _callback(self, name: str, told: dict[str, Any], native: Any) -> type:
        """A base class for Python code; what the library passes to its methods is wrapped."""
        methods = [key for key in told["methods"] if not key.startswith("_")]

        def adapt(derived: Any) -> None:
            for key in methods:
                if key in vars(derived):
                    setattr(derived, key, self._taking(vars(derived)[key]))

        inner = {k: self._class(k, v, getattr(native, k)) for k, v in told.get("nested", {}).items()}
        loose = {k: member for enum in inner.values() for k, member in enum.__members__.items()}  # type: ignore[attr-defined]
        hook: Any = classmethod(adapt)
        return type(name, (native,), {"__init_subclass__": hook, **inner, **loose})

    def _taking(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(derived: Any, *given: Any, **named: Any) -> Any:
            return function(derived, *map(self.wrap, given), **{k: self.wrap(v) for k, v in named.items()})

        return wrapped


class Member:
    """A member of an enum: its name and number are the version's."""

    def __init__(self, enum: str, name: str, value: int, native: Any) -> None:
        self._enum, self.name, self.value, self._native = enum, name, value, native

    @property
    def is_foreign(self) -> bool:
        """Whether TensorRT-RTX does not have it."""
        return self._native is None

    def _real(self) -> Any:
        assert self._native is not None, f"TensorRT-RTX has no {self._enum}.{self.name}"
        return self._native

    def __int__(self) -> int:
        return self.value

    __index__ = __int__

    def __repr__(self) -> str:
        return f"<{self._enum}.{self.name}: {self.value}>"


def _enum(name: str, members: dict[str, int], native: Any) -> type:
    there = native.__members__ if native is not None else {}
    by_key = {key: Member(name, key, number, there.get(key)) for key, number in members.items()}
    return type(name, (), {"__members__": by_key, **by_key})


def _logger(module: Any) -> type:
    """The library's own logger, which drops everything here."""

    class Logger(module.ILogger):  # type: ignore[misc]
        def __init__(self, min_severity: Any = None) -> None:
            module.ILogger.__init__(self)
            self.min_severity = min_severity

        def log(self, severity: Any, msg: str) -> None:
            pass

    return Logger


def _aim(config: Any) -> None:
    for number, (major, minor) in enumerate(TARGET):
        config.num_compute_capabilities = len(TARGET)
        config.set_compute_capability(getattr(real.ComputeCapability, f"SM{major}{minor}"), number)


@contextmanager
def _undeprecated() -> Iterator[None]:
    """TensorRT-RTX has done with timing caches; full TensorRT has not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _fault(name: str) -> Any:
    fault = FAULTS[name]
    if isinstance(fault, Exception):
        raise fault
    return fault


def _same(mask: Any, other: Any) -> bool:
    return mask._real is getattr(other, _SELF, None)


def _number(mask: Any) -> int:
    return id(mask._real)


_CALLBACK_TYPES = tuple(getattr(real, name) for name in CALLBACKS)
