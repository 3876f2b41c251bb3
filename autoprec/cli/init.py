"""init: a study definition for a model."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from autoprec.cli import _parts as parts
from autoprec.cli._app import answer, app, tell
from autoprec.errors import SpecError

FOLDER = Path("studies")
RecipeOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="One of: efficientvit-sam, sam, mobilesam, sam2-image, yolo-seg, semantic, matting, unet.",
        show_default="a guess, which it reports",
    ),
]


@app.command()
def init(
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL.onnx", help="The model to search.", show_default=False)
    ] = None,
    recipe: RecipeOption = "",
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A .pt file of EfficientViT-SAM, which is exported first."),
    ] = None,
    decoder: Annotated[
        Path | None,
        typer.Option(
            metavar="DECODER.onnx", help="A fixed ONNX model that runs on its output, such as SAM's decoder."
        ),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Images to calibrate on.")
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Images to score masks on.")
    ] = None,
    shape: Annotated[
        list[str], typer.Option(metavar="NAME=1,3,512,512", help="Sizes of a dynamic input; may be repeated.")
    ] = [],  # noqa: B006 - typer copies it
    default: Annotated[bool, typer.Option(help="Make it the default study.")] = True,
) -> None:
    """Write a study definition for a model. A checkpoint of EfficientViT-SAM is exported first.

    Example: autoprec init encoder.onnx --decoder decoder.onnx --calibration images/a --evaluation images/b
    """
    # Both, or neither.
    if (model is None) == (checkpoint is None):
        raise SpecError("name a model: `autoprec init MODEL.onnx`, or a checkpoint: `--checkpoint l0.pt`")
    if checkpoint is not None:
        if decoder or shape:
            raise SpecError("a checkpoint gives the decoder and the sizes: leave --decoder and --shape out")
        model, decoder = parts.export_checkpoint(checkpoint, recipe, FOLDER / "models", tell)
    assert model is not None
    written = parts.write_definition(
        model,
        recipe=recipe,
        decoder=decoder,
        calibration=calibration,
        evaluation=evaluation,
        shapes=_shapes(shape),
        name=checkpoint.stem if checkpoint else "",
    )
    # On stderr: the answer is the last line alone.
    for reason in written.reasons:
        tell(f"{recipe or 'guessed'}: {reason}")
    for warning in written.warnings:
        tell(f"before the search: {warning}")
    name = written.path.stem
    if default:
        before = _made_default(written.path)
        tell(f"{name} is the default study now{f', in place of {before}' if before else ''}")
    answer(f"wrote {written.path}; check it, then run: autoprec search --study {shlex.quote(name)}")


def _made_default(path: Path) -> str:
    """Make a new definition the default one; returns the names of those that were it before."""
    try:
        return ", ".join(other.stem for other in parts.make_default(path))
    except BaseException:  # what was left there would be in the way of the next try
        path.unlink(missing_ok=True)
        raise


def _shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """`image=1,3,512,512` to a name and a shape."""
    try:
        pairs = (text.split("=", 1) for text in texts)
        return {name: tuple(int(size) for size in sizes.split(",")) for name, sizes in pairs}
    except ValueError:
        raise typer.BadParameter("give a shape as NAME=1,3,512,512", param_hint="--shape") from None
