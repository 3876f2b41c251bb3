"""Looking at a whole study: report, dashboard."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from autoprec.cli import _parts as parts
from autoprec.cli._app import (
    StorageOption,
    StudyOption,
    answer,
    app,
    study_of,
    tell,
)
from autoprec.errors import BackendError, how_to_install


@app.command()
def report(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="Where to write it; by default report.html in the study's folder."
        ),
    ] = None,
    study: StudyOption = None,
    storage: StorageOption = None,
    pictures: Annotated[
        bool, typer.Option(help="Run the best points again, to draw their masks and profile their blocks.")
    ] = True,
    png: Annotated[bool, typer.Option("--png", help="Write the front alone, as a picture.")] = False,
) -> None:
    """Write the whole study as one HTML page. It has the front, pictures, reasons and the audit, and needs
    no network to read.

    Example: autoprec report --no-pictures
    """
    chosen = study_of(study, storage)
    findings = chosen.findings(runs=pictures and not png, say=tell)
    target = file or chosen.folder / ("front.png" if png else "report.html")
    answer(parts.write_file(target, parts.front_png(findings) if png else parts.page(findings)))


@app.command()
def dashboard(
    study: StudyOption = None,
    storage: StorageOption = None,
    port: Annotated[
        int, typer.Option(metavar="PORT", min=1, max=65535, help="Port to listen on, on this machine only.")
    ] = 8080,
) -> None:
    """Open the study in optuna-dashboard. Ctrl-C ends it.

    Example: autoprec dashboard --port 8081
    """
    chosen = study_of(study, storage)
    chosen.trials()  # says what to do where there is nothing to show
    beside = Path(sys.executable).with_name("optuna-dashboard")
    program = str(beside) if beside.is_file() else shutil.which("optuna-dashboard")
    if program is None:
        raise BackendError(f"optuna-dashboard is not installed: {how_to_install('dashboard')}")
    command = [program, chosen.address, "--host", "127.0.0.1", "--port", str(port)]
    # In a session of its own it gets no Ctrl-C, to which it would respond with a traceback.
    with subprocess.Popen(command, start_new_session=True) as running:  # noqa: S603 - a program of the user's
        try:
            code = running.wait()
        except KeyboardInterrupt:
            running.terminate()
            code = 0
    raise typer.Exit(code)
