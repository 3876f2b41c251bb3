"""Hostile inputs: every kind of file that is read, changed by its structure, read in a child process.

Each input must end as one line of `UserError`, or be read as what it was; within 20 seconds and 4 GiB.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import tempfile
import time
import tomllib
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec
import mutators
import numpy as np
import tomlkit
from outcome import Campaign
from PIL import Image

from autoprec.errors import AutoprecError
from autoprec.exporters import read_manifest, write_export
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model, model_digest, open_model
from autoprec.graph.statistics.moments import Moments, load_moments, save_moments
from autoprec.graph.statistics.ranges import Histograms
from autoprec.measurement.masks import ReferenceMasks
from autoprec.records import to_json
from autoprec.samples import load_samples
from autoprec.spec import SamplesSection, load_spec
from autoprec.store import Store, searching
from autoprec.study.verification import verify
from tiny_export import export_of
from tiny_study import write_samples, write_study
from trial_records import BLOCKS, IDENTITY, REFERENCE, complete, failed, running

SECONDS, MEMORY_BYTES = 20, 4 << 30
SAME, TOLD, CHANGED, OTHER = 0, 10, 20, 30
Read = Callable[[Path], object]
Change = Callable[[bytes, random.Random], bytes]


class Kind(msgspec.Struct, frozen=True):
    """One kind of input: the sound file, how it is changed, how it is read.

    `checked` says that whatever is read must be what the sound file holds.
    """

    name: str
    path: Path
    change: Change
    read: Read
    checked: bool = False


def fuzz(campaign: Campaign, folder: Path, count: int) -> None:
    """Read changed inputs of every kind, in turn."""
    kinds = _kinds(folder)
    wanted = {kind.name: _read(kind) for kind in kinds if kind.checked}
    for number in range(count):
        if campaign.is_over:
            return
        kind = kinds[number % len(kinds)]
        whole = kind.path.read_bytes()
        changed = kind.change(whole, campaign.dice)
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(kind.path.parent, copy, symlinks=True)
        (copy / kind.path.name).write_bytes(changed)
        here = msgspec.structs.replace(kind, path=copy / kind.path.name)
        result, words = _in_child(here, wanted.get(kind.name))
        campaign.note(f"fuzz: {kind.name}", result, words)
        if words:
            kept = Path(tempfile.gettempdir()) / f"autoprec-torture-{kind.name}-{number}"
            kept.write_bytes(changed)
            print(f"  kept as {kept}", flush=True)


def _in_child(kind: Kind, wanted: object) -> tuple[str, str]:
    """How reading ended, and what is wrong with that."""
    end, begin = os.pipe()
    child = os.fork()
    if not child:
        os.close(end)
        _child(kind, wanted, begin)
    os.close(begin)
    late = time.monotonic() + SECONDS
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > late:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(end)
            return "hung", f"hung for {SECONDS} s"
        time.sleep(0.002)
    with os.fdopen(end, "rb") as pipe:
        words = pipe.read(4000).decode(errors="replace")
    code = os.waitstatus_to_exitcode(status)
    results = {SAME: "read", TOLD: "told in one line"}
    return (results[code], "") if code in results else ("failed", f"ended with {code}: {words}")


def _child(kind: Kind, wanted: object, words: int) -> None:
    """Never returns."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    code = OTHER
    try:
        found = _read(kind)
        code = CHANGED if kind.checked and found is not None and found != wanted else SAME
        if code == CHANGED:
            os.write(words, b"it was changed, and believed")
    except AutoprecError:
        code = TOLD
    except BaseException:  # noqa: BLE001 - whatever it is, it is what we look for
        os.write(words, traceback.format_exc()[-3000:].encode(errors="replace"))
    os._exit(code)


def _read(kind: Kind) -> object:
    return kind.read(kind.path)


def _kinds(folder: Path) -> list[Kind]:
    """Sound files of every kind, each in a folder of its own."""
    study = folder / "study"
    study.mkdir()
    toml = write_study(study)
    arrays = write_samples(folder / "arrays", count=1)
    images = _images(folder / "images")
    write_export(
        msgspec.structs.replace(export_of(folder / "exported"), decoder_path="", decoder_digest=""),
        folder / "export",
    )
    kept = _kept(folder / "kept")
    return [
        Kind("definition", toml, _toml, load_spec),
        Kind("definition bytes", toml, mutators.bytes_of, load_spec),
        Kind("model", study / "tiny.onnx", _either, lambda path: len(partition(load_model(path)))),
        Kind("decoder", study / "tiny.onnx", _either, lambda path: (open_model(path), model_digest(path))),
        Kind("arrays", arrays / "0.npz", mutators.bytes_of, _samples),
        Kind("image", images / "0.png", mutators.bytes_of, _pictures),
        Kind("prompts", images / "prompts.json", _json, _pictures),
        Kind("manifest", folder / "export" / "manifest.json", _json, _manifest),
        Kind("database", _database(folder / "database"), mutators.bytes_of, _evidence, checked=True),
        Kind("histograms", kept / "h.npz", mutators.bytes_of, _histograms, checked=True),
        Kind("moments", kept / "m.npz", mutators.bytes_of, _moments, checked=True),
        Kind("masks", kept / "reference.masks", mutators.bytes_of, _masks),
        Kind("lock", kept / "search.lock", mutators.bytes_of, lambda path: searching(path.parent)),
    ]


def _either(data: bytes, dice: random.Random) -> bytes:
    return (mutators.model if dice.random() < 0.7 else mutators.bytes_of)(data, dice)


def _toml(data: bytes, dice: random.Random) -> bytes:
    changed = mutators.document(tomllib.loads(data.decode()), dice)
    try:
        return str(tomlkit.dumps(changed)).encode()
    except (TypeError, AttributeError, ValueError, RecursionError):  # TOML has no null, and one kind of top
        return mutators.bytes_of(data, dice)


def _json(data: bytes, dice: random.Random) -> bytes:
    if dice.random() < 0.3:
        return mutators.bytes_of(data, dice)
    return mutators.as_json(mutators.document(msgspec.json.decode(data), dice))


def _samples(path: Path) -> int:
    section = SamplesSection(calibration=str(path.parent), evaluation="")
    return len([s.name for s in load_samples(section, "calibration", {"image": (1, 3, 32, 32)})])


def _pictures(path: Path) -> int:
    section = SamplesSection(calibration=str(path.parent), evaluation="", size=(32, 32))
    found = load_samples(section, "calibration", {"image": (1, 3, 32, 32)})
    return len([(s.prompts, s.truth) for s in found]) + len(found.digest)


def _manifest(path: Path) -> object:
    read_manifest(path.parent)
    (path.parent / "model.onnx").write_bytes(b"")  # the files differ, so no engine is built
    return verify(path.parent)


def _evidence(path: Path) -> object:
    with Store.open(path, read_only=True) as store:
        trials, front = store.trials("demo"), store.front("demo")
        return to_json((trials, front, store.reference("demo"), store.runs("demo")))


def _histograms(path: Path) -> object:
    found = Histograms.load(path)
    return None if found is None else found.ranges("entropy", 99.99)


def _moments(path: Path) -> object:
    found = load_moments(path)
    return None if found is None else {n: (m.second.tobytes(), m.mean.tobytes()) for n, m in found.items()}


def _masks(path: Path) -> object:
    masks = ReferenceMasks(path.parent, path)
    for index in range(len(masks)):
        assert (masks[index] == index + 1).all(), "changed masks were believed"
    return len(masks)


def _images(folder: Path) -> Path:
    (folder / "masks").mkdir(parents=True)
    Image.new("RGB", (40, 30), (10, 200, 30)).save(folder / "0.png")
    Image.fromarray(np.full((30, 40), 3, np.uint8)).save(folder / "masks" / "0.png")
    prompts = {"0.png": [{"point_coords": [[1, 2], [3, 4]], "point_labels": [1, -1], "object": 3}]}
    (folder / "prompts.json").write_bytes(msgspec.json.encode(prompts))
    return folder


def _kept(folder: Path) -> Path:
    folder.mkdir()
    histograms = Histograms()
    histograms.observe("x", np.linspace(-1, 1, 1000))
    histograms.samples = 1
    histograms.save(folder / "h.npz")
    moments = Moments(np.eye(4, dtype=np.float32)[None], np.ones((1, 4), np.float32))
    save_moments({"n": moments}, folder / "m.npz")
    masks = ReferenceMasks(folder, folder / "reference.masks", 4096)
    for number in range(4):
        masks.append(f"{number}.png", np.full((1, 24, 24), number + 1, np.float32))
    (folder / "search.lock").write_text(f"{os.getpid()}\n")
    return folder


def _database(folder: Path) -> Path:
    folder.mkdir()
    with Store.open(folder / "study.db") as store:
        store.bind("demo", IDENTITY, BLOCKS)
        store.put_reference("demo", REFERENCE)
        store.end_run(store.begin_run("demo", "50"), 2)
        for number in range(12):
            store.finish(complete(number, 10.0 - number / 2, 0.01 * number, choices=f"int8 x{number}"))
        store.finish(failed(12))
        store.begin(running(13))
    return folder / "study.db"
