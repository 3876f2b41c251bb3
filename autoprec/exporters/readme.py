"""`README.md`: what the files of an export are, for somebody who has nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx

from autoprec.records import Export

README = "README.md"
WORDS: dict[str, str] = {
    "model.onnx": "the model, strongly typed: every precision is in it, so build it without precision flags",
    "reference.onnx": "the {reference} model that latency and masks are compared with",
    "decoder.onnx": "the fixed model behind it: takes its outputs, and prompts",
    "examples": "samples (`00.npz`: inputs and prompts); `outputs/` holds the outputs of both engines",
    "verify.py": "measures both models here and compares with `manifest.json`; exits with 0 if they agree",
    "paired_timing.py": "how `verify.py` times the two",
    "metric.py": "how `verify.py` scores masks",
    "predict.py": "runs the model, and the decoder behind it, on an image or a sample",
    "mask_picture.py": "how `predict.py` writes masks as an image",
    "reading": "how `predict.py` reads images and prompts: the search's own code",
    "run_openvino.py": "runs and times the model with OpenVINO",
    "trtexec.sh": "builds and times the engine with `trtexec`",
    "tensorrt8_trtexec.sh": "builds and times the engine as the study's target did, layer by layer",
    "tensorrt8.onnx": "the model as that builder takes it: float32, with Q/DQ pairs",
    "implicit_trtexec.sh": "builds with implicit quantisation; its first lines name the limits",
    "implicit.onnx": "the float model with the search's edits, for builders that take precisions by flags",
    "implicit.cache": "its ranges, as TensorRT's calibration cache",
    "build_polygraphy.py": "builds the engine with Polygraphy",
    "modelopt_quantize.py": "quantises the same blocks of `implicit.onnx` with NVIDIA ModelOpt",
    "modelopt.json": "which nodes that quantises",
    "model.engine": "the engine, built on {engine}, and for that GPU and version alone",
    "timing.cache": "kernel timings that the study built with, on {engine}: builds with them on the same "
    "GPU and version are quick, and pick the same kernels",
    "assignment.json": "the precision of each block",
    "manifest.json": "what was measured, on what, and the SHA-256 of every file",
}
OPENVINO = "`pip install openvino numpy`"
NEEDS = {
    "verify.py": OPENVINO,
    "predict.py": "`pip install openvino numpy pillow`; for deep TIFF and PNG `imagecodecs tifffile` too",
    "run_openvino.py": OPENVINO,
    "trtexec.sh": "TensorRT 10 or 11",
    "tensorrt8_trtexec.sh": "the target's version of TensorRT, 8.5 or 8.6",
    "implicit_trtexec.sh": "TensorRT 8.6, 9 or 10",
    "build_polygraphy.py": "`pip install polygraphy tensorrt`, or `tensorrt-rtx`",
    "modelopt_quantize.py": "`pip install 'nvidia-modelopt[onnx]'`",
}
"""What each file needs to be installed."""
EXAMPLE = '{"point_coords": [[320, 240]], "point_labels": [1]}'
"""A prompt in the form that `predict.py` takes."""


def write(export: Export, folder: Path) -> tuple[Path, ...]:
    """Write `README.md`, which describes the files in `folder`."""
    # The last two are written later, but listed all the same.
    there = {path.name for path in folder.iterdir()} | {"assignment.json", "manifest.json"}
    engine = export.identity.fingerprint
    words = {
        "reference": export.reference.precision,
        "engine": f"{_plain(engine.version)}, {_plain(engine.device)}",
    }
    told = {name: what.format(**words) for name, what in WORDS.items() if name in there}
    told |= {name: _described(folder / name) for name in sorted(there - set(WORDS) - {README})}
    rows = [
        f"| `{name}{'/' * (folder / name).is_dir()}` | {what} | {NEEDS.get(name, '')} |"
        for name, what in told.items()
    ]
    model = _plain(Path(export.model_name).stem) or "model"
    lines = [
        f"# {model}: trial {export.trial.number} of study {_plain(export.trial.study)}",
        "",
        _measured(export),
        "",
        *_check(export, there),
        *_prediction(export, folder),
        "| file | what it is | what it needs |",
        "|---|---|---|",
        *rows,
        "",
        *_values(folder, dict(export.input_shapes)),
        "",
        *_preprocessing(export),
    ]
    path = folder / README
    path.write_text("\n".join(lines), encoding="utf-8")
    return (path,)


def _check(export: Export, there: set[str]) -> list[str]:
    """How to check the export's figures on another machine."""
    if "verify.py" not in there:
        return []
    if export.recipe is not None and export.recipe.backend == "openvino":
        return [
            "Start with `python verify.py`: it needs nothing but this folder and what is in its row below.",
            "",
        ]
    return ["Start with `autoprec verify` on this folder: `verify.py` measures with OpenVINO alone.", ""]


def _prediction(export: Export, folder: Path) -> list[str]:
    """The command that writes the masks of an image; empty if the model takes no image."""
    takes_images = any(len(shape) == 4 for shape in dict(export.input_shapes).values())
    if not takes_images or not _preprocessing(export) or not (folder / "predict.py").exists():
        return []
    if not _takes_prompts(folder):
        return ["`python predict.py photo.jpg` writes `photo_mask.png`.", ""]
    told = (
        f"`python predict.py photo.jpg --prompt '{EXAMPLE}'` writes `photo_mask.png`. Prompts are in pixels "
        "of the image; repeat `--prompt` for more masks, or keep them in `prompts.json` beside the image."
    )
    return [told, ""]


def _takes_prompts(folder: Path) -> bool:
    """Whether the decoder has inputs that are neither inputs nor outputs of the model."""
    if not (folder / "decoder.onnx").exists():
        return False
    model, decoder = (
        onnx.load(folder / name, load_external_data=False).graph for name in ("model.onnx", "decoder.onnx")
    )
    given = {value.name for value in (*decoder.initializer, *model.input, *model.output)}
    return not {value.name for value in decoder.input} <= given


def _described(path: Path) -> str:
    """The first line of a script's docstring or comment, for a file that is not in `WORDS`."""
    if path.suffix not in (".py", ".sh"):
        return "see the scripts beside it"
    lines = path.read_text(encoding="utf-8").splitlines()
    told = (line.strip('"#').strip() for line in lines if not line.startswith("#!"))
    return _plain(next(filter(None, told), ""))


def _measured(export: Export) -> str:
    """What the model is, how fast it is, and how close to the reference."""
    measured, engine = export.trial.measurement, export.identity.fingerprint
    assert measured is not None
    quality, spread = measured.quality, measured.quality.loss_interval
    name, count = _plain(export.model_name) or "a model", len(export.trial.assignment.choices)
    return (
        f"{name} with a precision for each of its {count} blocks, as autoprec chose them: "
        f"{1 / measured.latency.ratio:.2f}x as fast as the {export.reference.precision} model "
        f"({measured.latency_ms:.4g} ms of {export.clock}), with a mask loss of {quality.loss:.4f} "
        f"({spread.low:.4f} to {spread.high:.4f}) against it. Measured with {_plain(engine.backend)} "
        f"{_plain(engine.version)} on {_plain(engine.device)}."
    )


def _values(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """A table of the inputs and outputs of the model and its decoder, with types and sizes."""
    rows = []
    for name in ("model.onnx", "decoder.onnx"):
        if not (folder / name).exists():
            continue
        graph = onnx.load(folder / name, load_external_data=False).graph
        # An initializer may be listed as an input, too, which nobody feeds.
        held = {tensor.name for tensor in graph.initializer}
        inputs = [("input", value) for value in graph.input if value.name not in held]
        for role, value in (*inputs, *(("output", value) for value in graph.output)):
            kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name
            dims = value.type.tensor_type.shape.dim
            sizes = shapes.get(value.name) or [dim.dim_value or _plain(dim.dim_param) or "?" for dim in dims]
            rows.append(
                f"| `{name}` | {role} | {_plain(value.name)} | {kind} | {' x '.join(map(str, sizes))} |"
            )
    return ["| file | | name | type | sizes |", "|---|---|---|---|---|", *rows]


def _preprocessing(export: Export) -> list[str]:
    """How an image becomes an input, in a sentence."""
    how = export.recipe.preprocessing if export.recipe else None
    if how is None:
        return []
    ways = {
        "stretch": "stretched to",
        "pad": "scaled, keeping its aspect ratio, to fit the top left of",
        "letterbox": "scaled, keeping its aspect ratio, to fit the middle of a grey (114)",
    }
    shapes = dict(export.input_shapes)
    shape = shapes.get(how.input) or next(iter(shapes.values()), ())
    size = " x ".join(map(str, how.size or shape[2:]))
    white = "the largest value of its type (255 for 8 bits)" if how.white is None else f"{how.white:g}"
    way = ways.get(how.resize, how.resize)
    empty = "; the part that an image leaves empty is 0" if how.resize == "pad" else ""
    told = (
        f"`predict.py` prepares an image as follows: {way} {size} (height x width, bilinear), RGB, divided "
        f"by {white}, minus the mean {list(how.mean)}, divided by the standard deviation {list(how.std)}. "
        f"The input is {list(shape)}{empty}."
    )
    return [told, ""]


def _plain(text: str) -> str:
    """A name without characters that Markdown could take for markup."""
    return "".join(character for character in text if character.isalnum() or character in " .,-+/()@_")
