"""Study definitions as files: which one a name selects, and what older studies meant by theirs."""

from __future__ import annotations

import codecs
import difflib
from pathlib import Path
from typing import NamedTuple

import msgspec
import tomlkit

from autoprec.errors import SpecError, StudyError
from autoprec.files import read_small, replacing, resolved
from autoprec.spec import StudySpec, load_spec
from autoprec.store import Store

FOLDER = Path("studies")


def find_spec(where: str | None, folder: Path = FOLDER) -> StudySpec:
    """The definition with that path or name; without one, the only one in `folder` or the one marked default.

    Raises `SpecError` naming the definitions that exist.
    """
    if where is not None and (where.endswith(".toml") or Path(where).is_file()):
        return load_spec(Path(where))
    paths = {path.stem: path for path in sorted(folder.glob("*.toml"))}
    if where is not None:
        if where in paths:
            return load_spec(paths[where])
        near = difflib.get_close_matches(where, paths, n=1)
        choices = f"known: {', '.join(paths)}" if paths else "`autoprec init MODEL.onnx` writes one"
        hint = f"did you mean {near[0]!r}?" if near else choices
        raise SpecError(f"no study {where!r} in {folder}/; {hint}")
    return load_spec(default_definition(folder).path)


class DefaultDefinition(NamedTuple):
    """The definition that commands use if none is named, and why it is that one."""

    path: Path
    why: str


def default_definition(folder: Path = FOLDER) -> DefaultDefinition:
    """Choose the definition that commands use if none is named.

    Raises `SpecError` naming the definitions that exist.
    """
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise SpecError(f"no study definition in {folder}/; `autoprec init MODEL.onnx` writes one")
    if len(paths) == 1:
        return DefaultDefinition(paths[0], f"the only one in {folder}/")
    marked = [path for path in paths if load_spec(path).default]
    if len(marked) == 1:
        return DefaultDefinition(marked[0], "the default; --study names another")
    names = ", ".join(path.stem for path in paths)
    which = f"has `default = true` in {len(marked)} definitions" if marked else "holds several"
    mend = "leave it in one of them" if marked else "mark one `default = true`"
    raise SpecError(f"{folder}/ {which}: name one with --study ({names}), or {mend}")


def make_default(path: Path) -> tuple[Path, ...]:
    """Mark a definition as the default study of its folder; returns those that were the default before.

    The files keep their comments and order. Raises `SpecError` for a file that cannot be written.
    """
    before = []
    for other in sorted(path.parent.glob("*.toml")):
        try:
            document = tomlkit.parse(read_small(other).removeprefix(codecs.BOM_UTF8))
            if other != path and document.pop("default", False):
                before.append(other)
            elif other == path and not document.get("default", False):
                document["default"] = True
            else:
                continue
            # Resolved, so that a link stays a link and the file behind it changes.
            with replacing(resolved(other)) as part:
                part.write_text(tomlkit.dumps(document), encoding="utf-8")
        except (ValueError, OSError) as error:  # TOML errors and bad UTF-8 are ValueErrors
            # A broken definition beside it is no reason not to mark this one.
            if other == path or other in before:
                raise SpecError(
                    f"{other}: cannot be made the default study or another one: {error}"
                ) from error
    return tuple(before)


def as_begun(spec: StudySpec) -> StudySpec:
    """The definition as its study began: studies older than `small_mask` count masks in full."""
    database = spec.database
    is_stored = isinstance(database, Path) and database.is_file()  # shared databases are newer than the key
    if spec.quality.small_mask is not None or not is_stored:
        return spec
    quality = msgspec.structs.replace(spec.quality, small_mask=0.0)
    before = msgspec.structs.replace(spec, quality=quality)
    try:
        with Store.open(database, read_only=True) as store:
            digest = store.identity(spec.name).spec.partition("+")[0]
    except StudyError:  # whoever needs the evidence reports what is wrong with it
        return spec
    return before if digest == before.digest else spec
