"""Machines, this one and targets: doctor, target clean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from autoprec.cli import _parts as parts
from autoprec.cli._app import (
    EXIT_USER_ERROR,
    JsonOption,
    StudyOption,
    TargetOption,
    answer,
    app,
    show_or_dump,
    study_of,
    tell,
)
from autoprec.errors import SpecError

if TYPE_CHECKING:
    from autoprec.study import Study

_SHOWN = 10


@app.command()
def doctor(
    study: StudyOption = None,
    backend: Annotated[
        str | None, typer.Option(metavar="NAME", help="Engine to try; by default the study's.")
    ] = None,
    library: Annotated[
        str, typer.Option(metavar="tensorrt|tensorrt-rtx", help="Which TensorRT, where both are installed.")
    ] = "",
    compute_capability: Annotated[
        str, typer.Option(metavar="8.6,8.9", help="GPUs to build for, where the engine can name them.")
    ] = "",
    target: TargetOption = "",
    repair: Annotated[
        bool, typer.Option("--repair", help="Rebuild the study's evidence, without what is damaged.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check the engine, the device and the driver. Says what to fix, and which precisions the engine takes
    for which operators.

    Works without a GPU and without TensorRT. Without --study or --backend it tries TensorRT if it is
    installed, else OpenVINO. With --study it first checks the stored evidence, and compares the original
    model with what would be measured. Exits with 2 if evidence is damaged, or if the engine does not work or
    computes something other than the model.

    Example: autoprec doctor --backend tensorrt --compute-capability 8.9
    """
    if repair and study is None:
        raise typer.BadParameter("name the study: --study NAME", param_hint="--repair")
    spec = _evidence(study_of(study), repair).spec if study else None
    section = spec.backend if spec else None
    if backend is not None:
        section = parts.BackendSection(name=backend)
    if library:
        here = section or parts.BackendSection(name=parts.installed_engine(tuple(parts.machine_checks())))
        section = msgspec.structs.replace(here, options=here.options | {"library": library})
    # Only engines that build without their GPU can be asked for another.
    if compute_capability:
        if section is None:
            raise typer.BadParameter(
                "name the engine that builds for them: --backend tensorrt", param_hint="--compute-capability"
            )
        options = section.options | {"compute_capabilities": compute_capability}
        section = parts.BackendSection(name=section.name, base=section.base, options=options)
    if target:
        here = section or parts.BackendSection()
        section = parts.BackendSection(
            name=here.name, base=here.base, options=here.options | {"target": target}
        )
    diagnosis = parts.diagnose(section, say=tell)
    if spec is not None and section is not None and diagnosis.engine is not None:
        there = parts.compare(msgspec.structs.replace(spec, backend=section), tell)
        diagnosis = msgspec.structs.replace(diagnosis, fidelity=there)
    show_or_dump(diagnosis, parts.diagnosis_view(diagnosis), json)
    # Last: everything is shown before the exit code says that something is wrong.
    if diagnosis.engine is None or any(one.is_beyond for one in diagnosis.fidelity):
        raise typer.Exit(2)


def _evidence(study: Study, repair: bool) -> Study:
    """Report the state of a study's evidence; exits if it is damaged."""
    # Only database files are examined and repaired; before the first search there is none.
    if not (isinstance(study.spec.database, Path) and study.spec.database.exists()):
        return study
    health = study.health()
    if health.faults and repair:
        tell(f"the damaged evidence is kept as {study.repair()}")
        health = study.health()
    for fault in health.faults[:_SHOWN]:
        tell(fault)
    if health.faults:
        tell(
            f"{len(health.faults)} faults in {study.spec.database}; {health.trials} trials are intact: "
            "`--repair` writes those anew, and the front and Optuna's tables from them"
        )
        raise typer.Exit(EXIT_USER_ERROR)
    tell(f"{study.spec.database}: {health.trials} trials, all intact")
    return study


target_app = typer.Typer(
    name="target",
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
    answer(f"removed {held / 1e6:.0f} MB from {spec.target.address.removesuffix(':')}")
