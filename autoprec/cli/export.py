"""Shipping a point: export, verify."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Annotated

import typer

from autoprec.cli import _parts as parts
from autoprec.cli._app import (
    EXIT_DIFFERENT,
    JsonOption,
    StorageOption,
    StudyOption,
    TargetOption,
    answer,
    app,
    show_or_dump,
    study_of,
    tell,
)
from autoprec.files import replacing

PICKS = ("knee", "fastest")
TARGETS = (
    "onnx",
    "examples",
    "verify",
    "python",
    "trtexec",
    "tensorrt8",
    "implicit",
    "modelopt",
    "polygraphy",
    "openvino",
    "readme",
    "json",
)
"""Names of `exporters.EXPORTERS`, repeated here so that completion need not load the exporters."""


def _picks(incomplete: str) -> list[str]:
    return [name for name in PICKS if name.startswith(incomplete)]


def _targets(incomplete: str) -> list[str]:
    return [name for name in TARGETS if name.startswith(incomplete)]


FolderArgument = Annotated[
    Path | None,
    typer.Argument(metavar="FOLDER", help="Where to write it; by default under the study's exports/."),
]
PickOption = Annotated[
    str,
    typer.Option(
        metavar="knee|fastest",
        help="Which point; the fastest is that within --max-loss.",
        autocompletion=_picks,
    ),
]
MaxLossOption = Annotated[
    float | None,
    typer.Option(
        metavar="LOSS",
        help="The largest mask loss to accept.",
        show_default="search.accepted_loss for fastest; none for knee",
    ),
]
TrialOption = Annotated[
    int | None, typer.Option(metavar="TRIAL", help="Export this trial instead of picking one.")
]
ToOption = Annotated[
    list[str],
    typer.Option(
        metavar="TARGET",
        help=f"What to write: {', '.join(TARGETS)}; may be repeated.",
        show_default="all",
        autocompletion=_targets,
    ),
]
ExamplesOption = Annotated[
    int,
    typer.Option(metavar="N", min=0, help="How many samples to include for verification; 0 runs no engine."),
]


@app.command()
def export(
    folder: FolderArgument = None,
    study: StudyOption = None,
    storage: StorageOption = None,
    pick: PickOption = "knee",
    max_loss: MaxLossOption = None,
    trial: TrialOption = None,
    to: ToOption = [],  # noqa: B006 - typer copies it
    examples: ExamplesOption = 4,
    archive: Annotated[bool, typer.Option("--zip", help="Also pack the folder into FOLDER.zip.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print the path of each file.")] = False,
    json: JsonOption = False,
) -> None:
    """Write one point of the front for build tools. The folder has the typed ONNX model, the assignment, the
    manifest, examples and build scripts.

    Example: autoprec export --pick fastest --max-loss 0.01
    """
    if trial is not None and max_loss is not None:
        raise typer.BadParameter("give a trial or a pick, not both", param_hint="--trial, --max-loss")
    chosen = study_of(study, storage, is_quiet=json)
    files = chosen.export(
        folder, pick=pick, max_loss=max_loss, trial=trial, targets=to or None, examples=examples
    )
    written = files[-1].parent
    if not json:
        for path in (written, *(files if verbose else ())):
            answer(path)
    # Read back: what is told is what the folder says.
    shipped = parts.read_manifest(written)
    readme = "; README.md says what each one is" if (written / "README.md").exists() else ""
    tell(f"{len(files)} files{readme}")
    tell(f"trial {shipped.number}: {shipped.speedup:.2f}x the reference, mask loss {shipped.loss:.4f}")
    if trial is None and parts.is_no_faster(shipped.trial, shipped.reference):
        # The limit that the pick was subject to; a knee has none unless one is given.
        limit = chosen.spec.search.accepted_loss if max_loss is None and pick == "fastest" else max_loss
        tell(_no_faster(limit))
    # Relative where that is possible: it is typed next.
    here = written.relative_to(Path.cwd()) if written.is_relative_to(Path.cwd()) else written
    tell(f"next: `autoprec verify {shlex.quote(str(here))}`")
    packed = str(_packed(written)) if archive else ""
    if json:
        paths = {"folder": str(written), "files": [str(path) for path in files], "zip": packed}
        answer(parts.to_json({**paths, "manifest": shipped}))
    elif packed:
        answer(packed)


def _packed(folder: Path) -> Path:
    """A .zip of an export, beside it."""
    target = folder.with_name(f"{folder.name}.zip")
    with replacing(target) as part:
        written = part.with_name(f"{part.name}.zip")  # as `make_archive` calls it
        try:
            shutil.make_archive(str(part), "zip", folder.parent, folder.name)
            written.replace(part)
        finally:
            written.unlink(missing_ok=True)
    return target


def _no_faster(limit: float | None) -> str:
    within = "" if limit is None else f" within a loss of {limit:g}"
    return f"it is no faster than the reference: nothing{within} is; search further, or raise --max-loss"


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `autoprec export` wrote.")],
    trust_metric: Annotated[
        str,
        typer.Option(
            metavar="MODULE:FUNCTION", help="Run this metric, if the export asks for it.", show_default="none"
        ),
    ] = "",
    study: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_PATH", help="Measure on the target of this study.", show_default="here"
        ),
    ] = None,
    target: TargetOption = "",
    json: JsonOption = False,
) -> None:
    """Rebuild an export here and compare it with its manifest. Exits with 4 if it differs.

    With --study or --target it is built and measured on that target. Nothing that the export names is run,
    unless you name it with --trust-metric.

    Example: autoprec verify studies/demo/exports/trial-17
    """
    # Never the target that the export names: an export may come from anybody.
    there = parts.TargetSection(address=target)
    if study is not None:
        chosen = parts.Study.find(study)
        there = (chosen.on(target) if target else chosen).spec.target
    verification = parts.verify_export(folder, tell, trusted_metric=trust_metric, target=there)
    show_or_dump(verification, parts.verification_view(verification), json)
    # After the table: scripts get the figures and the exit code.
    if not verification.is_same:
        raise typer.Exit(EXIT_DIFFERENT)
