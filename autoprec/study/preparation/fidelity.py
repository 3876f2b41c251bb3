"""Before anything is searched: each step is compared with the model as the user gave it, and one that
computes another function stops the study.

What was compared is kept by the digest of all that took part; the next night compares what has changed.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from autoprec.errors import StudyError, TrialError
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
"""Under which the store keeps departures, by step."""
SAMPLES = 3
"""Evaluation samples that are run, spread over the set."""
TOLERANCES: dict[Step, float] = {"loading": 1e-3, "given": 0.02, "engine": 0.01, "reference": 0.02}
"""Errors that are rounding in any model; one that amplifies it is given more, see `measurement.fidelity`."""


class Fidelity:
    """Compares the steps of one study.

    Args:
        spec: the definition.
        bench: the worker.
        store: keeps what was found.
        say: receives a line about each slow step, and about departures that the definition accepts.
    """

    def __init__(self, spec: StudySpec, bench: Bench, store: Store, say: Callable[[str], None]) -> None:
        self._spec, self._bench, self._store, self._say = spec, bench, store, say
        self._folder = Path(spec.folder) / "fidelity"
        self._loaded: Loaded | None = None
        self._is_mute = False
        """Nothing independent runs the original model: one attempt is enough."""

    def check_loaded(self, loaded: Loaded) -> None:
        """Compare the model as it is loaded, and all of it in FP32 on the engine.

        Nothing is compared where costs are known and nothing is built. Raises `StudyError` for a step that
        departs, unless `[model] departure` accepts it.
        """
        if loaded.backend.stopwatch == "known":
            return
        self._loaded = loaded
        with self._scratch() as folder:
            path = folder / "step.onnx"
            write_model(loaded.model, path)
            self._check("loading", path)
            rewriter = rewriter_in(loaded, loaded.blocks, {})
            rewriter.write(uniform(loaded.blocks, "fp32"), path)
            self._check("engine", path)
            if (came := _came_in(loaded)) is not None:
                rewriter.write(came, path)
                self._check("given", path)

    def check_reference(self, path: Path) -> None:
        """Compare the reference's typed model on the engine. Raises as `check_loaded`, which comes first."""
        if self._loaded is not None:
            with self._scratch():
                self._check("reference", path)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A folder for the models that are compared, which is removed again."""
        try:
            self._folder.mkdir(exist_ok=True)
            yield self._folder
        except TrialError as error:
            raise StudyError(
                f"{self._spec.model.path}: cannot be written to be compared ({error})"
            ) from error
        except OSError as error:
            raise StudyError(
                f"{self._folder}: cannot be written ({error.strerror}); free some space"
            ) from error
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _check(self, step: Step, path: Path) -> None:
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
                return
            self._say(f"comparing with the original {Path(spec.model.path).name}: {step} (once)")
            departure = self._compared(request)
            self._is_mute = step == "loading" and bool(departure.missing)
            if departure.missing:  # another night tries again
                self._say(departure_words(departure))
            else:
                departure = msgspec.structs.replace(departure, digest=digest)
            self._store.put_fact(spec.name, KIND, step, departure)
        if departure.is_beyond:
            self._stop(departure)

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
        """Of what decides a comparison; where files lie does not."""
        spec = self._spec
        decoder = spec.pipeline.decoder
        models = [Path(request.path), *([Path(decoder)] if decoder else [])]
        told = (
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
    """The precisions that a quantised model came in; None if it came in floats.

    What blocks may not have on this engine counts too, as FP8 on one without: the pairs run exactly, on none.
    """
    nodes = {str(node.name): node for node in loaded.model.graph}
    choices, quantised = [], False
    for block in loaded.blocks:
        came = sorted(given_precisions(nodes[name] for name in block.nodes))
        taken = [name for name in block.allowed if name in came]
        quantised |= bool(came)
        choices.append((block.name, (taken or came or ["fp32"])[0]))
    return Assignment(choices=tuple(choices)) if quantised else None


def departures(store: Store, study: str) -> tuple[Departure, ...]:
    """What was found of a study's steps, in their order; empty for one of an earlier autoprec."""
    by_step = store.facts(study, KIND, Departure)
    return tuple(by_step[step] for step in TOLERANCES if step in by_step)
