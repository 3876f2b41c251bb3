"""What a study's engine supports, found out before the first trial for the patterns of its model.

The engine is asked in a worker, which may die of a question. Verdicts are kept in the study: a later run asks
only for what is missing; another engine, driver or version of the writer asks for everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from autoprec.backends import Backend, computes
from autoprec.errors import TrialError
from autoprec.files import scratch
from autoprec.graph.grids.grid import SIGNED, UNSIGNED
from autoprec.graph.ops.signs import never_negative
from autoprec.legality.cuts import Cutout, cuts
from autoprec.legality.patterns import node_patterns
from autoprec.legality.pieces import WritingStyle, pattern_piece, pattern_question, question
from autoprec.legality.verdicts import Legality, Verdict, patterns_of, refused_precisions
from autoprec.measurement import Bench, Race
from autoprec.precisions import PRECISIONS
from autoprec.records import Basis
from autoprec.spec import StudySpec
from autoprec.store import Store
from autoprec.study.preparation.asking import Asker
from autoprec.study.preparation.prepared import rewriter_in
from autoprec.study.preparation.stages import Calibrated, Loaded, silent_basis, uniform

INT8 = PRECISIONS["int8"]


class Prober:
    """Asks the engine of a study, and remembers the answers.

    Args:
        spec: the definition.
        benches: the workers, used in parallel; the first one alone for few questions, the last one to time.
        store: keeps the verdicts.
        say: receives a line about each slow step.
    """

    def __init__(
        self, spec: StudySpec, benches: Sequence[Bench], store: Store, say: Callable[[str], None]
    ) -> None:
        self._spec, self._race, self._store, self._say = spec, benches[-1].race, store, say
        self._asker = Asker(spec, benches, store, say)

    def basis(self, loaded: Loaded, calibrated: Calibrated) -> Basis:
        """How a new study writes candidates: the grid of each activation, the float precision around
        integers, and the reference.

        Raises `BackendError` if the engine is not there.
        """
        silent = silent_basis(loaded)
        if not computes(loaded.backend):
            return silent
        reference = self.reference(loaded)
        grids = self._grids(loaded, calibrated, silent.base)
        base = self._base(loaded, calibrated, silent.base, grids)
        return Basis(base=base, reference=reference, grids=grids)

    def reference(self, loaded: Loaded) -> str:
        """The precision of the reference: the study's, else the definition's, else FP16 where the engine has
        it, else FP32."""
        # What could not be tried before may have an answer now, but the reference is measured.
        if (begun := self._store.basis(self._spec.name)) is not None and begun.reference:
            return begun.reference
        silent = silent_basis(loaded)
        if loaded.spec.search.reference or not computes(loaded.backend):
            return silent.reference
        names = ("fp32", "fp16")
        return self._legality(loaded, silent.base, names).same_floats(names).get("fp16", "fp16")

    def of_reference(self, loaded: Loaded) -> Basis:
        """A new study's basis as far as its reference's own trial needs it."""
        return msgspec.structs.replace(silent_basis(loaded), reference=self.reference(loaded), is_open=True)

    def anticipate(self, loaded: Loaded, basis: Basis | None) -> None:
        """Ask what does not depend on the calibration, while that is under way."""
        if computes(loaded.backend):
            base = basis.base if basis else silent_basis(loaded).base
            self._legality(loaded, base, loaded.spec.search.precisions)

    def refused(self, loaded: Loaded, calibrated: Calibrated, basis: Basis) -> dict[tuple[str, str], str]:
        """(block, precision) to the reason, for what the engine does not support; empty for simulated
        engines.

        Raises `BackendError` if the engine is not there.
        """
        backend, names = loaded.backend, loaded.spec.search.precisions
        if not computes(backend):
            return {}
        if others := backend.clocks().other_processes:
            self._say(f"{others} other processes use the GPU: they disturb timings; stop them if you can")
        # Studies of 0.1, whose basis has no version, allowed what is computed wrongly: their choices must
        # stay.
        legality = self._legality(loaded, basis.base, names, lenient=not basis.version)
        refused = refused_precisions(loaded.blocks, loaded.model, legality, names)
        if basis.version:
            if not basis.is_open:  # the grids are known
                refused = self._miscomputed(loaded, calibrated, basis) | refused
            refused |= _indistinct(loaded, legality, calibrated.overflow)
        return refused

    def _legality(
        self, loaded: Loaded, base: str, precisions: Sequence[str], *, lenient: bool = False
    ) -> Legality:
        """Verdicts on the model's patterns; `lenient` allows what is computed wrongly."""
        nodes = node_patterns(loaded.model)
        patterns = {pattern for block in loaded.blocks for pattern in patterns_of(block, nodes)}
        wanted = Legality(base=base).lacks(patterns, precisions)
        with self._scratch() as folder:
            style = WritingStyle.of(loaded.backend, base)
            pieces = {pattern: pattern_piece(pattern, folder) for pattern, _ in wanted}
            verdicts = self._asker.answers(
                loaded.backend,
                [pattern_question(pieces[p], PRECISIONS[name], style, folder) for p, name in wanted],
            )
        if lenient:
            verdicts = [v.but("legal", "") if v.state == "wrong" else v for v in verdicts]
        return Legality(base=base, verdicts=tuple(verdicts))

    def _grids(self, loaded: Loaded, calibrated: Calibrated, base: str) -> tuple[tuple[str, str], ...]:
        """(value name, grid) of activations that are not on the signed grid.

        Of the grids that the engine offers, in its order: the first that it computes correctly and in
        integers, else the first that it computes correctly.
        """
        open_, chosen = _cuts(loaded, calibrated), dict[str, str]()
        safe, fallback = never_negative(loaded.model.graph), dict[str, str]()
        for grid in loaded.backend.grids:
            # Unsigned integers cannot hold what may be negative.
            fit = [cut for cut in open_ if grid != UNSIGNED or safe.issuperset(cut.values)]
            verdicts = self._on_grids(loaded.backend, base, [(cut, grid) for cut in fit])
            for cut, verdict in zip(fit, verdicts, strict=True):
                if verdict is None or verdict.is_unfit:
                    continue
                target = chosen if verdict.state == "legal" else fallback
                for value in cut.values:
                    target.setdefault(value, grid)
            open_ = [cut for cut in open_ if cut.values[0] not in chosen]
        merged = {**{value: grid for value, grid in fallback.items() if value not in chosen}, **chosen}
        return tuple((value, grid) for value, grid in merged.items() if grid != SIGNED)

    def _base(
        self, loaded: Loaded, calibrated: Calibrated, safe: str, grids: tuple[tuple[str, str], ...]
    ) -> str:
        """The float precision around integers: `safe`, or a faster one that costs no block its INT8."""
        if loaded.spec.backend.base or not any(map(_is_integer, loaded.spec.search.precisions)):
            return safe
        for base in loaded.backend.bases:
            if base != safe and self._serves(loaded, calibrated, base, safe, grids):
                self._say(f"INT8 blocks compute their float parts in {base}: it is faster here than {safe}")
                return base
        return safe

    def _serves(
        self, loaded: Loaded, calibrated: Calibrated, base: str, safe: str, grids: tuple[tuple[str, str], ...]
    ) -> bool:
        """Whether INT8 in `base` is supported wherever it is in `safe`, is computed correctly, and is faster.

        Args:
            loaded: model and engine.
            calibrated: statistics of the model.
            base: the float precision to try around integers.
            safe: the one to compare with.
            grids: grids of activations.
        """
        if self._legality(loaded, safe, (safe, base)).same_floats((safe, base)):
            return False
        if self._refused_int8(loaded, base) - self._refused_int8(loaded, safe):
            return False
        # OpenVINO computes INT8 convolutions in BF16 graphs to garbage on an AMD EPYC with AVX512-VNNI,
        # without an error.
        lost, before = (
            self._miscomputed(loaded, calibrated, Basis(base=one, grids=grids)).keys() for one in (base, safe)
        )
        if lost - before:
            return False
        how, chosen = loaded.spec.calibration, uniform(loaded.blocks, INT8.name)
        ranges = calibrated.histograms.ranges(how.method, how.percentile)
        with self._scratch() as folder:
            paths = {one: folder / f"{one}.onnx" for one in (base, safe)}
            for one, path in paths.items():
                rewriter_in(loaded, loaded.blocks, ranges, base=one, grids=dict(grids)).write(chosen, path)
            race = Race(
                backend=self._spec.backend,
                timing=self._spec.timing,
                reference_path=str(paths[safe]),
                candidate_path=str(paths[base]),
            )
            try:
                return self._race(race).ratio_interval.high < 1
            except TrialError as error:
                self._say(f"{base} around integers could not be timed ({error.kind}: {error})")
                return False

    def _scratch(self) -> AbstractContextManager[Path]:
        """A folder for models of questions, after removing what killed processes left there."""
        # Not in a folder that hosts share: whether a process is alive is known on its own host alone.
        folder = None if self._store.is_shared else Path(self._spec.folder)
        return scratch("autoprec-probe-", folder)

    def _refused_int8(self, loaded: Loaded, base: str) -> set[str]:
        """Names of the blocks whose patterns the engine does not support in INT8 with `base` around it."""
        names = (INT8.name,)
        legality = self._legality(loaded, base, names)
        return {block for block, _ in refused_precisions(loaded.blocks, loaded.model, legality, names)}

    def _miscomputed(
        self, loaded: Loaded, calibrated: Calibrated, basis: Basis
    ) -> dict[tuple[str, str], str]:
        """(block, precision) to the reason, where the engine computes the readers of an activation wrongly on
        its chosen grid, which is the best there is."""
        home = {node: block.name for block in loaded.blocks for node in block.nodes}
        names = [name for name in loaded.spec.search.precisions if _is_integer(name)]
        grids, cutouts = dict(basis.grids), _cuts(loaded, calibrated)
        asked = [(cut, grids.get(cut.values[0], SIGNED)) for cut in cutouts]
        verdicts = self._on_grids(loaded.backend, basis.base, asked)
        return {
            (home[node], name): f"{cut.values[0]}: {verdict.reason}"
            for cut, verdict in zip(cutouts, verdicts, strict=True)
            if verdict is not None and verdict.state == "wrong"
            for node in cut.readers
            for name in names
        }

    def _on_grids(
        self, backend: Backend, base: str, asked: Sequence[tuple[Cutout, str]]
    ) -> list[Verdict | None]:
        """The verdict on each cut with its activation on the given grid; None if it could not be tried."""
        with self._scratch() as folder:
            style = WritingStyle.of(backend, base)
            questions = [
                question(
                    cut.piece,
                    INT8,
                    style,
                    folder,
                    asked=INT8.runs_as if cut.piece.deciding else "",
                    grids={cut.values[0]: grid},
                )
                for cut, grid in asked
            ]
            answers = {verdict.digest: verdict for verdict in self._asker.answers(backend, questions)}
        return [answers.get(one.digest) for one in questions]


def _cuts(loaded: Loaded, calibrated: Calibrated) -> list[Cutout]:
    """The surroundings of a model's activations; none if no precision puts those on integers."""
    if not any(map(_is_integer, loaded.spec.search.precisions)):
        return []
    how = loaded.spec.calibration
    return cuts(loaded.model, calibrated.histograms.ranges(how.method, how.percentile))


def _is_integer(name: str) -> bool:
    """Whether a precision is a variant of INT8 that quantises convolutions too."""
    return PRECISIONS[name].plain == INT8.name and not PRECISIONS[name].only_products


def _indistinct(
    loaded: Loaded, legality: Legality, overflow: Mapping[str, str]
) -> dict[tuple[str, str], str]:
    """(block, precision) to the reason, for float precisions that the engine runs as another one.

    Of those that are equal the reference's is kept, else the most exact.
    """
    search = loaded.spec.search
    order = [search.reference.removesuffix("-safe"), *(n for n in ("fp32",) if n in search.precisions)]
    order = list(dict.fromkeys(name for name in (*order, *search.precisions) if name in search.precisions))
    return {
        (block.name, name): f"runs as {same} here: this engine cannot tell them apart"
        for name, same in legality.same_floats(order).items()
        for block in loaded.blocks
        # FP16 will be refused to a block that overflows it: what runs as FP16 is not superfluous there.
        if not (same == "fp16" and block.name in overflow)
    }
