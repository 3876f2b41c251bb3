"""One judge for all models: each runs on OpenVINO, timed in turn with the study's reference by autoprec's own
stopwatch, and scored by the study's metric."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autoprec.backends.openvino import OpenVinoBackend, OpenVinoEngine
from autoprec.backends.openvino_nodes import Graph
from autoprec.errors import TrialError
from autoprec.measurement.masks import Logits
from autoprec.measurement.messages import Job, Setup
from autoprec.measurement.workbench import Workbench
from autoprec.records import Assignment, Block, Interval

Point = dict[str, Any]
NOTHING_LEADS = ((Interval(low=0.0, high=0.0), Interval(low=0.0, high=0.0)),)
"""A front that no candidate reaches. Candidates on the front are compared with exact arithmetic, which reads
only ONNX, and some peers write OpenVINO's format."""


class AnyOpenVino(OpenVinoBackend):
    """Also builds OpenVINO's own files, and lets the engine choose BF16 if `hint` says so."""

    hint = "f32"

    def build(self, model_path: Path, *, profiled: bool = False) -> OpenVinoEngine:
        """An engine of `.xml` or `.onnx`."""
        if model_path.suffix == ".onnx" and self.hint == "f32":
            return super().build(model_path, profiled=profiled)
        settings = {
            "INFERENCE_PRECISION_HINT": self.hint,
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        model = self._core.read_model(str(model_path))
        inputs, outputs = ([port.get_any_name() for port in ports] for ports in (model.inputs, model.outputs))
        graph = Graph(nodes=(), inputs=tuple(inputs), outputs=tuple(outputs), weight_bytes=0)
        try:
            return OpenVinoEngine(
                self._core.compile_model(model, "CPU", settings), graph, self._openvino.Tensor
            )
        except RuntimeError as error:
            raise TrialError("build", f"OpenVINO cannot build {model_path.name}: {error}") from error


class Judge:
    """Measures models against a study's reference, on its evaluation samples."""

    def __init__(self, setup: Setup) -> None:
        self._bench = Workbench(setup)
        self._backend = AnyOpenVino(setup.backend.options)
        self._bench.backend = self._backend

    def masks(self) -> Iterator[Logits]:
        """The reference's logits [masks, h, w] of each evaluation sample."""
        return iter(self._bench.masks)

    def point(self, path: Path, hint: str = "f32") -> Point:
        """Speed-up over the reference, with its interval, and the loss; or why there is none."""
        self._backend.hint = hint
        nothing = Assignment(choices=())
        blocks: tuple[Block, ...] = ()
        job = Job(
            setup=self._bench.setup,
            candidate_path=str(path),
            assignment=nothing,
            blocks=blocks,
            heavy=(),
            front=NOTHING_LEADS,
        )
        try:
            measured = self._bench.measure(job, lambda _: None)
        except TrialError as error:
            return {"failure": str(error)}
        finally:
            self._bench.clear()
        interval = measured.latency.ratio_interval
        return {
            "speedup": 1 / measured.latency.ratio,
            "speedup_low": 1 / interval.high,
            "speedup_high": 1 / interval.low,
            "loss": measured.quality.loss,
            "loss_low": measured.quality.loss_interval.low,
            "loss_high": measured.quality.loss_interval.high,
        }
