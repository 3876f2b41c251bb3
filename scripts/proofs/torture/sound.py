"""Writes sound files of every kind that autoprec reads."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from autoprec.exporters import write_export
from autoprec.legality.verdicts import Verdict
from autoprec.records import Basis, Departure, Preprocessing, TrialRecord
from autoprec.store import Store
from families import encoder, segmenter, yolo
from tiny_export import RECIPE, export_of
from trial_records import BLOCKS, IDENTITY, REFERENCE, complete, failed, running
from vit import transformer

STUDY = "demo"
FACTS: dict[str, dict[str, Any]] = {
    "sensitivity": {"stem int8": 0.25, "neck int8": 0.125},
    f"verdict {IDENTITY.fingerprint.digest}": {
        "q": Verdict(pattern="conv", precision="int8", state="legal", ran="i8", error=0.01, digest="q")
    },
    "fidelity": {"export": Departure(step="loading", error=1e-6, value="masks", tolerance=1e-3, samples=2)},
}
"""Facts of a study, by kind and key."""
LOGGED = [complete(number, 4.0, 0.3, choices="int8 int4") for number in (14, 15)]
"""Trials that only the write-ahead log holds."""
_CHOICES = [f"{one} {other}" for one in ("int8", "fp32", "bf16") for other in ("int8", "fp32", "fp16", "fp8")]


def models(folder: Path) -> list[Path]:
    """Models of other structures."""
    home = folder / "models"
    home.mkdir()
    return [
        segmenter(folder / "segmenter" / "segmenter.onnx", "Softmax", 5),
        transformer(home / "transformer.onnx"),
        segmenter(folder / "labels" / "labels.onnx", "ArgMax", 5, nhwc=True),
        yolo(folder / "yolo" / "yolo.onnx"),
        encoder(folder / "encoder" / "encoder.onnx"),
    ]


def images(folder: Path) -> Path:
    """Images of several formats with prompts, and a mask for one."""
    (folder / "masks").mkdir(parents=True)
    Image.new("RGB", (40, 30), (10, 200, 30)).save(folder / "0.png")
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 65536, (30, 40), np.uint16)).save(folder / "1.png")
    Image.fromarray(random.integers(0, 256, (30, 40, 3), np.uint8)).save(folder / "2.tif")
    Image.fromarray(random.integers(0, 256, (30, 40, 3), np.uint8)).save(
        folder / "3.jpg", exif=b"Exif\0\0MM\0*" + b"\0" * 8
    )
    Image.fromarray(np.full((30, 40), 3, np.uint8)).save(folder / "masks" / "0.png")
    point = {"point_coords": [[1, 2], [3, 4]], "point_labels": [1, -1]}
    prompts = {"0.png": [{**point, "object": 3}], "1.png": [point, point], "2.tif": [point], "3.jpg": [point]}
    (folder / "prompts.json").write_bytes(msgspec.json.encode(prompts))
    return folder


def export(folder: Path) -> Path:
    """An export that can be verified."""
    export = export_of(folder / "exported")
    write_export(msgspec.structs.replace(export, decoder_path="", decoder_digest=""), folder / "export")
    return folder / "export"


def lock(folder: Path) -> Path:
    """The lock of a running search."""
    folder.mkdir()
    (folder / "search.lock").write_text(f"{os.getpid()}\n")
    return folder / "search.lock"


def scripts(folder: Path) -> Path:
    """An export with a script for each use, and an image of its own."""
    export = export_of(folder.with_name("scripted"))
    how = Preprocessing(input="", size=None, resize="letterbox", mean=(0.5,) * 3, std=(0.5,) * 3)
    recipe = msgspec.structs.replace(RECIPE, preprocessing=how)
    write_export(msgspec.structs.replace(export, recipe=recipe), folder)
    return folder


def trials(gain: float = 0.0) -> list[TrialRecord]:
    """The database's trials: complete ones, a failed one, a running one; `gain` is added to losses."""
    records = [
        complete(number, 10.0 - number / 2, 0.01 * number + gain, choices=choice)
        for number, choice in enumerate(_CHOICES)
    ]
    return [*records, failed(12), running(13)]


def others(folder: Path) -> list[Path]:
    """Two more databases of the study: as it was earlier, and searched anew with other losses."""
    folder.mkdir()
    earlier, again = database(folder / "earlier", count=12), database(folder / "again", gain=0.5)
    return [earlier, again]


def log(folder: Path) -> Path:
    """The log of a killed study: the last trials are in it alone."""
    live = database(folder)
    (folder / "killed").mkdir()
    with closing(sqlite3.connect(live)) as connection:
        # An open reader keeps SQLite from folding the log into the database when the writer closes.
        connection.execute("SELECT count(*) FROM autoprec_trials").fetchall()
        with Store.open(live) as store:
            for trial in LOGGED:
                store.finish(trial)
        for name in ("study.db", "study.db-wal"):
            shutil.copy(folder / name, folder / "killed" / name)
    return folder / "killed" / "study.db-wal"


def database(folder: Path, *, count: int = 14, gain: float = 0.0) -> Path:
    """A study with `count` trials, its reference and a night; `gain` is added to losses."""
    folder.mkdir()
    with Store.open(folder / "study.db") as store:
        store.bind(STUDY, msgspec.structs.replace(IDENTITY, basis=Basis(version=0, base="fp32")), BLOCKS)
        store.put_reference(STUDY, REFERENCE)
        store.end_run(store.begin_run(STUDY, "50"), 2)
        for trial in trials(gain)[:count]:
            (store.begin if trial.state == "running" else store.finish)(trial)
        for kind, facts in FACTS.items():
            for key, value in facts.items():
                store.put_fact(STUDY, kind, key, value)
    return folder / "study.db"
