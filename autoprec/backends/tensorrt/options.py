"""`[backend.options]` of TensorRT, parsed once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from autoprec.errors import SpecError

_SHAPES = re.compile(r"\s*([^=;]+?)\s*=\s*([\dx:]+)\s*")


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a study may set.

    Attributes:
        library: `tensorrt-rtx` or `tensorrt`; empty takes the installed one.
        compute_capabilities: GPUs to build for, as in `8.6,8.9` (TensorRT-RTX only). Empty: the GPU here.
        device: CUDA ordinal of the GPU.
        shapes: profile of dynamic inputs: `image=1x3x512x512`, or `image=MIN:OPT:MAX`; several with `;`.
        tf32: whether FP32 matrix products may use TF32.
        workspace_mb: limit of the builder's scratch memory; None leaves it to the library.
        optimization_level: 0 to 5; None is TensorRT's default, 3, for the search and for what is exported:
            the latency that is measured is that of the build that ships. Lower ones build faster, and rank
            candidates by kernels that no one ships; the export's scripts take a higher one for the end. No
            effect on TensorRT-RTX, which tunes when it loads.
        cuda_graph: record one inference as a CUDA graph and replay it, which steadies timings. On an H200 31
            rounds gave the ratio of two EfficientViT-SAM encoders within 0.5 %; without it 1,900 rounds gave
            8 % (TensorRT-RTX 1.6.1, 2026-11-23).
        rotate_buffers: use as many sets of inputs and outputs in turn as overflow the L2 cache twice.
        cache_folder: where kernel timings (TensorRT) or compiled kernels (RTX) are kept for all studies;
            empty takes `~/.cache/autoprec`.
        build_seconds: the build is cancelled after this many seconds; 0 leaves it to the trial's limit.
    """

    library: Literal["", "tensorrt-rtx", "tensorrt"] = ""
    compute_capabilities: str = ""
    device: Annotated[int, msgspec.Meta(ge=0)] = 0
    shapes: str = ""
    tf32: bool = True
    # At least 64: a product wants 8 MiB of scratch memory, and a limit of 1 breaks the smallest ones.
    workspace_mb: Annotated[int, msgspec.Meta(ge=64)] | None = None
    optimization_level: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None
    cuda_graph: bool = True
    rotate_buffers: bool = False
    cache_folder: str = ""
    build_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0

    @property
    def measured(self) -> str:
        """The options that change what is measured, for the fingerprint."""
        # The library and the GPU are in the fingerprint by name and
        # version already; the others change no kernel.
        free = ("library", "device", "cache_folder", "build_seconds")
        chosen = {k: v for k, v in msgspec.structs.asdict(self).items() if k not in free}
        return msgspec.json.encode(chosen, order="sorted").decode()

    @property
    def cache(self) -> Path:
        """The folder of caches, absolute."""
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return Path(self.cache_folder or base / "autoprec").absolute()

    def targets(self) -> tuple[tuple[int, int], ...]:
        """(major, minor) of every GPU to build for. Raises `SpecError`."""
        parts = [part.strip() for part in self.compute_capabilities.split(",") if part.strip()]
        matches = [re.fullmatch(r"(\d+)\.(\d)", part) for part in parts]
        for part, match in zip(parts, matches, strict=True):
            if match is None:
                raise SpecError(
                    f"backend.options.compute_capabilities: {part!r} is none; one is such as '8.9'"
                )
        return tuple((int(m[1]), int(m[2])) for m in matches if m is not None)

    def profile(self) -> dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
        """(minimum, optimum, maximum) shape by input name. Raises `SpecError`."""
        profile = {}
        for part in filter(str.strip, self.shapes.split(";")):
            match = _SHAPES.fullmatch(part)
            shapes = [tuple(int(n) for n in s.split("x") if n) for s in match[2].split(":")] if match else []
            if match is None or len(shapes) not in (1, 3) or len({len(shape) for shape in shapes}) != 1:
                raise SpecError(
                    f"backend.options.shapes: {part.strip()!r} is neither 'NAME=1x3x512x512' nor "
                    "'NAME=MIN:OPT:MAX'"
                )
            profile[match[1]] = (shapes[0], shapes[len(shapes) // 2], shapes[-1])
        return profile


def parse_options(options: Mapping[str, str | int | float | bool]) -> Options:
    """Check the definition's options. Raises `SpecError` naming the key."""
    try:
        parsed = msgspec.convert(dict(options), Options)
    except msgspec.ValidationError as error:
        raise SpecError(
            f"backend.options of tensorrt: {error}; known: {', '.join(Options.__struct_fields__)}"
        ) from error
    parsed.targets()
    parsed.profile()
    return parsed
