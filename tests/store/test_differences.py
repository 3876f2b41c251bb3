"""What differs between two bindings of a study is said in words, with both values."""

from __future__ import annotations

import msgspec
import pytest

from autoprec.records import Basis, Block, Identity
from autoprec.store._identity import differences
from trial_records import BLOCKS, IDENTITY


def told(now: Identity, blocks: tuple[Block, ...] = BLOCKS, old: Identity = IDENTITY) -> list[str]:
    return differences(old, now, BLOCKS, blocks)


def test_the_same_binding_differs_in_nothing() -> None:
    assert told(IDENTITY) == []


@pytest.mark.parametrize(
    ("field", "words"), [("model", "the model"), ("samples", "the samples"), ("spec", "the definition")]
)
def test_inputs_are_named_with_both_values(field: str, words: str) -> None:
    old = msgspec.structs.replace(IDENTITY, **{field: "old"})
    assert told(msgspec.structs.replace(IDENTITY, **{field: "new"}), old=old) == [
        f"{words} (old before, new now)"
    ]
    assert told(msgspec.structs.replace(IDENTITY, **{field: ""}), old=old) == [
        f"{words} (old before, none now)"
    ]


def test_the_same_files_by_another_rule_are_told_as_that() -> None:
    old = msgspec.structs.replace(IDENTITY, samples="a+b")
    (words,) = told(msgspec.structs.replace(IDENTITY, samples="a+b.r2"), old=old)
    assert words.startswith("the samples are read otherwise now (by rule 1 before, 2 now: ")
    (words,) = told(msgspec.structs.replace(IDENTITY, samples="a+c.r2"), old=old)
    assert words == "the samples (a+b before, a+c.r2 now)"


@pytest.mark.parametrize("field", ["backend", "version", "device", "options"])
def test_the_engine_is_named_by_what_differs(field: str) -> None:
    engine = IDENTITY.fingerprint
    changed = msgspec.structs.replace(engine, **{field: "other"})
    (words,) = told(msgspec.structs.replace(IDENTITY, fingerprint=changed))
    assert words == f"the engine's {field} ({getattr(engine, field) or 'none'} before, other now)"


def test_what_the_engine_is_asked_later_changes_nothing_but_another_reference_does() -> None:
    first = msgspec.structs.replace(IDENTITY, basis=Basis(base="fp32", reference="fp16", is_open=True))
    later = Basis(base="bf16", reference="fp16", grids=(("a", "unsigned"),))
    whole = msgspec.structs.replace(IDENTITY, basis=later)
    assert told(whole, old=first) == []
    assert told(first, old=first) == []
    assert told(first, old=whole)
    other = msgspec.structs.replace(IDENTITY, basis=msgspec.structs.replace(later, reference="fp32"))
    (words,) = told(other, old=first)
    assert words == (
        "how candidates are written (fp32 around integers, compared with fp16 before, "
        "bf16 around integers, activations: 1 unsigned, compared with fp32 now)"
    )


def test_grids_of_activations_are_counted() -> None:
    old = msgspec.structs.replace(IDENTITY, basis=Basis(base="fp16", grids=()))
    grids = (("a", "unsigned"), ("b", "biased"), ("c", "unsigned"))
    new = msgspec.structs.replace(IDENTITY, basis=Basis(base="fp32", grids=grids))
    (words,) = told(new, old=old)
    assert words == (
        "how candidates are written (fp16 around integers before, "
        "fp32 around integers, activations: 1 biased, 2 unsigned now)"
    )


def test_blocks_that_came_went_or_changed_are_named_three_of_each() -> None:
    first, *others = BLOCKS
    changed = msgspec.structs.replace(first, macs=first.macs + 1)
    new = tuple(Block(name=f"new{n}", nodes=()) for n in range(4))
    identity = msgspec.structs.replace(IDENTITY, blocks="other")
    (words,) = told(identity, (changed, *new))
    gone = ", ".join(block.name for block in others[:3])
    assert words.endswith(f"now), gone: {gone}, new: new0, new1, new2, changed: {first.name}")
