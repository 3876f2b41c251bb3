"""From an ONNX file to an engine's bytes; needs no GPU with TensorRT-RTX.

Calls TensorRT's own API: Polygraphy's loaders hide the parser's and builder's errors behind one exception,
pick TensorRT or TensorRT-RTX once a process by an environment variable, and do not know the runtime cache.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from autoprec.backends.tensorrt.layers import Layer, layers_from_message
from autoprec.backends.tensorrt.library import Library
from autoprec.backends.tensorrt.log import Log, one_line
from autoprec.backends.tensorrt.options import Options
from autoprec.backends.tensorrt.timing_cache import timing_cache
from autoprec.errors import BackendError, TrialError
from autoprec.records import Record

Target = tuple[int, int]
_Version = tuple[Path, int, int, int]


class BuiltPlan(Record, frozen=True, kw_only=True):
    """An engine's bytes, and its layers as the builder lists them (empty where it does not list all)."""

    data: bytes
    layers: tuple[Layer, ...]


class Plans:
    """Builds plans, some of them ahead, and remembers the last one for a second engine of the same file: a
    profile is then of the very plan that was timed, and costs no second build.

    Args:
        build: from a file to its plan; called in other threads, too.
        alike: whether building a file again gives the same bytes, so that one plan serves for two builds.
    """

    def __init__(self, build: Callable[[Path], BuiltPlan], *, alike: bool = False) -> None:
        self._build, self._alike = build, alike
        self._last: tuple[_Version, BuiltPlan] | None = None
        self._begun: dict[_Version, Future[BuiltPlan]] = {}
        self._threads = ThreadPoolExecutor(1, "plans")

    def begin(self, path: Path) -> None:
        """Build the plan of a file in another thread, for the next call of `of` with it."""
        self._begun[_version(path)] = self._threads.submit(self._build, path)

    def of(self, path: Path, *, again: bool) -> BuiltPlan:
        """The plan of a file. The last one is taken if it is of the same version of that file, and wanted
        `again`, or no other would come of it.

        Raises as `build_plan` does.
        """
        version = _version(path)
        if not again and self._alike and self._last is not None and self._last[0] == version:
            return self._last[1]  # a profile may follow
        last, self._last = self._last, None  # two plans may not fit, and a profile is the last to want one
        if again and last is not None and last[0] == version:
            return last[1]
        del last
        begun = self._begun.pop(version, None)
        plan = begun.result() if begun else self._build(path)
        if not again:
            self._last = version, plan
        return plan


def _version(path: Path) -> _Version:
    """Identifies a file's content: it may be rewritten; external data is rewritten with its model."""
    try:
        status = path.stat()
    except OSError:  # the parser says it better
        return path, 0, 0, 0
    return path, status.st_ino, status.st_mtime_ns, status.st_size


def build_plan(
    library: Library,
    options: Options,
    targets: tuple[Target, ...],
    model_path: Path,
    cache: Path | None = None,
) -> BuiltPlan:
    """Parse, configure and build.

    Args:
        library: the loaded TensorRT.
        options: of the definition.
        targets: compute capabilities to build for; empty for the library's default, which leaves GPUs out
            without a word when the model holds a type that they lack. All must pass `check_targets`.
        model_path: a strongly typed ONNX model.
        cache: file of kernel timings, for a library that times kernels when it builds.

    Raises `TrialError`: "build" naming the node or the builder's first error; "timeout" after
    `build_seconds`; "memory". Raises `BackendError` where no builder starts.
    """
    trt = library.trt
    with library.asking("build", "the build fails"):
        log, builder = library.log, library.start("Builder")
        network = library.given(
            builder.create_network(_network_flags(library)), "build", "no network is made"
        )
        parser = library.given(trt.OnnxParser(network, log.sink), "build", "the ONNX parser does not start")
        if not parser.parse_from_file(str(model_path)):
            reason = _parser_error(parser, log.first_error("the parser gives no reason"))
            raise TrialError(log.kind("build"), reason)
        _refuse_uint8(log.warnings)
        config = library.given(builder.create_builder_config(), "build", "no configuration is made")
        _configure(library, config, options)
        _name_targets(library, config, targets)
        _add_profile(library, builder, network, config, options)
        with (
            timing_cache(library, config, cache),
            _called_off(library, config, options) as late,
        ):
            data = builder.build_serialized_network(network, config)
        # The builder neither raises nor aborts: what went wrong stands in the log, whose first error is the
        # cause.
        if data is None:
            raise _build_error(log, is_late=late.is_set())
        return BuiltPlan(
            data=bytes(data), layers=layers_from_message(log.layers) if library.lists_layers else ()
        )


def _network_flags(library: Library) -> int:
    """Strong typing everywhere: TensorRT 10 needs the flag, TensorRT 11 and RTX take and ignore it."""
    flag = library.member("NetworkDefinitionCreationFlag", "STRONGLY_TYPED")
    return 0 if flag is None else 1 << int(flag)


def _parser_error(parser: Any, otherwise: str) -> str:
    """The parser's first error with operator and node; its description alone can be just `false`."""
    if not parser.num_errors:
        return otherwise
    error = parser.get_error(0)
    node = f"{error.node_operator()} {error.node_name()!r}: " if error.node_operator() else ""
    return f"{node}{one_line(error.desc())}"


def _refuse_uint8(warnings: list[str]) -> None:
    """TensorRT-RTX 1.7 reads UINT8 as INT8 with no more than a warning, and computes something else."""
    if any("UINT8 zero_point" in text for text in warnings):
        raise TrialError(
            "build", "a Q/DQ pair is UINT8, which TensorRT reads as INT8; quantise to signed INT8"
        )


def _configure(library: Library, config: Any, options: Options) -> None:
    trt = library.trt
    # Below DETAILED the list of layers is empty, and nobody knows what a block ran in.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # Set either way: it is on by default in the library and off in Polygraphy's configurations, so that times
    # and results of FP32 would depend on who made this one.
    (config.set_flag if options.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    # The default is all there is. A small limit breaks even small products: a GEMM wants 8 MB of scratch.
    if options.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level


def check_targets(library: Library, targets: tuple[Target, ...]) -> None:
    """Raises `BackendError` for a GPU that this version cannot be told to build for."""
    if targets and not library.names_targets:
        raise BackendError(
            f"backend.options.compute_capabilities: {library.name} builds for the GPU that it runs on; "
            "leave it out"
        )
    for major, minor in targets:
        if library.member("ComputeCapability", f"SM{major}{minor}") is None:
            capabilities = ", ".join(
                n for n in library.trt.ComputeCapability.__members__ if n.startswith("SM")
            )
            raise BackendError(
                f"backend.options.compute_capabilities: {library.name} {library.version} cannot build for "
                f"{major}.{minor}; it knows {capabilities}"
            )


def _name_targets(library: Library, config: Any, targets: tuple[Target, ...]) -> None:
    if not targets:
        return
    # A GPU that is named and lacks a type of the model is an error; one that is not named is left out
    # silently.
    config.num_compute_capabilities = len(targets)
    for number, (major, minor) in enumerate(targets):
        config.set_compute_capability(library.member("ComputeCapability", f"SM{major}{minor}"), number)


def _add_profile(library: Library, builder: Any, network: Any, config: Any, options: Options) -> None:
    """One optimisation profile, if an input is dynamic.

    Raises `TrialError` for one without a shape, or with one that the library refuses.
    """
    given = options.profile()
    tensors = [network.get_input(number) for number in range(network.num_inputs)]
    # Without a profile the builder would give None for a dynamic input, and no word of which one.
    dynamic = [tensor.name for tensor in tensors if -1 in tuple(tensor.shape)]
    if not dynamic:
        return
    profile = library.given(builder.create_optimization_profile(), "build", "no profile is made")
    for name in dynamic:
        if name not in given:
            raise TrialError(
                "build",
                f"input {name!r} has a dynamic shape; fix it in model.shapes or backend.options.shapes",
            )
        try:
            profile.set_shape(name, *given[name])
        except RuntimeError as error:
            what = f"input {name!r} does not take the shapes {given[name]} of backend.options.shapes"
            raise library.failure("build", what, one_line(str(error))) from error
    if config.add_optimization_profile(profile) < 0:
        raise library.failure(
            "build", "the shapes of backend.options.shapes are refused", "no reason is given"
        )


@contextlib.contextmanager
def _called_off(library: Library, config: Any, options: Options) -> Iterator[threading.Event]:
    """Cancel the build between two of its steps once its time is up; the event says whether it was."""
    late = threading.Event()
    if not options.build_seconds:
        yield late
        return

    class Monitor(library.trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            library.trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """Nothing to do."""

        def phase_finish(self, phase_name: str) -> None:
            """Nothing to do."""

        def step_complete(self, phase_name: str, step: int) -> bool:  # noqa: ARG002
            return not late.is_set()

    monitor = Monitor()  # the configuration keeps no reference of its own
    config.progress_monitor = monitor
    timer = threading.Timer(options.build_seconds, late.set)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        config.progress_monitor = None


def _build_error(log: Log, *, is_late: bool) -> TrialError:
    if is_late:
        return TrialError("timeout", "the build was called off after backend.options.build_seconds")
    kind, first = log.kind("build"), log.first_error("the builder gives no reason")
    return TrialError(kind, f"the build ran out of memory: {first}" if kind == "memory" else first)
