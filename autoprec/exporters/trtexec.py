"""A shell script that builds and times the engine with `trtexec` of TensorRT 10 or 11, and refuses older
ones."""

from __future__ import annotations

import re
from pathlib import Path

import onnx

from autoprec.exporters._script import quoted
from autoprec.exporters.onnx import MODEL
from autoprec.precisions import PRECISIONS
from autoprec.records import Export

SCRIPT = "trtexec.sh"
NVFP4 = (
    "# Some blocks are in NVFP4, which needs compute capability 10.0 or later, and TensorRT 10.8 or later;\n"
    "# ModelOpt asks for 11.0.\n"
)
FLAGS = (
    f"--onnx={MODEL}",
    "--saveEngine=model.engine",
    "--timingCacheFile=build.cache",
    "--profilingVerbosity=detailed",
    "--exportLayerInfo=layers.json",
    "--useCudaGraph",
    "--noDataTransfers",
    "--useSpinWait",
    "--warmUp=1000",
    "--duration=10",
)
"""Timing as in the study: kernels alone, without copies, on a warm GPU."""

LEVEL = 3
"""The builder's optimisation level of a study that names none: TensorRT's own default."""

# Versions are told apart by the flags that trtexec offers. An older one would build without an error, with
# types of its own choice.
TEMPLATE = """\
#!/bin/sh
# Builds model.engine and times it. Study {study}, trial {number}.
# Every precision is in the model: no --fp16, --int8 or --best here, they would change it or fail.
# The optimisation level is that of the study, whose latency is that of this build. A higher one takes longer,
# and may find faster kernels: OPTIMIZATION_LEVEL=5 ./{script}
{notes}set -eu
cd -- "$(dirname -- "$0")"
level="--builderOptimizationLevel=${{OPTIMIZATION_LEVEL:-{level}}}"
command -v trtexec > /dev/null || {{
    echo "{script}: trtexec is not on the PATH: it comes with TensorRT, in the bin folder of its archive" >&2
    exit 2
}}
# The study's kernel timings, where it has any; what trtexec adds to them stays apart.
if [ -e timing.cache ] && [ ! -e build.cache ]; then cp timing.cache build.cache; fi

if trtexec --help 2>&1 | grep -q -e --stronglyTyped; then
    # TensorRT 10 keeps to the model's types only if told to.
    trtexec --stronglyTyped "$level" \\
        {flags}
elif trtexec --help 2>&1 | grep -q -e --precisionConstraints; then
    echo "{script}: this TensorRT is older than 10, and would build each layer as it likes: take the engine" \
        "that the study's target built, model.engine; or build with tensorrt8_trtexec.sh, if it is here," \\
        "or with implicit_trtexec.sh" >&2
    exit 2
else
    # TensorRT 11 always does.
    trtexec "$level" \\
        {flags}
fi
"""


def write(export: Export, folder: Path) -> tuple[Path, ...]:
    """Write `trtexec.sh`, executable."""
    options = export.recipe.options if export.recipe else {}
    flags = (*FLAGS, *(() if options.get("tf32", True) else ("--noTF32",)), *_shapes(export))
    path = folder / SCRIPT
    chosen = (PRECISIONS[precision] for _, precision in export.trial.assignment.choices)
    text = TEMPLATE.format(
        notes=NVFP4 if any(precision.plain == "nvfp4" for precision in chosen) else "",
        # Escaped: behind a line break a name would no longer be a comment, but a command.
        study=ascii(export.trial.study),
        script=SCRIPT,
        level=int(options.get("optimization_level", LEVEL)),
        number=export.trial.number,
        flags=" \\\n        ".join(quoted(flag) for flag in flags),
    )
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return (path,)


def _shapes(export: Export) -> tuple[str, ...]:
    """`--shapes` for the dynamic inputs; trtexec refuses the flag for a model without any."""
    inputs = onnx.load(export.model_path, load_external_data=False).graph.input
    dynamic = {
        value.name
        for value in inputs
        if not all(d.HasField("dim_value") for d in value.type.tensor_type.shape.dim)
    }
    given = [
        f"{_named(name)}:{'x'.join(map(str, sizes))}"
        for name, sizes in export.input_shapes
        if name in dynamic
    ]
    return (f"--shapes={','.join(given)}",) if given else ()


def _named(name: str) -> str:
    """A name as trtexec takes it: in single quotes if it contains trtexec's own separators."""
    return name if re.fullmatch(r"[\w./-]+", name) else f"'{name}'"
