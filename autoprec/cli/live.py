"""Commands beside a running search: watch, dashboard."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from autoprec.cli._app import StudyOption, app, console
from autoprec.errors import BackendError
from autoprec.report import LiveProgress, front_table
from autoprec.study import Study


@app.command()
def watch(study: StudyOption = None) -> None:
    """Show the live view of a search that runs in another terminal, until it is over. Ctrl-C leaves it alone.

    Example: autoprec watch --study demo
    """
    chosen = Study.find(study)
    try:
        with LiveProgress(console, chosen.spec.name) as progress:
            front = chosen.follow(progress)
    except KeyboardInterrupt:
        raise typer.Exit from None
    console.print(front_table(front, chosen.reference()))


@app.command()
def dashboard(
    study: StudyOption = None,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Where it listens, on this machine only.")
    ] = 8080,
) -> None:
    """Open the study in optuna-dashboard, in a browser. Ctrl-C ends it.

    Example: autoprec dashboard --port 8081
    """
    chosen = Study.find(study)
    chosen.trials()  # says what to do where there is nothing to show
    beside = Path(sys.executable).with_name("optuna-dashboard")
    program = str(beside) if beside.is_file() else shutil.which("optuna-dashboard")
    if program is None:
        raise BackendError("optuna-dashboard is not installed: pip install 'autoprec[dashboard]'")
    command = [program, f"sqlite:///{chosen.database}", "--host", "127.0.0.1", "--port", str(port)]
    try:
        raise typer.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603 - a program of the user's
    except KeyboardInterrupt:
        raise typer.Exit from None
