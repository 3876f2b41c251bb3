"""The command that looks at the machine: doctor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autoprec.cli._app import (
    EXIT_USER_ERROR,
    JsonOption,
    StudyOption,
    TargetOption,
    app,
    show_or_dump,
    tell,
)
from autoprec.legality.patterns import PATTERNS
from autoprec.legality.verdicts import Legality
from autoprec.precisions import PLAIN
from autoprec.report import fidelity_lines
from autoprec.spec import BackendSection
from autoprec.study import Study
from autoprec.study.diagnosis import Diagnosis, compare, diagnose

_SHOWN = 10
_FLOATS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}
"""Kernel precision names (see `records.KernelTime`) of the float precisions."""


@app.command()
def doctor(
    study: StudyOption = None,
    backend: Annotated[str | None, typer.Option(help="Engine to try; by default the study's.")] = None,
    compute_capability: Annotated[
        str, typer.Option(metavar="8.6,8.9", help="GPUs to build for, where the engine can name them.")
    ] = "",
    target: TargetOption = "",
    repair: Annotated[
        bool, typer.Option("--repair", help="Write the study's evidence anew, without what is damaged.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show device, driver, versions, what to fix, and which precisions the engine takes for which operators.

    Works without a GPU and without TensorRT. Without --study or --backend it tries TensorRT where that is
    installed, else OpenVINO. With --study its evidence is looked at first, and the model is compared, as
    given, with what would be measured. The exit code is 2 if evidence is damaged, or the engine cannot serve,
    or computes something else than the model.

    Example: autoprec doctor --backend tensorrt --compute-capability 8.9
    """
    if repair and study is None:
        raise typer.BadParameter("say which study, as --study NAME", param_hint="--repair")
    spec = _evidence(Study.find(study), repair).spec if study else None
    section = spec.backend if spec else None
    if backend is not None:
        section = BackendSection(name=backend)
    if compute_capability:
        if section is None:
            raise typer.BadParameter(
                "say which engine builds for them, as --backend tensorrt", param_hint="--compute-capability"
            )
        options = section.options | {"compute_capabilities": compute_capability}
        section = BackendSection(name=section.name, base=section.base, options=options)
    if target:
        here = section or BackendSection(name="openvino")
        section = BackendSection(name=here.name, base=here.base, options=here.options | {"target": target})
    found = diagnose(section, say=tell)
    if spec is not None and section is not None and found.engine is not None:
        there = compare(msgspec.structs.replace(spec, backend=section), tell)
        found = msgspec.structs.replace(found, fidelity=there)
    show_or_dump(found, _view(found), json)
    if found.engine is None or any(one.is_beyond for one in found.fidelity):
        raise typer.Exit(2)


def _evidence(study: Study, repair: bool) -> Study:
    """Tell how a study's evidence is; ends the command where it is damaged."""
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
    tell(f"{study.spec.database}: {health.trials} trials, all as they were written")
    return study


def _view(found: Diagnosis) -> RenderableType:
    parts = Table.grid(padding=(0, 2))
    parts.add_column(style="bold", no_wrap=True)
    parts.add_column(overflow="fold")
    for check in found.checks:
        parts.add_row(check.name, Text(check.found, "yellow" if check.remedy else ""))
        if check.remedy:
            parts.add_row("", Text(f"-> {check.remedy}", "dim"))
    if found.engine is not None:
        parts.add_row("engine", Text(f"{found.engine.version} on {found.engine.device}"))
    lines = [Text(line) for line in fidelity_lines(found.fidelity)]
    if found.legality is None:
        return Group(parts, *lines)
    return Group(parts, Text(), _table(found.legality), *_reasons(found.legality), Text(), *lines)


def _table(legality: Legality) -> Table:
    """Patterns by precision: what each runs in."""
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("operator", no_wrap=True)
    for name in PLAIN:
        table.add_column(name, no_wrap=True)
    for pattern in PATTERNS:
        table.add_row(pattern, *(_cell(legality, pattern, name) for name in PLAIN))
    return table


def _cell(legality: Legality, pattern: str, precision: str) -> Text:
    verdict = legality.find(pattern, precision)
    if verdict is None:
        return Text("?", "dim")
    if verdict.is_unfit:
        return Text("fails" if verdict.state == "refused" else "wrong", "red")
    if not verdict.is_legal:
        return Text(f"ran {verdict.ran}", "yellow")
    if verdict.precision != precision:
        return Text(verdict.precision, "dim")  # left in the base type: the precision does not quantise it
    if precision in _FLOATS and verdict.ran and _FLOATS[precision] not in verdict.ran.split(","):
        return Text(f"as {verdict.ran}", "yellow")  # taken, but no faster than what it runs as
    return Text("yes", "green")


def _reasons(legality: Legality) -> Sequence[Text]:
    """Each reason once, with the pairs that it holds for."""
    pairs: dict[str, list[str]] = {}
    for verdict in legality.verdicts:
        if verdict.is_unfit:
            pairs.setdefault(verdict.reason, []).append(f"{verdict.pattern} {verdict.precision}")
    return [Text(f"\n{', '.join(names)}:\n  {reason}", "dim") for reason, names in pairs.items()]
