"""What the files of an export are, for whoever gets the folder: `README.md`."""

from __future__ import annotations

from pathlib import Path

from autoprec.records import Export

README = "README.md"
WORDS = {
    "model.onnx": "the model, strongly typed: every precision is in it, so build it without precision flags",
    "reference.onnx": "the {reference} model that latency and masks are compared with",
    "decoder.onnx": "the fixed model behind it: takes its outputs, and prompts",
    "examples": "samples (`00.npz`: inputs and prompts); `outputs/` holds the logits of both engines",
    "verify.py": "builds both models here, measures, compares with `manifest.json`; exit code 0: the same",
    "predict.py": "runs the model, and the decoder, on an `.npz`",
    "run_openvino.py": "runs and times the model with OpenVINO",
    "trtexec.sh": "builds and times the engine with `trtexec`, of TensorRT 10 or 11",
    "implicit_trtexec.sh": "builds with implicit quantisation, for TensorRT 8.6 to 10; see its limits",
    "implicit.onnx": "the float model with the search's edits, for builders that take precisions by flags",
    "build_polygraphy.py": "builds the engine with Polygraphy, for TensorRT or TensorRT-RTX",
    "modelopt_quantize.py": "quantises the same blocks of `implicit.onnx` with NVIDIA ModelOpt",
    "timing.cache": "kernel timings that the study built with, on {engine}: builds with them on the same "
    "GPU and version are quick, and pick the same kernels",
    "assignment.json": "the precision of each block",
    "manifest.json": "what was measured, on what, and the SHA-256 of every file",
}


def write(export: Export, folder: Path) -> tuple[Path, ...]:
    """Write `README.md`; it tells of the files that are in `folder` by then."""
    measured = export.trial.measurement
    assert measured is not None
    quality, engine = measured.quality, export.identity.fingerprint
    there = {path.name for path in folder.iterdir()} | {"assignment.json", "manifest.json"}
    measured_on = f"{_plain(engine.version)}, {_plain(engine.device)}"
    low, high = quality.loss_interval.low, quality.loss_interval.high
    told = (
        f"{1 / measured.latency.ratio:.2f}x as fast as the {export.reference.precision} model, with a mask "
        f"loss of {quality.loss:.4f} ({low:.4f} to {high:.4f}) against it; measured with "
        f"{_plain(engine.backend)} {_plain(engine.version)} on {_plain(engine.device)}."
    )
    lines = [
        f"# Trial {export.trial.number}",
        "",
        told,
        "",
        *(
            f"- `{name}`: {words.format(reference=export.reference.precision, engine=measured_on)}"
            for name, words in WORDS.items()
            if name in there
        ),
        "",
        "Start with `python verify.py`.",
        "",
        *_preprocessing(export),
    ]
    path = folder / README
    path.write_text("\n".join(lines), encoding="utf-8")
    return (path,)


def _preprocessing(export: Export) -> list[str]:
    """How an image becomes an input, in words."""
    how = export.recipe.preprocessing if export.recipe else None
    if how is None:
        return []
    ways = {
        "stretch": "stretched to",
        "pad": "brought to fit, in its own form, the top left of",
        "letterbox": "brought to fit, in its own form, the middle of a grey (114)",
    }
    shapes = dict(export.input_shapes)
    shape = shapes.get(how.input) or next(iter(shapes.values()), ())
    size = " x ".join(map(str, how.size or shape[2:]))
    white = "the largest value of its bits" if how.white is None else f"{how.white:g}"
    way = ways.get(how.resize, how.resize)
    told = (
        f"Images, if the samples were images: {way} {size} (height x width, bilinear), RGB, divided by "
        f"{white}, less the mean {list(how.mean)}, over the deviation {list(how.std)}. The input is "
        f"{list(shape)}; what an image leaves empty of it is 0 with padding."
    )
    return [told, ""]


def _plain(text: str) -> str:
    """A name without anything that Markdown could take for markup."""
    return "".join(character for character in text if character.isalnum() or character in " .,-+/()@")
