"""Reading a definition's file: paths become absolute, and every message says which key to fix."""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from autoprec.entry import is_entry
from autoprec.errors import SpecError, exhausted
from autoprec.files import ensure_regular
from autoprec.precisions import PRECISIONS, listed
from autoprec.spec.budget import parse_budget
from autoprec.spec.sections import SAFE_REFERENCE, SearchSection, TargetSection
from autoprec.spec.study_spec import StudySpec


def aimed(spec: StudySpec, target: TargetSection) -> StudySpec:
    """The definition with its engine on a target, or on this machine if the target has no address."""
    # Options of an earlier target must not stay behind when `--target` names another.
    here = {key: value for key, value in spec.backend.options.items() if not key.startswith("target")}
    options = {**here, **target.options} if target.address else here
    return msgspec.structs.replace(
        spec, target=target, backend=msgspec.structs.replace(spec.backend, options=options)
    )


_LONGEST, _LARGEST_NUMBER = 1 << 18, 1 << 53
"""Characters of a file; and the first integer that not every float can represent."""
_MOST_DOTS = 256
"""Most dots in one line: a key of thousands of parts takes minutes to parse."""


def load_spec(path: Path) -> StudySpec:
    """Parse a definition and make its paths absolute.

    Raises `SpecError` for a missing or malformed file, an unknown key, an impossible combination.
    """
    table = _read(path)
    try:
        spec = msgspec.convert(table, StudySpec)
    except msgspec.ValidationError as error:
        raise SpecError(f"{path}: {_told(str(error))}") from error
    spec = aimed(_located(spec, path.absolute()), spec.target)
    _check(spec, path)
    try:
        parse_budget(spec.search.budget)
    except SpecError as error:
        raise SpecError(f"{path}: search.{error}") from error
    return spec


def _read(path: Path) -> dict[str, Any]:
    """The tables of a file. Raises `SpecError`, also for numbers that are not finite or too large."""
    try:
        ensure_regular(path)
        with path.open(encoding="utf-8-sig") as file:  # Windows' editors begin UTF-8 with a mark
            text = file.read(_LONGEST)
        if len(text) == _LONGEST or any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
            raise SpecError(f"{path}: is too large for a study definition; name the right file")
        table = tomllib.loads(text)
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such study definition; `autoprec init MODEL.onnx` writes one") from error
    except OSError as error:
        said = exhausted(error) or f"cannot be read ({error.strerror}); make it readable, or name another"
        raise SpecError(f"{path}: {said}") from error
    except RecursionError as error:
        raise SpecError(f"{path}: is nested too deeply for TOML to be read; name the right file") from error
    except ValueError as error:  # TOML errors, bad UTF-8, integers of thousands of digits
        raise SpecError(f"{path}: cannot be read as TOML: {error}") from error
    if key := _place(table, _is_impossible):
        raise SpecError(f"{path}: the number at `{key}` is infinite, NaN or too large; fix it")
    # Some functions of the system refuse such a name, others take it for what stands before the NUL.
    if key := _place(table, lambda value: isinstance(value, str) and "\0" in value):
        raise SpecError(f"{path}: the text at `{key}` contains a NUL character; take it out")
    return table


def _is_impossible(value: Any) -> bool:
    """Whether it is a number that is impossible in any setting."""
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, int) and abs(value) >= _LARGEST_NUMBER


def _place(value: Any, is_bad: Callable[[Any], bool], key: str = "") -> str:
    """The key of the first value that is bad, in a table and all tables within it; empty if there is none."""
    if is_bad(value):
        return key
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    inner = (_place(item, is_bad, f"{key}.{name}" if key else str(name)) for name, item in items)
    return next(filter(None, inner), "")


def _told(words: str) -> str:
    """msgspec's message with a hint at the way out."""
    # Such as: Invalid enum value 'x' - at `$.search.strategy`. msgspec has no other form of it.
    what, _, where = words.partition(" - at `$")
    keys = where.strip("`.").split(".") if where else []
    section: Any = StudySpec
    try:
        for key in keys:
            section = {field.encode_name: field.type for field in msgspec.structs.fields(section)}[key]
    except (KeyError, TypeError):
        section = None
    name = ".".join(keys)
    # msgspec places an unknown key at the table that has it, not at the key.
    if "unknown field" in what and section is not None:
        unknown = what.split("`")[1]
        names = [field.encode_name for field in msgspec.structs.fields(section)]
        near = difflib.get_close_matches(unknown, names, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(names)}"
        return f"unknown key `{'.'.join([*keys, unknown])}`; {hint}"
    if choices := get_args(section) if get_origin(section) is Literal else ():
        return f"{what}; the key `{name}` takes one of: {', '.join(choices)}"
    return f"{what}; fix the key `{name}`" if name else what


def _located(spec: StudySpec, path: Path) -> StudySpec:
    """The definition with absolute paths, and with its name and folder filled in."""

    def absolute(name: str) -> str:
        return str((path.parent / name).absolute())

    def source(name: str) -> str:
        return name if is_entry(name) else absolute(name)

    replace = msgspec.structs.replace
    decoder = spec.pipeline.decoder
    return replace(
        spec,
        name=spec.name or path.stem,
        folder=absolute(spec.folder or path.stem),
        storage=stored_at(spec.storage, path.parent),
        model=replace(spec.model, path=absolute(spec.model.path)),
        pipeline=replace(spec.pipeline, decoder=absolute(decoder) if decoder else None),
        samples=replace(
            spec.samples,
            calibration=source(spec.samples.calibration),
            evaluation=source(spec.samples.evaluation),
        ),
    )


def with_search(
    spec: StudySpec,
    *,
    seed: int | None = None,
    strategy: str | None = None,
    precisions: str | None = None,
    accepted_loss: float | None = None,
) -> StudySpec:
    """The definition with other settings of its search; None keeps the definition's own.

    Args:
        spec: the definition.
        seed: seed of all random draws.
        strategy: name of a strategy.
        precisions: names, separated by commas.
        accepted_loss: the mask loss within which the search looks hardest for speed.

    Raises `SpecError` for values that a definition may not have either.
    """
    changed = {
        "seed": seed,
        "strategy": strategy,
        "precisions": None if precisions is None else [name.strip() for name in precisions.split(",")],
        "accepted_loss": accepted_loss,
    }
    for name, value in changed.items():
        if value is None:
            continue
        # Through msgspec's own checks, so that the command line accepts what a file does, and nothing else.
        told = msgspec.to_builtins(spec.search) | {name: value}
        try:
            spec = msgspec.structs.replace(spec, search=msgspec.convert(told, SearchSection))
        except msgspec.ValidationError as error:
            words = _told(str(error).replace("`$.", "`$.search."))
            raise SpecError(f"--{name.replace('_', '-')}: {words}") from error
    _check(spec, Path("command line"))
    return spec


def stored_at(storage: str, folder: Path) -> str:
    """The URL of a database, with the path of a SQLite file, which is relative to `folder`, made absolute."""
    kind, separator, file = storage.partition("sqlite:///")
    return f"sqlite:///{(folder / file).absolute()}" if separator and not kind else storage


def _check(spec: StudySpec, path: Path) -> None:
    """Raises `SpecError` for combinations that types cannot rule out."""
    search = spec.search
    if not search.precisions:
        raise SpecError(f"{path}: search.precisions is empty; name at least two of: {listed()}")
    base = (spec.backend.base,) if spec.backend.base else ()
    reference = "fp16" if search.reference in ("", SAFE_REFERENCE) else search.reference
    for name in (*search.precisions, reference, *base, *spec.blocks.pin.values()):
        if name not in PRECISIONS:
            raise SpecError(f"{path}: unknown precision {name!r}; known: {listed()}")
    if len(set(search.precisions)) != len(search.precisions):
        raise SpecError(f"{path}: search.precisions names a precision twice")
    roles = {"search.reference": reference, "backend.base": spec.backend.base or reference}
    for role, name in roles.items():
        if PRECISIONS[name].is_quantized:
            raise SpecError(f"{path}: {role} is {name!r}, but it must be a float precision such as 'fp16'")
    if spec.blocks.minimum > spec.blocks.maximum:
        raise SpecError(f"{path}: blocks.minimum is above blocks.maximum")
    _check_samples(spec, path)


def _check_samples(spec: StudySpec, path: Path) -> None:
    """Raises `SpecError` for sets that are equal, or that contain the study's own folder."""
    if spec.samples.calibration == spec.samples.evaluation:
        raise SpecError(
            f"{path}: samples.calibration and samples.evaluation are the same; calibrating on the images "
            "that are scored hides the loss: name disjoint sets"
        )
    if len(spec.samples.mean) != len(spec.samples.std):
        raise SpecError(f"{path}: samples.mean and samples.std must have one number for each channel")
    if (Path(spec.folder.replace("\0", "")) / "study.db").exists():
        return  # begun by a version that allowed the following: its evidence must stay accessible
    for key, name in {"calibration": spec.samples.calibration, "evaluation": spec.samples.evaluation}.items():
        if not is_entry(name) and _lies_in(spec.folder, name):
            raise SpecError(
                f"{path}: the study's folder {spec.folder!r} lies in samples.{key} {name!r}: its pictures "
                "would be taken for samples; name another `folder`"
            )


def _lies_in(folder: str, samples: str) -> bool:
    """Whether `folder` is `samples` or inside it, with links resolved."""
    # A NUL would end the comparison in a ValueError; whoever opens the name reports it.
    inner, outer = (Path(os.path.realpath(name.replace("\0", ""))) for name in (folder, samples))
    return inner == outer or outer in inner.parents
