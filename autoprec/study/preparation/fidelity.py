"""Before a search, compares each step towards a measurement with the model as the user gave it.

A step that computes another function stops the study. Results are kept by the digest of everything that took
part, so that the next run compares only what has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from autoprec.backends import computes
from autoprec.backends.exact import JUDGED
from autoprec.errors import StudyError, TrialError, UserError, cannot
from autoprec.files import own_folder, remove_folder
from autoprec.graph.grids.given import given_precisions
from autoprec.graph.model.files import write_model
from autoprec.graph.model.load import model_digest
from autoprec.measurement import Bench, Compare, Original
from autoprec.records import Assignment, Departure, Step
from autoprec.report.fidelity import departure_words
from autoprec.spec import StudySpec
from autoprec.store import Store
from autoprec.study.preparation.prepared import rewriter_in
from autoprec.study.preparation.stages import Loaded, uniform

KIND = "fidelity"
"""Kind of fact of departures, by step."""
SAMPLES = 3
"""Evaluation samples that are run, spread over the set."""
TOLERANCES: dict[Step, float] = {"loading": 1e-3, "given": 0.02, "engine": 0.01, "reference": 0.02}
"""Errors that rounding explains in any model; models that amplify it are allowed more, see
`measurement.fidelity`."""


class Fidelity:
    """Compares the steps of one study.

    Args:
        spec: the definition.
        bench: the worker.
        store: keeps the departures.
        say: receives a line about each slow step, and about departures that the definition accepts.
        folder: of the models that are compared, in the study's folder; one for each that works in parallel.
    """

    def __init__(
        self,
        spec: StudySpec,
        bench: Bench,
        store: Store,
        say: Callable[[str], None],
        folder: str = "fidelity",
    ) -> None:
        self._spec, self._bench, self._store, self._say = spec, bench, store, say
        self._folder = Path(spec.folder) / folder
        self._loaded: Loaded | None = None
        self._is_mute = False
        """Whether nothing independent can run the original model, so that further steps need no attempt."""

    def check_loaded(self, loaded: Loaded) -> None:
        """Compare the model as loaded, in FP32 on the engine, and in the precisions that it came in.

        Raises `StudyError` for a step that departs, unless `[model] departure` accepts it.
        """
        # Simulated engines compute nothing that could be compared.
        if not computes(loaded.backend):
            return
        self._loaded = loaded
        with self._scratch() as folder:
            path = folder / "step.onnx"
            write_model(loaded.model.clone(), path)  # writing takes the weights out for a moment
            self._check("loading", path)
            rewriter = rewriter_in(loaded, loaded.blocks, {})
            rewriter.write(uniform(loaded.blocks, "fp32"), path)
            self._check("engine", path)
            if (came := _came_in(loaded)) is not None:
                rewriter.write(came, path)
                self._check("given", path)

    def anticipate(self, loaded: Loaded, path: Path) -> None:
        """Compare what will be the reference's typed model, unless the calibration says otherwise.

        `check_reference`, of another object too, then finds what came of it, and stops the study if it must.
        """
        self._loaded = loaded
        with suppress(UserError), self._scratch():
            self._departure("reference", path)

    def check_reference(self, path: Path) -> None:
        """Compare the reference's typed model on the engine. Raises as `check_loaded`, which comes first."""
        if self._loaded is not None:
            with self._scratch():
                self._check("reference", path)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A temporary folder for the models that are compared."""
        try:
            remove_folder(self._folder)  # of a killed search
            yield own_folder(self._folder.parent, self._folder.name)
        except TrialError as error:
            raise StudyError(
                f"{self._spec.model.path}: cannot be written to be compared ({error})"
            ) from error
        except OSError as error:
            raise StudyError(cannot(self._folder, error)) from error
        finally:
            remove_folder(self._folder)

    def _check(self, step: Step, path: Path) -> None:
        departure = self._departure(step, path)
        if departure is not None and departure.is_beyond:
            self._stop(departure)

    def _departure(self, step: Step, path: Path) -> Departure | None:
        """What was found of a step, now or earlier; None where nothing independent runs the original."""
        spec, loaded = self._spec, self._loaded
        assert loaded is not None
        original = Original(
            path=spec.model.path,
            folder=str(self._folder),
            backend=spec.backend,
            pipeline=spec.pipeline,
            samples=spec.samples,
            quality=spec.quality,
            shapes=loaded.shapes,
            count=SAMPLES,
            keeps_rounding=step == "given",
        )
        request = Compare(original=original, step=step, path=str(path), tolerance=TOLERANCES[step])
        digest = self._digest(request, loaded)
        departure = self._store.fact(spec.name, KIND, step, Departure)
        if departure is None or departure.digest != digest:
            if self._is_mute:
                return None
            self._say(f"comparing with the original {Path(spec.model.path).name}: {step} (once)")
            departure = self._compared(request)
            self._is_mute = step == "loading" and bool(departure.missing)
            if departure.missing:  # not kept by its digest, so the next run tries again
                self._say(departure_words(departure))
            else:
                departure = msgspec.structs.replace(departure, digest=digest)
            self._store.put_fact(spec.name, KIND, step, departure)
        return departure

    def _compared(self, request: Compare) -> Departure:
        try:
            return self._bench.compare(request)
        except TrialError as error:
            return Departure(step=request.step, missing=f"{error.kind}: {error}")

    def _stop(self, departure: Departure) -> None:
        words = departure_words(departure)
        if self._spec.model.departure == "tell":
            self._say(f"accepted: {words}")
            return
        raise StudyError(
            f"{self._spec.model.path}: {words}; nothing was searched. Export the model without that "
            'operator, or accept it with: [model] departure = "tell"'
        )

    def _digest(self, request: Compare, loaded: Loaded) -> str:
        """Digest of what decides a comparison, which paths do not; the judge's version does."""
        spec = self._spec
        decoder = spec.pipeline.decoder
        models = [Path(request.path), *([Path(decoder)] if decoder else [])]
        told = (
            JUDGED,
            (loaded.digests[0], *map(model_digest, models)),
            loaded.digests[2],
            msgspec.structs.replace(spec.pipeline, decoder=None),
            loaded.shapes,
            spec.quality,
            request.tolerance,
            request.original.count,
            loaded.backend.fingerprint(),
        )
        return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:16]


def _came_in(loaded: Loaded) -> Assignment | None:
    """The precisions that a quantised model came in; None if it came in floats."""
    nodes = {str(node.name): node for node in loaded.model.graph}
    choices, quantised = [], False
    for block in loaded.blocks:
        came = sorted(given_precisions(nodes[name] for name in block.nodes))
        taken = [name for name in block.allowed if name in came]
        quantised |= bool(came)
        # Also a precision that this engine does not support: the Q/DQ pairs are computed exactly, without
        # it.
        choices.append((block.name, (taken or came or ["fp32"])[0]))
    return Assignment(choices=tuple(choices)) if quantised else None


def departures(store: Store, study: str) -> tuple[Departure, ...]:
    """The stored departures of a study, in the order of the steps; empty for studies of early versions."""
    by_step = store.facts(study, KIND, Departure)
    return tuple(by_step[step] for step in TOLERANCES if step in by_step)
