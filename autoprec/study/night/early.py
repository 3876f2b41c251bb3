"""The reference, measured before the study is prepared, by a worker that would wait for that.

It hardly depends on the calibration, which a GPU leaves to the processors. On processors it is timed alone,
after the calibration and before further questions to the engine: a user sees it that much sooner.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from types import MappingProxyType

from autoprec.closing import Closing
from autoprec.errors import TrialError
from autoprec.files import own_folder, remove_folder
from autoprec.graph.grids.given import given
from autoprec.graph.statistics.ranges import Histograms
from autoprec.measurement.lease import calibration
from autoprec.records import Assignment, Basis
from autoprec.study.events import Watcher
from autoprec.study.night.candidates import ALL_SAMPLES, EarlyMeasurement, loss_of, make
from autoprec.study.night.crew import Slot
from autoprec.study.preparation import Prepared
from autoprec.study.preparation.alongside import Aside
from autoprec.study.preparation.prepared import bind, identity_of
from autoprec.study.preparation.stages import Calibrated, Judged, Loaded, based, reference_of, silent_basis

_PAUSE_SECONDS = 0.2


class EarlyReference(Closing):
    """Measures the reference that the definition names, or FP16. Where blocks overflow and that is not known
    yet, the study's is another one, and is measured later. Use in a `with` block.

    Args:
        slot: a worker, which nobody else asks from `start` until `results` are over. One alone: two would
            both compile the reference and the decoder, which took 30 s of the processors each (ViT-S,
            TensorRT-RTX, H200).
        work: a folder for the models, which is made, and removed again.
        watcher: receives every step.
    """

    def __init__(self, slot: Slot, work: Path, watcher: Watcher) -> None:
        self._slot, self._work, self._watcher = slot, work, watcher
        self._prepared: Prepared | None = None
        self._outcomes: SimpleQueue[tuple[Assignment, EarlyMeasurement] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._held, self._behind, self._is_over = ExitStack(), "", threading.Event()
        self._scoring: Aside | None = None
        self._loss: float | None = None

    def start(
        self,
        loaded: Loaded,
        overflow: Mapping[str, str] = MappingProxyType({}),
        *,
        with_fp32: bool = True,
        waits: bool = False,
    ) -> Path | None:
        """Begin; returns the reference's typed model, or None where it cannot be written.

        Args:
            loaded: model and engine.
            overflow: the blocks that FP16 cannot hold, as far as they are known.
            with_fp32: whether FP32 is the second to be measured, after `go`.
            waits: whether nothing is timed before `go`.
        """
        try:
            remove_folder(self._work)  # of a killed search
            work = own_folder(self._work.parent, self._work.name)
            self._prepared = _floats_alone(loaded, overflow, work)
        except (TrialError, OSError):
            return None
        if waits:
            self._behind = str(work.absolute())
            self._held.enter_context(calibration(self._behind).running())
        wanted = [self._prepared.reference, *([self._prepared.uniform("fp32")] if with_fp32 else [])]
        self._thread = threading.Thread(target=self._run, args=(self._prepared, wanted), name="early")
        self._thread.daemon = True
        self._thread.start()
        return Path(self._prepared.reference_candidate.model_path)

    def go(self) -> None:
        """The calibration is over: let what was begun be timed, and FP32 be measured."""
        self._held.close()
        self._is_over.set()

    def wait(self) -> None:
        """Until all that was begun is measured."""
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(_PAUSE_SECONDS)  # a plain join would keep Ctrl-C waiting

    def begun(self, loaded: Loaded, basis: Basis, judged: Judged) -> Prepared | None:
        """The study as far as it is known, for the trial of the reference that is being measured.

        None where the study's reference is another one, or no anchor, and where blocks came quantised, which
        are written by what the engine is asked for later.
        """
        early, anchors = self._prepared, dict(judged.anchors).values()
        if early is None or early.reference != judged.reference or judged.reference not in anchors:
            return None
        if any(map(given, loaded.model.graph)):
            return None
        identity = identity_of(loaded, basis, judged.blocks)
        return replace(early, blocks=judged.blocks, anchors=judged.anchors, identity=identity)

    def results(self, prepared: Prepared) -> Iterator[tuple[Assignment, EarlyMeasurement]]:
        """Each assignment as soon as it is measured; none where the study's reference is another one, and no
        more after a failure: what is left is measured again, where failures are told."""
        early = self._prepared
        if self._thread is None or early is None:
            return
        if early.reference != prepared.reference or not early.setup.is_as(prepared.setup):
            self._thread.join()
            return
        while (outcome := self._outcomes.get()) is not None:
            yield outcome
        self._outcomes.put(None)  # for who asks again

    def score_floats(self, prepared: Prepared) -> None:
        """Begin to score FP32 against the reference, beside what the engine is asked meanwhile."""

        def score() -> None:
            self._loss = loss_of(prepared, self._slot, prepared.uniform("fp32"), ALL_SAMPLES)

        self._scoring = Aside(score)

    def float_loss(self) -> float | None:
        """FP32's loss, if that was begun, once it is known; None after a failure, as in `results`."""
        if self._scoring is not None:
            with suppress(TrialError):
                self._scoring.wait()
        return self._loss

    def close(self) -> None:
        """End what is still being measured."""
        if self._scoring is not None:
            self._scoring.end(self._slot.bench.close)
        self._is_over.set()
        while self._thread is not None and self._thread.is_alive():
            self._slot.bench.close()  # again, for a worker that was killed is started once more
            self._thread.join(_PAUSE_SECONDS)
        self._held.close()
        remove_folder(self._work)

    def _run(self, prepared: Prepared, wanted: Sequence[Assignment]) -> None:
        try:
            for assignment in dict.fromkeys(wanted):
                if assignment != prepared.reference:  # the reference's trial waits for the calibration
                    self._is_over.wait()
                outcome = make(prepared, self._slot, assignment, self._watcher.stage, self._behind)
                if assignment == prepared.reference:
                    latency = outcome.measurement.latency.reference_median_ms
                    self._watcher.say(f"the reference takes {latency:.4g} ms")
                self._outcomes.put((assignment, outcome))
        except Exception:  # noqa: BLE001 - see `results`
            return
        finally:
            self._outcomes.put(None)


def scores_alone(prepared: Prepared, slots: int) -> bool:
    """Whether FP32's loss is all that is wanted: it is no trial, and none of the `slots` can measure it in
    parallel."""
    floats = prepared.uniform("fp32")
    is_trial = floats in dict(prepared.anchors).values()
    return slots == 1 and not is_trial and floats != prepared.reference


def _floats_alone(loaded: Loaded, overflow: Mapping[str, str], work: Path) -> Prepared:
    """What serves the float precisions before anything is calibrated. Raises `TrialError` where the reference
    cannot be written, and as `bind` does."""
    basis = silent_basis(loaded)
    loaded = based(loaded, basis)
    reference = reference_of(loaded.spec, loaded.blocks, overflow)
    nothing = Calibrated(Histograms(), {}, {}, ("", ""), "")
    return bind(loaded, nothing, basis, Judged(loaded.blocks, reference, ()), work)
