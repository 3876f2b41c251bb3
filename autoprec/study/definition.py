"""Study definitions as files: which one is meant, and a first one for a new model."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from autoprec.errors import SpecError, StudyError
from autoprec.graph.model.load import input_shapes, load_model
from autoprec.spec import SamplesSection, StudySpec, load_spec
from autoprec.store import Store

FOLDER = Path("studies")
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int8+smooth+float-add+adaround+bias")
"""What a first definition lets take part: worth it on the demo and on a trained text detector."""


def find_spec(where: str | None, folder: Path = FOLDER) -> StudySpec:
    """The definition of that path or name; without one, the only one in `folder` or the one marked default.

    Raises `SpecError` naming the definitions that there are.
    """
    if where is not None and (where.endswith(".toml") or Path(where).is_file()):
        return load_spec(Path(where))
    found = {path.stem: path for path in sorted(folder.glob("*.toml"))}
    if where is not None:
        if where in found:
            return load_spec(found[where])
        near = difflib.get_close_matches(where, found, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(found) or 'none'}"
        raise SpecError(f"no study {where!r} in {folder}/; {hint}")
    if len(found) == 1:
        return load_spec(next(iter(found.values())))
    specs = [load_spec(path) for path in found.values()]
    marked = [spec for spec in specs if spec.default]
    if len(marked) == 1:
        return marked[0]
    if not found:
        raise SpecError(f"no study definition in {folder}/; `autoprec init MODEL.onnx` writes one")
    raise SpecError(
        f"{folder}/ holds several: name one with --study ({', '.join(found)}), or mark one `default = true`"
    )


def as_begun(spec: StudySpec, database: Path) -> StudySpec:
    """The definition as its study was begun: one from before small masks counted less stays so."""
    if spec.quality.small_mask is not None or not database.is_file():
        return spec
    quality = msgspec.structs.replace(spec.quality, small_mask=0.0)
    before = msgspec.structs.replace(spec, quality=quality)
    try:
        with Store.open(database, read_only=True) as store:
            digest = store.identity(spec.name).spec.partition("+")[0]
    except StudyError:  # who needs the evidence says what is wrong with it
        return spec
    return before if digest == before.digest else spec


def _image_keys(shape: Sequence[int]) -> list[str]:
    """How pixels become an input of this shape, [1, channels, height, width]."""
    usual = SamplesSection(calibration="", evaluation="")
    return [
        f"size = {list(shape[-2:])}  # height, width",
        f"mean = {list(usual.mean[: shape[1]])}  # of pixels in 0..1, as in the model's training",
        f"std = {list(usual.std[: shape[1]])}",
    ]


def write_definition(
    model: Path,
    *,
    decoder: Path | None = None,
    calibration: Path | None = None,
    evaluation: Path | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    folder: Path = FOLDER,
) -> Path:
    """Write `FOLDER/MODEL.toml` with what the model says and sane defaults; returns its path.

    Raises `ModelError` for a model that cannot be used, `SpecError` if the file is there already, or cannot
    be written.
    """
    target = folder / f"{model.stem}.toml"
    if target.exists():
        raise SpecError(f"{target} is there already; edit it, or move it away")
    graph = load_model(model, dict(shapes or {}))
    inputs = dict(input_shapes(graph))
    image = next((name for name, shape in inputs.items() if len(shape) == 4), next(iter(inputs), ""))
    outputs = [str(value.name) for value in graph.graph.outputs]
    listed = ", ".join(f"{name} {list(shape)}" for name, shape in inputs.items())
    output = "masks" if decoder or "masks" in outputs else outputs[0]

    def quoted(path: Path | None, fallback: str) -> str:
        return json.dumps(os.path.relpath(path, folder) if path else fallback)

    lines = [
        "# What autoprec searches; every key is described in the README.",
        "",
        "[model]",
        f"path = {quoted(model, '')}",
        *(["", "[model.shapes]"] if shapes else []),
        *(f"{json.dumps(name)} = {list(shape)}" for name, shape in (shapes or {}).items()),
        "",
        "[pipeline]",
        f"{'' if decoder else '# '}decoder = {quoted(decoder, 'decoder.onnx')}  # a fixed model behind it",
        f"output = {json.dumps(output)}  # mask logits; this model's outputs: {', '.join(outputs)}",
        "",
        "[samples]  # folders of images (with prompts.json and masks/) or .npz files; they must be disjoint",
        f"calibration = {quoted(calibration, 'data/calibration')}",
        f"evaluation = {quoted(evaluation, 'data/evaluation')}",
        f"input = {json.dumps(image)}  # this model's inputs: {listed}",
        *(_image_keys(inputs[image]) if len(inputs.get(image, ())) == 4 else []),
        "",
        "[quality]",
        'metric = "mask_iou"  # argmax_iou (classes), alpha_mae (matting), "module:function"',
        "",
        "[search]",
        f"precisions = {json.dumps(PRECISIONS)}",
        'reference = "fp16"  # "fp16-safe" keeps blocks that overflow FP16 in FP32',
        "",
        "[backend]",
        'name = "openvino"',
        "",
    ]
    _write(target, lines)
    return target


def _write(target: Path, lines: Sequence[str]) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(lines), encoding="utf-8")
    except OSError as error:
        raise SpecError(
            f"{target}: cannot be written ({error.strerror}); go to a folder that may be written to"
        ) from error
