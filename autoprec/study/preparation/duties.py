"""Which worker does what before the first trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from autoprec.backends import computes
from autoprec.measurement import Bench
from autoprec.spec import StudySpec
from autoprec.store import Store
from autoprec.study.preparation.alongside import Asides, alongside, nothing
from autoprec.study.preparation.fidelity import Fidelity
from autoprec.study.preparation.probing import Prober
from autoprec.study.preparation.stages import Calibrated, Loaded, based, refuse_overflow, silent_basis

_PLENTY = 4
"""Workers, from which on the reference need not wait for the calibration: two compare, and one asks."""


class Early(Protocol):
    """Measures the reference, and FP32, before the study is prepared."""

    def start(
        self, loaded: Loaded, overflow: Mapping[str, str] = ..., *, with_fp32: bool = ...
    ) -> Path | None:
        """Begin; returns the reference's typed model, or None where it cannot be written."""

    def wait(self) -> None:
        """Until all that was begun is measured."""


class Duties:
    """Divides the work before the first trial among the workers.

    Args:
        spec: the study's definition.
        store: the open store.
        benches: the workers of the search, which time candidates later.
        aides: workers that are gone by then.
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
        self._fidelity = Fidelity(spec, benches[-1], store, say)
        self._basis = store.basis(spec.name)
        # Those that compare too: what they have begun is waited for anyhow.
        self.prober = self._prober([*(benches[1:] if self._has_plenty else benches), *aides])

    def look(self, loaded: Loaded) -> Callable[[], None]:
        """Refuse what the study was not measured with; returns what can be done during a calibration."""
        # Before a calibration of minutes, of which a study with other inputs could use nothing.
        self._store.check_inputs(self._spec.name, loaded.inputs)
        if self._early is not None and self._is_ahead(loaded):
            return partial(self._look_on_many, self._early, loaded)
        return partial(self._look_on_few, loaded)

    def first(self, loaded: Loaded, calibrated: Calibrated) -> None:
        """Measure the reference, where that was not begun: nothing else is to be timed yet, and asking the
        engine what it supports would keep the user waiting for it.

        Raises `StudyError` where FP16 is the reference and cannot hold the model's values.
        """
        if self._early is None or self._is_ahead(loaded) or not computes(loaded.backend):
            return
        named = msgspec.structs.replace(silent_basis(loaded), reference=self.prober.reference(loaded))
        loaded = based(loaded, named)
        refuse_overflow(loaded.spec, calibrated.overflow)
        # FP32's turn comes later: the reference's trial is told before it.
        self._early.start(loaded, calibrated.overflow, with_fp32=False)
        self._early.wait()

    def check(self, reference: Path) -> None:
        """Compare the reference's model with the original one. Raises `StudyError` where it departs."""
        self._asides.wait()
        self._fidelity.check_reference(reference)

    @property
    def _has_plenty(self) -> bool:
        return self._early is not None and len(self._benches) >= _PLENTY

    def _is_ahead(self, loaded: Loaded) -> bool:
        """Whether the reference is measured during the calibration, which leaves a GPU idle."""
        return self._has_plenty and loaded.backend.has_own_device

    def _look_on_few(self, loaded: Loaded) -> None:
        """Compare the loaded model on one worker, while the others ask."""
        others = [*self._benches[:-1], *self._aides]
        ask = partial(self._prober(others or self._benches).anticipate, loaded, self._basis)
        with alongside(ask if others else nothing, self._say, self._stop):
            self._fidelity.check_loaded(loaded)
        if not others:
            ask()

    def _look_on_many(self, early: Early, loaded: Loaded) -> None:
        """One measures the reference, two compare, and the others ask, which alone are waited for."""
        if (path := early.start(loaded)) is not None:
            second = Fidelity(self._spec, self._benches[-2], self._store, self._say, "fidelity-reference")
            self._asides.begin(partial(second.anticipate, loaded, path))
        self._asides.begin(partial(self._fidelity.check_loaded, loaded))
        self._prober(self._benches[1:-2]).anticipate(loaded, self._basis)

    def _prober(self, benches: Sequence[Bench]) -> Prober:
        return Prober(self._spec, benches, self._store, self._say)
