"""Study definitions as files: which one is meant, and how it was begun."""

from __future__ import annotations

import difflib
from pathlib import Path

import msgspec

from autoprec.errors import SpecError, StudyError
from autoprec.spec import StudySpec, load_spec
from autoprec.store import Store

FOLDER = Path("studies")


def find_spec(where: str | None, folder: Path = FOLDER) -> StudySpec:
    """The definition of that path or name; without one, the only one in `folder` or the one marked default.

    Raises `SpecError` naming the definitions that there are.
    """
    if where is not None and (where.endswith(".toml") or Path(where).is_file()):
        return load_spec(Path(where))
    found = {path.stem: path for path in sorted(folder.glob("*.toml"))}
    if where is not None:
        if where in found:
            return load_spec(found[where])
        near = difflib.get_close_matches(where, found, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(found) or 'none'}"
        raise SpecError(f"no study {where!r} in {folder}/; {hint}")
    if len(found) == 1:
        return load_spec(next(iter(found.values())))
    specs = [load_spec(path) for path in found.values()]
    marked = [spec for spec in specs if spec.default]
    if len(marked) == 1:
        return marked[0]
    if not found:
        raise SpecError(f"no study definition in {folder}/; `autoprec init MODEL.onnx` writes one")
    raise SpecError(
        f"{folder}/ holds several: name one with --study ({', '.join(found)}), or mark one `default = true`"
    )


def as_begun(spec: StudySpec) -> StudySpec:
    """The definition as its study was begun: one from before small masks counted less stays so."""
    database = spec.database
    is_stored = isinstance(database, Path) and database.is_file()  # in a shared one there are none so old
    if spec.quality.small_mask is not None or not is_stored:
        return spec
    quality = msgspec.structs.replace(spec.quality, small_mask=0.0)
    before = msgspec.structs.replace(spec, quality=quality)
    try:
        with Store.open(database, read_only=True) as store:
            digest = store.identity(spec.name).spec.partition("+")[0]
    except StudyError:  # who needs the evidence says what is wrong with it
        return spec
    return before if digest == before.digest else spec
