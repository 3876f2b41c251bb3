"""Assignments that the user enqueued, which wait in the study until a run measures them."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from autoprec.errors import StudyError
from autoprec.precisions import PRECISIONS
from autoprec.records import Assignment, Block
from autoprec.store import Store
from autoprec.study.preparation import Prepared

KIND = "enqueued"
"""Kind of fact of enqueued mixes, by digest; blocks that one leaves out stay as in the reference."""
Choices = dict[str, str]


def enqueue(store: Store, study: str, blocks: Sequence[Block], choices: Mapping[str, str]) -> None:
    """Store a mix until it is measured. Raises `StudyError` for one that no run could measure.

    Args:
        store: the open database.
        study: name of the study.
        blocks: each with its allowed precisions.
        choices: precisions by block; blocks that are left out stay as in the reference.
    """
    by_name = {block.name: block for block in blocks}
    if not choices:
        raise StudyError("the mix is empty: name at least one block and its precision")
    for name, precision in choices.items():
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "`autoprec blocks` lists them"
            raise StudyError(f"study {study!r} has no block {name!r}; {hint}")
        _refuse(by_name[name], precision)
    ordered = {name: choices[name] for name in by_name if name in choices}
    digest = hashlib.sha256(msgspec.json.encode(ordered)).hexdigest()[:16]
    store.put_fact(study, KIND, digest, ordered)


def enqueued(store: Store, prepared: Prepared) -> Iterator[Assignment]:
    """The waiting mixes as assignments, without those that the engine turned out not to support."""
    allowed = {block.name: block.allowed for block in prepared.blocks}
    usual = prepared.reference.as_dict()
    for choices in store.facts(prepared.spec.name, KIND, Choices).values():
        if all(precision in allowed.get(name, ()) for name, precision in choices.items()):
            yield Assignment.from_mapping(prepared.blocks, usual | choices)


def unfit(store: Store, prepared: Prepared) -> Iterator[str]:
    """One line for each waiting mix that is skipped, since the engine supports less than was known before."""
    blocks = {block.name: block for block in prepared.blocks}
    for choices in store.facts(prepared.spec.name, KIND, Choices).values():
        try:
            for name, precision in choices.items():
                _refuse(blocks[name], precision)
        except StudyError as error:
            yield f"an enqueued mix was skipped: {error}"


def _refuse(block: Block, precision: str) -> None:
    """Raises `StudyError` for a precision that the block may not have, with the reason."""
    if precision in block.allowed:
        return
    why = dict(block.refused).get(precision)
    if why is None:
        why = "it is not in search.precisions" if precision in PRECISIONS else "there is no such precision"
    may = ", ".join(block.allowed)
    raise StudyError(f"block {block.name!r} cannot be {precision!r} ({why}); it may be: {may}")
