"""What differs between two bindings of a study, in words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from autoprec.records import Basis, Block, Identity

_RULE = re.compile(r"\.r(\d+)")
"""Follows the digest of samples that depend on the version of the reading rule."""


def differences(
    old: Identity, new: Identity, was: Sequence[Block] = (), now: Sequence[Block] = ()
) -> list[str]:
    """One phrase for each difference, with both values; empty if the study may be resumed.

    Args:
        old: the identity that the study is bound to.
        new: the current one.
        was: the study's blocks.
        now: the current blocks.
    """
    old, new = old.typed(), new.typed()
    named = {"model": "the model", "samples": "the samples", "spec": "the definition"}
    changes = [
        _read_otherwise(old.samples, new.samples)
        if field == "samples" and _files(old.samples) == _files(new.samples)
        else _changed(words, getattr(old, field), getattr(new, field))
        for field, words in named.items()
        if getattr(old, field) != getattr(new, field)
    ]
    changes += [
        _changed(f"the engine's {field}", before, after)
        for field in ("backend", "version", "device", "options")
        if (before := getattr(old.fingerprint, field)) != (after := getattr(new.fingerprint, field))
    ]
    if old.basis and new.basis and not old.basis.admits(new.basis):
        changes.append(_changed("how candidates are written", _told(old.basis), _told(new.basis)))
    if old.blocks != new.blocks:
        changes.append(_changed("the blocks", old.blocks, new.blocks) + _moved(was, now))
    return changes


def _files(samples: str) -> str:
    """The digests of both sets' files, without the version of the rule by which they are read."""
    return _RULE.sub("", samples)


def _read_otherwise(old: str, new: str) -> str:
    """The phrase for equal files that another version of the reading rule reads differently."""
    before, after = (max((1, *map(int, _RULE.findall(samples)))) for samples in (old, new))
    return (
        f"the samples are read otherwise now (by rule {before} before, {after} now: TIFF on its side, with "
        "more bands or packed bits, rotated deep PNG, deep JPEG 2000, prompts with mask_input or "
        "input_points): what was measured is of other samples"
    )


def _changed(what: str, before: str, after: str) -> str:
    return f"{what} ({before or 'none'} before, {after or 'none'} now)"


def _told(basis: Basis | None) -> str:
    if basis is None:
        return ""
    grids = Counter(grid for _, grid in basis.grids)
    listed = ", ".join(f"{count} {name}" for name, count in sorted(grids.items()))
    compared = f", compared with {basis.reference}" if basis.reference else ""
    return f"{basis.base} around integers{', activations: ' if listed else ''}{listed}{compared}"


def _moved(was: Sequence[Block], now: Sequence[Block]) -> str:
    """Which blocks came, went or changed; three names of each suffice to recognise the cause."""
    before, after = {block.name: block for block in was}, {block.name: block for block in now}
    kinds = {
        "gone": [name for name in before if name not in after],
        "new": [name for name in after if name not in before],
        "changed": [name for name in before if name in after and before[name] != after[name]],
    }
    listed = (f"{kind}: {', '.join(names[:3])}" for kind, names in kinds.items() if names)
    return "".join(f", {words}" for words in listed)
