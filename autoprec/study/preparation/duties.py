"""Which worker does what before the search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from autoprec.backends import computes
from autoprec.measurement import Bench
from autoprec.records import Basis
from autoprec.spec import StudySpec
from autoprec.store import Artifacts, Store
from autoprec.study.preparation.alongside import Asides, alongside, nothing
from autoprec.study.preparation.calibrating import calibrate, disturbs_timing
from autoprec.study.preparation.fidelity import Fidelity
from autoprec.study.preparation.prepared import Prepared, judge_and_bind
from autoprec.study.preparation.probing import Prober
from autoprec.study.preparation.stages import (
    Calibrated,
    Judged,
    Loaded,
    based,
    judge,
    refuse_overflow,
)

_SOON_SECONDS = 60.0
"""Of calibration, beside which processors build and score the reference: a worker that waits longer until
it may be timed would come near the limit of a trial."""
_PLENTY = 4
"""Workers, from which on the reference need not wait for the calibration: two compare, and one asks."""


class Early(Protocol):
    """Measures the reference, and FP32, before the study is prepared."""

    def start(
        self, loaded: Loaded, overflow: Mapping[str, str] = ..., *, with_fp32: bool = ..., waits: bool = ...
    ) -> Path | None:
        """Begin; returns the reference's typed model, or None where it cannot be written.

        Args:
            loaded: model and engine.
            overflow: the blocks that FP16 cannot hold, as far as they are known.
            with_fp32: whether FP32 is the second to be measured, after `go`.
            waits: whether nothing is timed before `go`.
        """

    def go(self) -> None:
        """The calibration is over: let what was begun be timed, and FP32 be measured."""

    def wait(self) -> None:
        """Until all that was begun is measured."""

    def begun(self, loaded: Loaded, basis: Basis, judged: Judged) -> Prepared | None:
        """What the reference's own trial is stored with; None where another reference is being measured."""


class Duties:
    """Divides the work before the search among the workers: `calibrate`, then `reference`, then `rest`.

    Args:
        spec: the study's definition.
        store: the open store.
        benches: the workers of the search, which time candidates later.
        aides: workers that are gone once there is a reference.
        early: measures the reference on the first worker; None where the study has one already, or where
            nothing is checked.
        asides: receives what may go on until the reference is to be bound.
        stop: ends what the workers are doing, for good.
        say: receives a line about each slow step.
    """

    def __init__(
        self,
        spec: StudySpec,
        store: Store,
        benches: Sequence[Bench],
        aides: Sequence[Bench],
        early: Early | None,
        asides: Asides,
        stop: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._spec, self._store, self._benches, self._aides = spec, store, tuple(benches), tuple(aides)
        self._early, self._asides, self._stop, self._say = early, asides, stop, say
        # Not the first, which measures the reference, unless it is alone.
        self._judge = (aides or benches)[-1]
        self._fidelity = Fidelity(spec, self._judge, store, say)
        basis = store.basis(spec.name)
        self._basis = None if basis is None or basis.is_open else basis
        self._is_ahead = self._is_asked = self._is_begun = False
        """Whether the reference is measured from the start, since calibrating leaves the GPU idle; whether
        the engine has answered what does not depend on that; whether the reference is being measured."""
        self._begun = SimpleQueue[Path | None]()
        """The reference's typed model, once it is being measured; None where that does not come."""
        # Those that compare too: what they have begun is waited for anyhow. Aides first: few questions would
        # wait for what the first worker measures.
        self._asks = self._prober([*aides, *(benches[1:] if self._has_plenty else benches)])

    def calibrate(self, loaded: Loaded, artifacts: Artifacts, *, checks: bool) -> Calibrated:
        """Calibrate; with `checks`, also compare the loaded model with the original, and ask the engine.

        Once that is asked and the end is near, the reference is begun as well, and timed when all is over.
        """
        # Before a calibration of minutes, of which a study with other inputs could use nothing.
        self._store.check_inputs(self._spec.name, loaded.inputs)
        self._is_ahead = self._has_plenty and not disturbs_timing(loaded)
        # Both leave processors idle: nothing is timed yet, and what is asked runs on few of them.
        with alongside(self._look(loaded) if checks else nothing, self._say, self._stop) as listen:
            try:
                calibrated = calibrate(loaded, listen, artifacts, partial(self._foresee, loaded))
            finally:
                self._begun.put(None)
        if self._early is not None:
            self._early.go()
        return calibrated

    def reference(self, loaded: Loaded, calibrated: Calibrated) -> Prepared | None:
        """Wait for a new study's reference; returns what its trial can be stored with before the engine is
        asked for the rest, None where that decides on it.

        Raises `StudyError` where FP16 is the reference and cannot hold the model's values.
        """
        if self._early is None or self._basis is not None or not computes(loaded.backend):
            return None
        basis = self._asks.of_reference(loaded)
        loaded = based(loaded, basis)
        refuse_overflow(loaded.spec, calibrated.overflow)
        if not self._is_begun:
            self._early.start(loaded, calibrated.overflow, with_fp32=False)
        judged = judge(loaded, calibrated, basis, self._asks)
        if not self._is_ahead:  # what is asked next would disturb it
            self._early.wait()
        return self._early.begun(loaded, basis, judged)

    def rest(self, loaded: Loaded, calibrated: Calibrated, work: Path) -> Prepared:
        """Ask the engine for all that the search needs; raises as `prepare`."""
        return judge_and_bind(loaded, calibrated, self._asks, self._basis, work)

    def check(self, reference: Path) -> None:
        """Compare the reference's model with the original one. Raises `StudyError` where it departs."""
        self._asides.wait()
        self._fidelity.check_reference(reference)

    @property
    def _has_plenty(self) -> bool:
        return self._early is not None and len(self._benches) >= _PLENTY

    def _look(self, loaded: Loaded) -> Callable[[], None]:
        if self._early is not None and self._is_ahead:
            return partial(self._look_on_many, self._early, loaded)
        return partial(self._look_on_few, loaded)

    def _look_on_few(self, loaded: Loaded) -> None:
        """Compare the loaded model on one worker while the others ask, then the reference, if it is begun."""
        others = [bench for bench in (*self._benches, *self._aides) if bench is not self._judge]
        ask = partial(self._ask, self._prober(others or self._benches), loaded)
        with alongside(ask if others else nothing, self._say, self._stop):
            self._fidelity.check_loaded(loaded)
        if not others:
            ask()
        elif (reference := self._begun.get()) is not None:
            self._fidelity.anticipate(loaded, reference)

    def _ask(self, prober: Prober, loaded: Loaded) -> None:
        prober.anticipate(loaded, self._basis)
        self._is_asked = True

    def _foresee(self, loaded: Loaded, overflow: Mapping[str, str], seconds_left: float) -> None:
        """Begin to measure the reference during the rest of the calibration, if that ends soon."""
        if self._early is None or self._basis is not None or not computes(loaded.backend):
            return
        if self._is_begun or not self._is_asked:
            return
        if seconds_left < min(_SOON_SECONDS, self._spec.backend.trial_seconds / 5):
            self._is_begun, loaded = True, based(loaded, self._asks.of_reference(loaded))
            # FP32's turn comes later: the reference's trial is told before it.
            self._begun.put(self._early.start(loaded, overflow, with_fp32=False, waits=True))

    def _look_on_many(self, early: Early, loaded: Loaded) -> None:
        """One measures the reference, two compare, and the others ask, which alone are waited for."""
        self._is_begun = True
        if (path := early.start(loaded)) is not None:
            second = Fidelity(self._spec, self._benches[-2], self._store, self._say, "fidelity-reference")
            self._asides.begin(partial(second.anticipate, loaded, path))
        self._asides.begin(partial(self._fidelity.check_loaded, loaded))
        self._prober(self._benches[1:-2]).anticipate(loaded, self._basis)

    def _prober(self, benches: Sequence[Bench]) -> Prober:
        return Prober(self._spec, benches, self._store, self._say)
