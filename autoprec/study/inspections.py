"""Running stored trials once more, to profile and to draw them; each is kept in the study's folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from autoprec.errors import TrialError, UserError
from autoprec.measurement import Bench, Inspect
from autoprec.records import Assignment, Inspection, Quality, TrialRecord, from_json, to_json
from autoprec.spec import StudySpec
from autoprec.store import Store, exclusive
from autoprec.study.preparation import Prepared, prepare

USUAL = "reference"
"""Where the reference's own inspection is kept."""
_FILE = "inspection.json"
_WORST, _TYPICAL = 2, 1


class Inspections:
    """Looks into trials of one study; what was looked into before is read from its folder.

    Args:
        spec: the study's definition.
        fingerprint: digest of the engine and device that measured.
        say: is told what takes time.
    """

    def __init__(
        self, spec: StudySpec, fingerprint: str, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._spec, self._say = spec, say
        self._study_folder = Path(spec.folder)
        self._folder = self._study_folder / "inspections" / fingerprint
        self.missing: list[str] = []
        """What could not be looked into and why, one line each."""

    def known(self, records: Sequence[TrialRecord]) -> tuple[dict[int, Inspection], Inspection | None]:
        """Inspections by trial number, and the reference's, as far as they are there."""
        found = {record.number: self._load(record.assignment.digest) for record in records}
        return {number: i for number, i in found.items() if i is not None}, self._load(USUAL)

    def made(self, records: Sequence[TrialRecord]) -> tuple[dict[int, Inspection], Inspection | None]:
        """As `known`, after looking into what is missing. What cannot be is told in `missing`.

        Not while the study is searched: it would disturb the timing, and the folder has one writer.
        """
        wanted = {record.assignment.digest: record for record in records}
        absent = {digest: record for digest, record in wanted.items() if self._load(digest) is None}
        if absent or self._load(USUAL) is None:
            try:
                with exclusive(self._study_folder), Bench(self._study_folder / "worker.log") as bench:
                    prepared = prepare(self._spec)
                    with Store.open(self._study_folder / "study.db", read_only=True) as store:
                        store.check(self._spec.name, prepared.identity, prepared.blocks)
                    self.look(prepared, bench, absent.values())
            except UserError as error:
                self.missing.append(f"some points were not run again: {error}")
        return self.known(records)

    def look(
        self,
        prepared: Prepared,
        bench: Bench,
        records: Iterable[TrialRecord],
        going: Callable[[], bool] = lambda: True,
    ) -> None:
        """Look into the reference and into what is missing of `records`, while `going`."""
        if self._load(USUAL) is None:
            self._inspect(prepared, bench, prepared.reference, USUAL, None)
        missing = [record for record in records if self._load(record.assignment.digest) is None]
        for number, record in enumerate(missing, 1):
            if not going():
                break
            self._say(f"running trial {record.number} again for the report ({number} of {len(missing)})")
            quality = record.measurement.quality if record.measurement else None
            try:
                self._inspect(prepared, bench, record.assignment, record.assignment.digest, quality)
            except TrialError as error:
                self.missing.append(f"trial {record.number} could not be run again ({error.kind}: {error})")

    def _inspect(
        self, prepared: Prepared, bench: Bench, assignment: Assignment, name: str, quality: Quality | None
    ) -> None:
        """Look into one assignment and keep what is seen; the file comes last, so a kill leaves none."""
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
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
        (folder / _FILE).write_text(to_json(inspection), encoding="utf-8")

    def _load(self, name: str) -> Inspection | None:
        """What was seen earlier; None if it is not there, or of an older autoprec."""
        try:
            return from_json((self._folder / name / _FILE).read_text(encoding="utf-8"), Inspection)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
