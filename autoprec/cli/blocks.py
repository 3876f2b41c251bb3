"""What can be chosen: blocks, sensitivity."""

from __future__ import annotations

from autoprec.cli import _parts as parts
from autoprec.cli._app import (
    JsonOption,
    StorageOption,
    StudyOption,
    app,
    show_or_dump,
    study_of,
)


@app.command()
def blocks(study: StudyOption = None, storage: StorageOption = None, json: JsonOption = False) -> None:
    """List the blocks and the precisions that each may have. Says why the others are not allowed.

    A search asks the engine, which may refuse more: those are listed from then on.

    Example: autoprec blocks --study demo
    """
    listing = study_of(study, storage, is_quiet=json).blocks()
    show_or_dump(listing, parts.blocks_table(listing), json)


@app.command()
def sensitivity(study: StudyOption = None, storage: StorageOption = None, json: JsonOption = False) -> None:
    """Show the mask loss of each block quantised alone. It is the search's prior, not the truth.

    Example: autoprec sensitivity --json
    """
    chosen = study_of(study, storage, is_quiet=json)
    table = chosen.sensitivity()
    show_or_dump(table, parts.sensitivity_table(chosen.stored_blocks(), table), json)
