"""Where a trial departs from the reference: its blocks compared one by one, and the first that breaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from autoprec.backends import computes, create_backend
from autoprec.errors import StudyError, TrialError
from autoprec.measurement import Bench, Locate
from autoprec.measurement.messages import ValueDifference
from autoprec.records import BlockDifference, Layerwise
from autoprec.spec import StudySpec
from autoprec.store import Store, exclusive
from autoprec.study.preparation import Prepared, prepare

TOLERANCE = 0.1
"""A block breaks if a value of it is off by more than this fraction of its spread."""


class Place(NamedTuple):
    """One row of the comparison: a block, or one node of it, with the values that it reads and gives."""

    block: str
    node: str
    reads: tuple[str, ...]
    gives: tuple[str, ...]


def locate(
    spec: StudySpec, store: Store, number: int, *, tolerance: float, samples: int, layers: bool, exactly: bool
) -> Layerwise:
    """Compare a trial's values with the reference's where blocks meet.

    Args:
        spec: of the study.
        store: its evidence.
        number: of the trial, which may have failed.
        tolerance: a block breaks if a value is off by more than this share of its spread.
        samples: how many evaluation samples to run.
        layers: compare every node's values.
        exactly: compute in exact arithmetic, without the engine.

    Raises:
        StudyError: the values cannot be computed, or the study is being searched.
    """
    name, folder = spec.name, Path(spec.folder)
    record = store.trial(name, number)
    if not computes(create_backend(spec.backend.name, spec.backend.options)):
        raise StudyError(f"study {name!r} is simulated: nothing is computed, so there are no values")
    with exclusive(folder), Bench(folder / "worker.log") as bench:
        # As it was written when it was measured, whatever a new probe would say.
        prepared = prepare(spec, basis=store.basis(name))
        store.check(name, prepared.identity, prepared.blocks)
        places = list(_nodes(prepared) if layers else _blocks(prepared))
        try:
            with prepared.scratch() as path:
                candidate = prepared.rewrite(record.assignment, path)
                request = Locate(
                    setup=prepared.setup,
                    candidate_path=candidate.model_path,
                    # Once, also where it is what two blocks give on.
                    values=tuple(dict.fromkeys(value for place in places for value in place.gives)),
                    samples=samples,
                    exactly=exactly,
                )
                located = bench.locate(request)
        except TrialError as error:
            raise StudyError(f"trial {number} cannot be inspected ({error.kind}: {error})") from error
    chosen, usual = record.assignment.as_dict(), prepared.reference.as_dict()
    blocks = tuple(
        _difference(place, chosen[place.block], usual[place.block], located.figures) for place in places
    )
    return Layerwise(
        study=name,
        number=number,
        ran=located.ran,
        samples=located.samples,
        tolerance=tolerance,
        blocks=blocks,
        first=next((one.block for one in blocks if one.error > tolerance), ""),
    )


def _blocks(prepared: Prepared) -> Iterator[Place]:
    for block in prepared.blocks:
        yield Place(block.name, "", block.inputs, block.outputs)


def _nodes(prepared: Prepared) -> Iterator[Place]:
    home = {node: block.name for block in prepared.blocks for node in block.nodes}
    for node in prepared.model.graph:
        reads, gives = (
            tuple(str(value.name) for value in values if value is not None and value.name)
            for values in (node.inputs, node.outputs)
        )
        yield Place(home[str(node.name)], str(node.name), reads, gives)


def _difference(
    place: Place, precision: str, usual: str, figures: Mapping[str, ValueDifference]
) -> BlockDifference:
    """The figures of a place's worst value."""
    here = {value: figures[value] for value in place.gives if value in figures}
    row = BlockDifference(block=place.block, node=place.node, precision=precision, usual=usual)
    if not here:
        return row
    value = max(here, key=lambda name: here[name].error)
    return msgspec.structs.replace(
        row,
        value=value,
        # What is fed values that depart already need not be what breaks.
        before=max((figures[name].error for name in place.reads if name in figures), default=0.0),
        **here[value]._asdict(),
    )
