"""Every kind of file that is read: a sound one, how it is changed, how it is read."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import caches
import msgspec
import readers
import sound
import tomlkit
from changes import (
    archives,
    containers,
    crossings,
    databases,
    grammar,
    graphs,
    mutators,
    pictures,
    protos,
    requests,
    texts,
    wires,
)
from readers import Read

from autoprec.graph.model.load import model_digest, open_model
from autoprec.spec import load_spec
from autoprec.store import searching
from tiny_study import write_samples, write_study

Change = Callable[[bytes, random.Random], bytes]


class Kind(msgspec.Struct, frozen=True):
    """One kind of input: the sound file, how it is changed, how it is read.

    Attributes:
        name: as in the table of results.
        path: the sound file.
        change: makes changed bytes from sound ones.
        read: reads a file as its owner does.
        checked: whether anything read must equal what the sound file holds.
        home: the folder its reader needs, by default the file's own.
    """

    name: str
    path: Path
    change: Change
    read: Read
    checked: bool = False
    home: Path | None = None
    is_file: bool = False
    """Whether the campaign reads it first, so that it stays a file."""

    @property
    def folder(self) -> Path:
        """What is copied before a file is changed."""
        return self.home or self.path.parent


def kinds_in(folder: Path) -> list[Kind]:
    """Write sound files of every kind, each in a folder of its own."""
    study = folder / "study"
    study.mkdir()
    toml = write_study(study)
    arrays = write_samples(folder / "arrays", count=1)
    images = sound.images(folder / "images")
    manifest = sound.export(folder) / "manifest.json"
    kept, kept_study = caches.write(folder / "kept"), folder / "kept" / "study"
    database = sound.database(folder / "database")
    models = sound.models(folder)
    tiny = study / "tiny.onnx"
    frame, answers = wires.write(folder / "wire"), wires.write(folder / "answers")
    mask = images / "masks" / "0.png"
    any_toml = pictures.either(_toml, texts.toml_text, grammar.definition)
    any_json = _either(_json, texts.json_text)
    any_png = _either(containers.png, mutators.bytes_of)
    any_tiff = pictures.either(containers.tiff, pictures.tiff_of_another_form, mutators.bytes_of)
    any_archive = pictures.either(containers.archive, archives.form, mutators.bytes_of)
    any_kept = _either(containers.kept_file, mutators.bytes_of)
    return [
        Kind("definition", toml, any_toml, load_spec),
        Kind("definition bytes", toml, mutators.bytes_of, load_spec),
        Kind("definition of a command", toml, any_toml, readers.command("front")),
        Kind("model", tiny, _model(models[0]), readers.blocks),
        *(Kind(f"model {path.stem}", path, _model(tiny), readers.blocks) for path in models),
        Kind("decoder", tiny, _model(models[0]), lambda path: (open_model(path), model_digest(path))),
        Kind("model of init", models[0], _model(tiny), readers.init),
        Kind("arrays", arrays / "0.npz", any_archive, readers.samples),
        Kind("image", images / "0.png", any_png, readers.pictures),
        Kind("deep image", images / "1.png", any_png, readers.pictures),
        Kind("tiff", images / "2.tif", any_tiff, readers.pictures),
        Kind("jpeg", images / "3.jpg", _either(pictures.jpeg, mutators.bytes_of), readers.pictures),
        Kind("mask image", mask, any_png, readers.pictures, home=images),
        Kind("prompts", images / "prompts.json", any_json, readers.pictures),
        Kind("manifest", manifest, any_json, readers.manifest),
        Kind("sealed manifest", manifest, any_json, readers.resealed, is_file=True),
        Kind("database", database, _sqlite, readers.evidence, checked=True),
        Kind(
            "database of commands", database, _either(_sqlite, databases.resealed), readers.view, is_file=True
        ),
        Kind("database repaired", database, _sqlite, readers.repaired),
        Kind("histograms", kept["histograms"], any_kept, caches.histograms, checked=True),
        Kind("moments", kept["moments"], any_kept, caches.moments, checked=True),
        Kind("masks", kept["masks"], any_kept, caches.masks),
        Kind("timing cache", kept["timing cache"], any_kept, caches.timings, checked=True),
        Kind("refined weights", kept["refined weights"], any_archive, caches.refined, checked=True),
        Kind("inspection", kept["inspection"], any_kept, caches.inspection, checked=True, home=kept_study),
        Kind(
            "picture of one",
            kept["picture of an inspection"],
            mutators.bytes_of,
            caches.inspection,
            checked=True,
            home=kept_study,
        ),
        Kind("lock", sound.lock(folder / "lock"), mutators.bytes_of, lambda path: searching(path.parent)),
        Kind("line to a target", frame, _either(wires.frame, mutators.bytes_of), wires.receive, is_file=True),
        Kind("answers of a target", answers, wires.answer, wires.use, is_file=True),
        *_crossed(folder, database),
        *_asked(folder, images, any_json, any_archive),
    ]


def _crossed(folder: Path, database: Path) -> list[Kind]:
    """Databases mixed with another sound one, and databases that lost part of their log."""
    others = sound.others(folder / "others")
    read = readers.crossed([database, *others])
    return [
        Kind("two databases", database, crossings.crossed(others), read, checked=True),
        Kind("log of a database", sound.log(folder / "log"), crossings.log, readers.logged),
    ]


def _asked(folder: Path, images: Path, any_json: Change, any_archive: Change) -> list[Kind]:
    """Requests to an agent, and the files the scripts of an export read."""
    scripts, photo = sound.scripts(folder / "scripts"), (images / "0.png").read_bytes()
    (scripts / "photo.png").write_bytes(photo)
    manifest, sample = scripts / "manifest.json", scripts / "examples" / "00.npz"
    any_png = _either(containers.png, mutators.bytes_of)
    of_script = partial(Kind, home=scripts, is_file=True)
    return [
        Kind(
            "requests to an agent",
            requests.write(folder / "asked"),
            requests.change,
            requests.serve,
            is_file=True,
        ),
        of_script("manifest of verify.py", manifest, any_json, readers.verified_by_script),
        of_script("manifest of predict.py", manifest, any_json, readers.predicted("photo.png")),
        of_script("photo of predict.py", scripts / "photo.png", any_png, readers.predicted("photo.png")),
        of_script("arrays of predict.py", sample, any_archive, readers.predicted("examples/00.npz")),
    ]


def _either(first: Change, second: Change) -> Change:
    return lambda data, dice: (first if dice.random() < 0.65 else second)(data, dice)


def _model(other: Path) -> Change:
    """A change of a model: of its fields, its graph or its bytes, or by grafting a part of `other`."""

    def change(data: bytes, dice: random.Random) -> bytes:
        match dice.randrange(7):
            case 0:
                return mutators.model(data, dice)
            case 3:
                return protos.message(data, dice)
            case 1:
                return graphs.grafted(data, other.read_bytes(), dice)
            case 2:
                return dice.choice(
                    (mutators.bytes_of(data, dice), containers.spliced(data, other.read_bytes(), dice))
                )
            case _:
                return graphs.graph(data, dice)

    return change


def _sqlite(data: bytes, dice: random.Random) -> bytes:
    return dice.choice((mutators.bytes_of, databases.pages, databases.rows))(data, dice)


def _toml(data: bytes, dice: random.Random) -> bytes:
    changed = mutators.document(tomllib.loads(data.decode()), dice)
    try:
        return str(tomlkit.dumps(changed)).encode()
    except (TypeError, AttributeError, ValueError, RecursionError):  # TOML has no null, and one kind of top
        return mutators.bytes_of(data, dice)


def _json(data: bytes, dice: random.Random) -> bytes:
    return mutators.as_json(mutators.document(msgspec.json.decode(data), dice))
