"""Machines elsewhere: target clean."""

from __future__ import annotations

import typer

from autoprec.cli import _parts as parts
from autoprec.cli._app import StudyOption, TargetOption, answer, app, study_of
from autoprec.errors import SpecError

target_app = typer.Typer(
    name="target",
    no_args_is_help=True,
    help="Manage remote machines that engines run on.\n\nExample: autoprec target clean --study demo",
)
app.add_typer(target_app)


@target_app.command()
def clean(target: TargetOption = "", study: StudyOption = None) -> None:
    """Remove what an agent keeps on a target: models, samples, kernel timings, and itself.

    Example: autoprec target clean --study my_study
    """
    chosen = study_of(study)
    spec = (chosen.on(target) if target else chosen).spec
    if not spec.target.address:
        raise SpecError(f"study {spec.name!r} has no target; give one with --target")
    held = parts.TargetBackend({**spec.backend.options, "engine": spec.backend.name}).clean()
    answer(f"removed {held / 1e6:.0f} MB from {spec.target.address}")
