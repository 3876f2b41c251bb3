"""Running stored trials again, to profile and to draw them; results are kept in the study's folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from autoprec.errors import StudyError, TrialError, UserError, cannot
from autoprec.files import ensure_regular, own_folder, remove_folder
from autoprec.kept import keep, load
from autoprec.measurement import Bench, Inspect
from autoprec.records import (
    Assignment,
    Identity,
    Inspection,
    Picture,
    Quality,
    Record,
    TrialRecord,
    from_json,
    to_json,
)
from autoprec.spec import StudySpec
from autoprec.store import Store, exclusive
from autoprec.study.preparation import Prepared, prepare

USUAL = "reference"
"""Name of the reference's own inspection."""
_FILE, _KIND = "inspection.json", "inspection 2"
_WORST, _TYPICAL = 2, 1


class _Seen(Record, frozen=True, kw_only=True):
    """An inspection with the SHA-256 of the pictures beside it, by file name."""

    inspection: Inspection
    digests: dict[str, str]


class Looks(NamedTuple):
    """Inspections by trial number, and that of the reference, as far as they exist."""

    trials: dict[int, Inspection]
    usual: Inspection | None


class Inspections:
    """Inspects trials of one study; earlier inspections are read from its folder.

    Args:
        spec: the study's definition.
        identity: what the study is bound to.
        say: receives a line about each slow step.
    """

    def __init__(
        self, spec: StudySpec, identity: Identity, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._spec, self._identity, self._say = spec, identity, say
        self._said: set[str] = set()
        self._study_folder = Path(spec.folder)
        self._folder = self._study_folder / "inspections" / identity.fingerprint.digest
        self.missing: list[str] = []
        """What could not be inspected and why, one line each."""

    def stored(self, records: Sequence[TrialRecord]) -> Looks:
        """What was looked into earlier."""
        inspections = {record.number: self._load(record.assignment.digest) for record in records}
        trials = {number: i for number, i in inspections.items() if i is not None}
        return Looks(trials, self._load(USUAL))

    def ensured(self, records: Sequence[TrialRecord]) -> Looks:
        """Like `stored`, after inspecting what is missing. Trials that cannot be are listed in `missing`."""
        wanted = {record.assignment.digest: record for record in records}
        absent = {digest: record for digest, record in wanted.items() if self._load(digest) is None}
        if absent or self._load(USUAL) is None:
            try:
                with (
                    # Not while the study is being searched: that would disturb timings, and the folder has
                    # one writer.
                    exclusive(self._study_folder),
                    Bench(self._study_folder / "worker.log", self._say) as bench,
                ):
                    with Store.open(self._spec.database, read_only=True) as store:
                        prepared = prepare(self._spec, basis=store.basis(self._spec.name))
                        store.check(self._spec.name, prepared.identity, prepared.blocks)
                    self.look(prepared, bench, absent.values())
            except UserError as error:
                self.missing.append(f"some points were not run again: {error}")
        return self.stored(records)

    def look(
        self,
        prepared: Prepared,
        bench: Bench,
        records: Iterable[TrialRecord],
        going: Callable[[], bool] = lambda: True,
    ) -> None:
        """Inspect the reference and those of `records` that have not been, while `going`.

        Args:
            prepared: rewrites the candidates.
            bench: runs them.
            records: complete trials.
            going: called before each trial; False ends the inspection.
        """
        if self._load(USUAL) is None:
            self._inspect(prepared, bench, prepared.reference, USUAL, None)
        missing = [record for record in records if self._load(record.assignment.digest) is None]
        for number, record in enumerate(missing, 1):
            if not going():
                break
            self._say(f"running trial {record.number} again to look inside ({number} of {len(missing)})")
            quality = record.measurement.quality if record.measurement else None
            try:
                self._inspect(prepared, bench, record.assignment, record.assignment.digest, quality)
            # One that fails, as for memory that others hold now, leaves the report to the rest.
            except TrialError as error:
                self.missing.append(f"trial {record.number} could not be run again ({error.kind}: {error})")

    def _inspect(
        self, prepared: Prepared, bench: Bench, assignment: Assignment, name: str, quality: Quality | None
    ) -> None:
        """Inspect one assignment and keep the result."""
        digest = self._identity.fingerprint.digest
        try:
            folder = own_folder(self._study_folder, "inspections", digest, name)
            remove_folder(folder)
            folder.mkdir(exist_ok=True)  # what could not be removed may stay
        except OSError as error:
            raise StudyError(cannot(error.filename, error)) from error
        with prepared.scratch() as path:
            candidate = prepared.rewrite(assignment, path)
            request = Inspect(
                setup=prepared.setup,
                candidate_path=candidate.model_path,
                worst=quality.worst[:_WORST] if quality else (),
                typical=quality.typical[:_TYPICAL] if quality else (),
                folder=str(folder),
            )
            inspection = bench.inspect(request)
        # Written behind its pictures: after a kill, an inspection without its file is simply made again.
        digests = {path.name: _sha256(path) for path in folder.iterdir()}
        seen = to_json(_Seen(inspection=inspection, digests=digests)).encode()
        try:
            keep(folder / _FILE, _KIND, self._of(name), lambda file: file.write(seen))
        except OSError as error:
            raise StudyError(cannot(folder, error)) from error

    def _load(self, name: str) -> Inspection | None:
        """An earlier inspection; None if there is none, or it was changed since."""
        folder = self._folder / name

        def read(file: IO[bytes]) -> Inspection:
            seen = from_json(file.read().decode(), _Seen)
            if any(_sha256(folder / name) != digest for name, digest in seen.digests.items()):
                raise ValueError("a picture was changed after it was drawn")
            pictures = tuple(_here(picture, folder) for picture in seen.inspection.pictures)
            return msgspec.structs.replace(seen.inspection, pictures=pictures)

        return load(folder / _FILE, _KIND, self._of(name), read, self._say_once)

    def _of(self, name: str) -> str:
        """Everything that an inspection depends on."""
        identity = self._identity
        # The engine and its device too: kernels and masks are those of one machine.
        return " ".join((identity.model, identity.samples, identity.spec, identity.fingerprint.digest, name))

    def _say_once(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self._say(message)


def _here(picture: Picture, folder: Path) -> Picture:
    """A picture with its layers in `folder`, because studies may be moved after they were drawn."""
    layers = ("image", "reference", "candidate", "difference")
    paths = {layer: getattr(picture, layer) for layer in layers}
    return msgspec.structs.replace(
        picture, **{layer: str(folder / Path(path).name) if path else "" for layer, path in paths.items()}
    )


def _sha256(path: Path) -> str:
    ensure_regular(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
