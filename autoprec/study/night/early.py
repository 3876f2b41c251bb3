"""The reference and FP32, measured while the model is calibrated.

Neither depends on the calibration, which a GPU leaves to the processors: what takes longest before the first
trial is done by workers that would wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

from autoprec.closing import Closing
from autoprec.errors import TrialError
from autoprec.files import own_folder, remove_folder
from autoprec.graph.statistics.ranges import Histograms
from autoprec.records import Assignment
from autoprec.study.events import Watcher
from autoprec.study.night.candidates import EarlyMeasurement, make
from autoprec.study.night.crew import Slot
from autoprec.study.preparation import Prepared
from autoprec.study.preparation.prepared import bind
from autoprec.study.preparation.stages import Calibrated, Judged, Loaded, silent_basis, uniform

_PAUSE_SECONDS = 0.2


class EarlyReference(Closing):
    """Measures the reference that the definition names, or FP16. Where blocks overflow, the study's is
    another one, and is measured when that is known. Use in a `with` block.

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

    def start(self, loaded: Loaded) -> Path | None:
        """Begin; returns the reference's typed model, or None where it cannot be written."""
        try:
            remove_folder(self._work)  # of a killed search
            self._prepared = _floats_alone(loaded, own_folder(self._work.parent, self._work.name))
        except (TrialError, OSError):
            return None
        self._thread = threading.Thread(target=self._run, args=(self._prepared,), name="early", daemon=True)
        self._thread.start()
        return Path(self._prepared.reference_candidate.model_path)

    def results(self, prepared: Prepared) -> Iterator[tuple[Assignment, EarlyMeasurement]]:
        """Each assignment as soon as it is measured; none where the study's reference is another one, and no
        more after a failure: what is left is measured again, where failures are told."""
        early = self._prepared
        if self._thread is None or early is None:
            return
        if early.reference != prepared.reference or not early.setup.is_as(prepared.setup):
            self._thread.join()
            return
        yield from iter(self._outcomes.get, None)

    def close(self) -> None:
        """End what is still being measured."""
        while self._thread is not None and self._thread.is_alive():
            self._slot.bench.close()  # again, for a worker that was killed is started once more
            self._thread.join(_PAUSE_SECONDS)
        remove_folder(self._work)

    def _run(self, prepared: Prepared) -> None:
        try:
            for assignment in dict.fromkeys((prepared.reference, prepared.uniform("fp32"))):
                outcome = make(prepared, self._slot, assignment, self._watcher.stage)
                if assignment == prepared.reference:
                    latency = f"{outcome.measurement.latency.reference_median_ms:.4g} ms"
                    self._watcher.say(
                        f"the reference takes {latency}; it is a trial once the model is calibrated"
                    )
                self._outcomes.put((assignment, outcome))
        except Exception:  # noqa: BLE001 - see `results`
            return
        finally:
            self._outcomes.put(None)


def _floats_alone(loaded: Loaded, work: Path) -> Prepared:
    """What serves the float precisions before anything is calibrated. Raises `TrialError` where the reference
    cannot be written, and as `bind` does."""
    basis = silent_basis(loaded)
    named = loaded.spec.search.reference or basis.reference
    reference = uniform(loaded.blocks, named.removesuffix("-safe"))
    nothing = Calibrated(Histograms(), {}, {}, ("", ""), "")
    return bind(loaded, nothing, basis, Judged(loaded.blocks, reference, ()), work)
