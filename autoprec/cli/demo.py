"""demo: a first front without a model of your own."""

from __future__ import annotations

from typing import Annotated

import typer

from autoprec.cli import _parts as parts
from autoprec.cli._app import answer, app, tell


@app.command()
def demo(
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="50|30m", help="Trials (50) or time (90s, 30m) of this run.", show_default="the demo's"
        ),
    ] = None,
) -> None:
    """Search a small SAM that comes with autoprec. The first front takes about two minutes, on the CPU.

    Writes model, images and definition into studies/, and searches them. Run it again to search further.

    Example: autoprec demo
    """
    path = parts.write_demo()
    tell(f"study demo ({path}): a small EfficientViT-SAM, twelve images to calibrate on, twelve to score")
    chosen = parts.Study.load(path)
    with parts.LiveProgress(parts.console, chosen.spec.name) as progress:
        chosen.search(budget, progress)
    parts.show_plot_and_front(chosen)
    answer("next, in this folder:")
    front, reference = chosen.front(), chosen.reference()
    best = parts.picks(front, reference, chosen.spec.search.accepted_loss) if reference is not None else {}
    number = best.get("fastest", front[0]).number
    for command, what in (
        (f"autoprec explain {number} --study demo", "why the best point is fast, block by block"),
        ("autoprec report --study demo", "everything on one HTML page, with masks"),
        ("autoprec search --study demo --budget 5m", "continue the search"),
        ("autoprec export --study demo", "the best point, for TensorRT, OpenVINO or ONNX Runtime"),
        ("autoprec init MODEL.onnx", "a study of your own model"),
    ):
        answer(f"  {command:<42} {what}")
