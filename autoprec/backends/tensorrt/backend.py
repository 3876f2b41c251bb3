"""The backend: what is installed, which GPU is there, and engines built for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from autoprec.backends._base import Device, Engine, KernelTimings, StopwatchName
from autoprec.backends.tensorrt import cuda
from autoprec.backends.tensorrt.build import BuiltPlan, Plans, Target, build_plan, check_targets
from autoprec.backends.tensorrt.engine import TensorRTEngine
from autoprec.backends.tensorrt.kernel_cache import kernel_cache
from autoprec.backends.tensorrt.layers import kernels_of
from autoprec.backends.tensorrt.library import CHECKED, MODULES, is_installed, load_library
from autoprec.backends.tensorrt.nvml import devices, read_clocks
from autoprec.backends.tensorrt.options import parse_options
from autoprec.backends.tensorrt.timing_cache import read_sealed
from autoprec.errors import BackendError, how_to_install
from autoprec.records import Clocks, Fingerprint, KernelTime, MachineCheck


class TensorRTBackend:
    """TensorRT 10 and 11, and TensorRT-RTX, whichever is installed.

    Args:
        options: as in `options.Options`.

    Attributes:
        library: the imported TensorRT, with the process's one logger.

    Raises `SpecError` for an unknown option, `BackendError` if no TensorRT is installed, it does not
    know a requested target, or it needs a GPU to build and there is none.
    """

    name: str = "tensorrt"
    stopwatch: StopwatchName = "cuda"
    resource: str = "GPU"
    has_own_device: bool = True
    uses_tf32: bool = True
    grids: tuple[str, ...] = ("signed",)  # symmetric alone: "Explicit Quantization" of its documentation
    # The parser refuses these pointwise operators; with Casts they fuse as any other (RTX 1.4 to 1.7).
    widened: frozenset[tuple[str, str]] = frozenset(
        (op, "bf16") for op in ("HardSwish", "LpNormalization", "Mish", "Shrink")
    )

    def __init__(self, options: Mapping[str, str | int | float | bool]) -> None:
        self._options = parse_options(options)
        self.library = load_library(self._options.library)
        if not self.library.keeps_types:
            raise BackendError(
                f"{self.library.name} {self.library.version} chooses types by itself, whatever the model "
                f"says; `pip install tensorrt` brings a later one (TensorRT {CHECKED} are known to serve)"
            )
        self._device = cuda.find_device(self._options.device)
        self._holds_context = False
        if self._device is None and not self.library.names_targets:
            raise BackendError(
                f"{self.library.name} {self.library.version} builds only with an NVIDIA GPU and its driver, "
                "and finds none: install the driver (`nvidia-smi` must list the GPU), or TensorRT-RTX, "
                f"which needs none: {how_to_install('tensorrt-rtx')}"
            )
        self._targets = self._options.targets() or self._own_target()
        check_targets(self.library, self._targets)
        self.base_precision: str = self._base_precision()
        self.bases: tuple[str, ...] = (self.base_precision,)
        # It dequantises a product whose columns are taken in parts: see `graph/rewrite/projections.py`.
        self.splits_projections: bool = self.library.is_rtx
        # TensorRT-RTX builds on the processor: beside eight builders, two builds of one model timed within
        # 0.2 % of each other (H200, 16 cores, 2026-11-27).
        self.builds_on_device: bool = not self.library.is_rtx
        # A build that times nothing gives the same bytes in every process (1.6 and 1.7), and a second one
        # takes 3.5 s of the time until the first trial (ViT-S, H200).
        self._plans = Plans(self._built_here, alike=not self.builds_on_device)

    @staticmethod
    def devices() -> Sequence[Device]:
        """The GPUs that this process may use."""
        return devices()

    def checks(self) -> Sequence[MachineCheck]:
        """Which library is taken where both are installed, and how to examine the other."""
        other = next(extra for extra in MODULES if extra != self.library.extra)
        if self._options.library or not is_installed(other):
            return ()
        remedy = f"`--library {other}` looks at the other; a study takes it by backend.options.library"
        return (
            MachineCheck(name=f"backend {self.name}", found=f"{self.library.extra} is taken", remedy=remedy),
        )

    @property
    def has_device(self) -> bool:
        """Whether engines can run here; without a GPU they can be built, not loaded."""
        return self._device is not None

    def require_device(self) -> cuda.CudaDevice:
        """The GPU that engines run on. Raises `BackendError` without one."""
        if self._device is None:
            raise BackendError(
                "no NVIDIA GPU with a driver is found: engines can be built here, but not run; "
                "check `nvidia-smi`, or search with backend.name = 'openvino'"
            )
        return self._device

    def timings(self) -> KernelTimings:
        """The name of the file of kernel timings that all builds here share, the reference's too, and what is
        in it; none for TensorRT-RTX, which times nothing when it builds."""
        if self._cache is None or self.library.names_targets:
            return KernelTimings("", b"")
        return KernelTimings(self._cache.name, read_sealed(self._cache))

    def fingerprint(self) -> Fingerprint:
        """Library, GPU with its driver, targets, and the options that change a measurement."""
        device = "no GPU"
        if self._device is not None:
            major, minor = self._device.compute_capability
            device = f"{self._device.name} ({major}.{minor}, driver for CUDA {self._device.driver})"
        targets = ",".join(f"{major}.{minor}" for major, minor in self._targets) or "default"
        return Fingerprint(
            backend=self.name,
            version=f"{self.library.name} {self.library.version}",
            device=f"{device}, built for {targets}",
            options=self._options.measured,
        )

    def build_plan(self, model_path: Path) -> BuiltPlan:
        """An engine's bytes and layers; TensorRT-RTX needs no GPU for them.

        Raises as `build.build_plan` does.
        """
        return build_plan(self.library, self._options, self._targets, model_path, self._cache)

    def build(self, model_path: Path, *, profiled: bool = False) -> Engine:
        """Build a plan and load it on the GPU.

        Raises `BackendError` without a GPU, `TrialError` as `build_plan` and `TensorRTEngine` do.
        """
        device = self.require_device()
        cuda.make_current(self._options.device)
        self._holds_context = True
        plan, cache = self._plans.of(model_path, again=profiled), kernel_cache(self._cache)
        return TensorRTEngine(self.library, self._options, plan, device, cache=cache, profiled=profiled)

    def build_ahead(self, model_path: Path) -> None:
        """Begin to build a plan in another thread: a ViT-S takes TensorRT-RTX 3.7 s of one processor."""
        self._plans.begin(model_path)

    def build_untimed(self, model_path: Path) -> Engine:
        """As `build`, without kernels of its own for every shape that it is given: TensorRT-RTX compiled a
        decoder anew for each number of prompts, 7 s in all before the first trial (ViT-S, H200)."""
        device = self.require_device()
        cuda.make_current(self._options.device)  # of this thread
        plan, cache = self.build_plan(model_path), kernel_cache(self._cache)
        return TensorRTEngine(self.library, self._options, plan, device, cache=cache, is_timed=False)

    def _built_here(self, model_path: Path) -> BuiltPlan:
        """A plan that is loaded here; in any thread, each of which is on a GPU of its own choice."""
        cuda.make_current(self._options.device)
        return self.build_plan(model_path)

    def plan_kernels(self, model_path: Path) -> tuple[KernelTime, ...]:
        """The kernels of a plan that is built and not loaded, without times."""
        return kernels_of(self.build_plan(model_path).layers, {})

    def clocks(self) -> Clocks:
        """The GPU's clocks, power, throttling and neighbours now."""
        if self._device is None:
            return Clocks()
        return read_clocks(self._device.bus_id, holds_context=self._holds_context)

    def _base_precision(self) -> str:
        """BF16 on TensorRT-RTX, which writes INT8 and FP8 matrix products in the float type before it applies
        the scales of the weight's channels. FP16 overflows: at K = 512 a fifth of the INT8 outputs and
        nine tenths of the FP8 ones were infinite (1.6.1, H200, 2026-11-23). GPUs before 8.0 have no BF16.
        """
        lowest = min(self._targets) if self._targets else (8, 0)
        return "bf16" if self.library.is_rtx and lowest >= (8, 0) else "fp16"

    @property
    def _cache(self) -> Path | None:
        """One file for each library, version and GPU: what is in it serves no other."""
        if self._device is None:
            return None
        name = f"{self.library.name}-{self.library.version}-{self._device.name}.cache"
        return self._options.cache / name.replace(" ", "-")

    def _own_target(self) -> tuple[Target, ...]:
        """The GPU that is here, if the library can name it; 9.0 has no name, and runs the default build."""
        if self._device is None or not self.library.names_targets:
            return ()
        major, minor = self._device.compute_capability
        is_named = self.library.member("ComputeCapability", f"SM{major}{minor}") is not None
        return (self._device.compute_capability,) if is_named else ()
