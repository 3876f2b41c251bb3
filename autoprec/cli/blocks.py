"""What can be chosen: blocks, sensitivity."""

from __future__ import annotations

from autoprec.cli._app import (
    JsonOption,
    StorageOption,
    StudyOption,
    app,
    show_or_dump,
)
from autoprec.report import (
    blocks_table,
    sensitivity_table,
)
from autoprec.study import Study


@app.command()
def blocks(study: StudyOption = None, storage: StorageOption = None, json: JsonOption = False) -> None:
    """List the model's blocks: ops, parameters, MACs, allowed precisions and why others are not.

    Example: autoprec blocks --study demo
    """
    found = Study.find(study, storage).blocks()
    show_or_dump(found, blocks_table(found), json)


@app.command()
def sensitivity(study: StudyOption = None, storage: StorageOption = None, json: JsonOption = False) -> None:
    """Show each block's mask loss alone in a quantised precision: the search's prior, not the truth.

    Example: autoprec sensitivity --json
    """
    chosen = Study.find(study, storage)
    table = chosen.sensitivity()
    show_or_dump(table, sensitivity_table(chosen.stored_blocks(), table), json)
