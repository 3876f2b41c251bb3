"""How each kind of file is read, and what must hold of what was read."""

from __future__ import annotations

import os
import random
import re
import runpy
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sound
from outcome import EXPECTED
from sound import STUDY

from autoprec.cli import main
from autoprec.exporters import read_manifest
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import input_shapes, load_model
from autoprec.records import to_json
from autoprec.samples import load_samples, warnings_of
from autoprec.spec import SamplesSection
from autoprec.store import Store, examine, rebuild
from autoprec.study.shipping.verification import verify
from tiny_study import write_study

Read = Callable[[Path], object]
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069]")


def blocks(path: Path) -> object:
    """Load a model, and group it."""
    model = load_model(path)
    return len(partition(model)), input_shapes(model)


def command(*words: str) -> Read:
    """A reader that runs a command on a definition in this process and checks its output."""

    def run(path: Path) -> object:
        os.chdir(path.parent)
        return _ran(*words, "--study", str(path))

    return run


def _ran(*words: str) -> int:
    return _heard(lambda: main(words))


def _heard(run: Callable[[], None]) -> int:
    """Run a program in this process and return its exit code.

    Raises:
        AssertionError: the exit code is not an expected one, or the output holds a traceback or characters
            that control a terminal.
    """
    code = 0
    with tempfile.TemporaryFile() as heard:
        for stream in (1, 2):  # the process's own descriptors: native libraries print past sys.stdout
            os.dup2(heard.fileno(), stream)
        try:
            run()
        except SystemExit as end:
            code = int(end.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
        heard.seek(0)
        text = heard.read().decode(errors="replace")
    assert code in EXPECTED, f"exit code {code}: {text[-2000:]}"
    assert "Traceback" not in text, text[-2000:]
    assert not _STEERING.search(text), f"steers a terminal: {text[-2000:]!a}"
    return code


def init(path: Path) -> object:
    """Write a definition for a model."""
    os.chdir(path.parent)
    return _ran("init", path.name)


def view(path: Path) -> object:
    """One of the commands that read evidence."""
    dice = random.Random(path.read_bytes())
    write_study(path.parent)
    definition = path.parent / f"{STUDY}.toml"
    definition.write_text((path.parent / "tiny.toml").read_text())
    (path.parent / STUDY).mkdir()
    path.rename(path.parent / STUDY / path.name)
    commands = (
        ("front",), ("front", "--json"), ("show", "3"), ("show", "12", "--json"), ("show", "13"),
        ("explain", "2", "--no-run"), ("report", "--no-pictures"), ("export", "--examples", "0", "out"),
    )  # fmt: skip
    return command(*dice.choice(commands))(definition)


def samples(path: Path) -> int:
    """All samples of an archive."""
    section = SamplesSection(calibration=str(path.parent), evaluation="")
    return len([s.name for s in load_samples(section, "calibration", {"image": (1, 3, 32, 32)})])


def pictures(path: Path) -> int:
    """All samples of a folder of images, and the warnings about them."""
    folder = str(path.parent.parent if path.parent.name == "masks" else path.parent)
    section = SamplesSection(calibration=folder, evaluation=folder, size=(32, 32))
    loaded = load_samples(section, "calibration", {"image": (1, 3, 32, 32)})
    told = warnings_of(section, loaded, loaded)
    return len([(s.prompts, s.truth) for s in loaded]) + len(loaded.digest) + len(told)


def manifest(path: Path) -> object:
    """Read a manifest, and verify its export."""
    read_manifest(path.parent)
    (path.parent / "model.onnx").write_bytes(b"")  # the files differ, so no engine is built
    return verify(path.parent)


def resealed(path: Path) -> object:
    """Verify an export whose changed manifest has a valid checksum, as an attacker would write it."""
    _seal(path)
    (path.parent / "model.onnx").write_bytes(b"")
    os.chdir(path.parent)
    return _ran("verify", ".")


def _seal(path: Path) -> None:
    from autoprec.exporters.manifest import _digest, _sealed  # noqa: PLC0415

    text = path.read_bytes().decode("utf-8", "replace")
    blank = re.sub(r'"checksum": "[0-9a-f]{64}"', '"checksum": ""', text, count=1)
    path.write_text(blank.replace(_sealed(""), _sealed(_digest(blank)), 1), encoding="utf-8")


def evidence(path: Path) -> object:
    """The whole content of a database, as JSON."""
    with Store.open(path, read_only=True) as store:
        trials, front = store.trials(STUDY), store.front(STUDY)
        facts = [store.facts(STUDY, kind, Any) for kind in sound.FACTS]
        return to_json((trials, front, store.reference(STUDY), store.runs(STUDY), facts))


def crossed(sound_ones: Sequence[Path]) -> Read:
    """A reader of a database mixed from several; the content of any single one is as good as the first's."""
    allowed = [evidence(path) for path in sound_ones]

    def read(path: Path) -> object:
        held = evidence(path)
        return allowed[0] if held in allowed else held

    return read


def logged(path: Path) -> object:
    """Check that a database with a damaged log holds trials as written, and all that its log did not hold."""
    written = {trial.number: to_json(trial) for trial in [*sound.trials(), *sound.LOGGED]}
    with Store.open(path.with_name("study.db")) as store:
        saved = {trial.number: to_json(trial) for trial in store.trials(STUDY)}
        store.front(STUDY)
    assert saved.items() <= written.items(), "a trial is not as it was written"
    assert len(saved) >= len(sound.trials()), "trials are lost that were not in the log"
    return None


def verified_by_script(path: Path) -> object:
    """Run the `verify.py` of an export on its changed manifest, given a valid checksum."""
    _seal(path)
    return _heard(lambda: _run_script(path.parent, "verify.py", "--seconds", "0.02"))


def predicted(sample: str) -> Read:
    """A reader that lets `predict.py` compute masks of an image or of arrays.

    Args:
        sample: path of the input relative to the export; one that ends in `png` is an image.
    """

    def read(path: Path) -> object:
        folder = path.parents[sample.count("/") if path.name != "manifest.json" else 0]
        output = "mask.png" if sample.endswith("png") else "masks.npz"
        words = (str(folder / sample), "--output", str(folder / output))
        return _heard(lambda: _run_script(folder, "predict.py", *words))

    return read


def _run_script(folder: Path, name: str, *words: str) -> None:
    argv, path = sys.argv, list(sys.path)
    try:
        sys.argv = [str(folder / name), *words]
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        sys.argv, sys.path[:] = argv, path


def repaired(path: Path) -> object:
    """Repair a database; whatever is saved must be as it was written, and sound."""
    written = {trial.number: to_json(trial) for trial in sound.trials()}
    rebuild(path)
    health = examine(path)
    assert not health.faults, f"faults after repair: {health.faults}"
    with Store.open(path, read_only=True) as store:
        if STUDY in store.studies():
            saved = {trial.number: to_json(trial) for trial in store.trials(STUDY)}
            assert saved.items() <= written.items(), "repair made up a trial"
            store.front(STUDY)
    return None
