"""init: a study definition for a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoprec.cli._app import answer, app
from autoprec.study import write_definition


@app.command()
def init(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model to search.")],
    decoder: Annotated[
        Path | None, typer.Option(help="A fixed ONNX model behind it, as SAM's decoder.")
    ] = None,
    calibration: Annotated[Path | None, typer.Option(help="Folder of images to calibrate on.")] = None,
    evaluation: Annotated[Path | None, typer.Option(help="Folder of images to score masks on.")] = None,
    shape: Annotated[
        list[str], typer.Option(metavar="NAME=1,3,512,512", help="Sizes of a dynamic input; may be repeated.")
    ] = [],  # noqa: B006 - typer copies it
) -> None:
    """Write a study definition for a model.

    Example: autoprec init encoder.onnx --decoder decoder.onnx --calibration images/a --evaluation images/b
    """
    path = write_definition(
        model, decoder=decoder, calibration=calibration, evaluation=evaluation, shapes=_shapes(shape)
    )
    answer(f"wrote {path}; look through it, then: autoprec search --study {path.stem}")


def _shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """`image=1,3,512,512` to a name and a shape."""
    try:
        pairs = (text.split("=", 1) for text in texts)
        return {name: tuple(int(size) for size in sizes.split(",")) for name, sizes in pairs}
    except ValueError:
        raise typer.BadParameter("give a shape as NAME=1,3,512,512", param_hint="--shape") from None
