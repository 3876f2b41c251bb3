"""Stand-ins for a prepared study and its worker processes, with known costs and no work."""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from onnx import TensorProto, helper

from autoprec.backends import Device
from autoprec.backends.simulated import ASSIGNMENT_KEY, SimulatedBackend
from autoprec.measurement import Job, Setup
from autoprec.records import (
    Assignment,
    Block,
    Candidate,
    Fingerprint,
    Identity,
    Measurement,
    Reference,
    StageSeconds,
)
from autoprec.search import anchors
from autoprec.spec import ModelSection, SamplesSection, SearchSection, StudySpec
from autoprec.store import Store
from autoprec.study.night.mirror import Mirror

STUDY, PRECISIONS = "simulated", ("fp16", "bf16", "int8")
DEVICE = Device(name="device")


def costs(blocks: int, seed: int) -> dict[str, Any]:
    """A table of costs: lower precisions are faster and lose masks, some blocks more than others."""
    rng = np.random.default_rng(seed)
    table = {}
    for number in range(blocks):
        ms, loss = rng.uniform(0.2, 2.0), rng.exponential(0.004)
        table[f"block{number}"] = {
            "fp16": {"ms": ms},
            "bf16": {"ms": 0.98 * ms, "loss": loss / 20},
            "int8": {"ms": 0.55 * ms, "loss": loss},
        }
    return {"base_ms": 0.5, "boundary_ms": 0.05, "noise": 0.002, "blocks": table}


class SimulatedPreparation:
    """Stands in for `Prepared`, as far as a run uses it."""

    def __init__(self, spec: StudySpec, blocks: tuple[Block, ...], work: Path) -> None:
        self.spec, self.blocks, self.work, self.material = spec, blocks, work, None
        self.anchors = anchors(blocks, PRECISIONS, reference="fp16", base="fp16")
        self.reference = Assignment(choices=tuple((block.name, "fp16") for block in blocks))
        self.setup = Setup(
            backend=spec.backend, pipeline=spec.pipeline, samples=spec.samples, quality=spec.quality,
            timing=spec.timing, shapes={}, reference_path="", reference_digest="",
        )  # fmt: skip

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """A path that no other process uses."""
        yield self.work / f"{os.getpid()}-{name}"

    def rewrite(self, assignment: Assignment, path: Path, writers: None = None) -> Candidate:  # noqa: ARG002
        """A model that names its assignment, and nothing else."""
        mask = helper.make_tensor_value_info("masks", TensorProto.FLOAT, [1, 1, 64, 64])
        model = helper.make_model(helper.make_graph([], "candidate", [], [mask]))
        helper.set_model_props(model, {ASSIGNMENT_KEY: json.dumps(assignment.choices)})
        path.write_bytes(model.SerializeToString())
        return Candidate(assignment=assignment, model_path=str(path))

    def deciding(self, assignment: Assignment) -> tuple[str, ...]:  # noqa: ARG002 - as `Prepared` has it
        """No nodes, since nothing is audited."""
        return ()


class SimulatedBench:
    """Stands in for a worker process: builds with the `simulated` backend, and sleeps."""

    def __init__(self, table: Path, seconds: float) -> None:
        self._backend, self._seconds = SimulatedBackend({"costs": str(table)}), seconds
        # By process: forked workers would otherwise all sleep equally long, and meet at the database each
        # time.
        self._random = random.Random(os.getpid())

    def measure(self, job: Job, on_stage: object) -> Measurement:  # noqa: ARG002 - as `Bench` has it
        """The table's figures, after about the given number of seconds."""
        with self._backend.build(Path(job.candidate_path)) as engine:
            ms, mask = engine.known_milliseconds(), engine.outputs()["masks"]
        time.sleep(self._random.uniform(0.5, 1.5) * self._seconds)
        loss = 1 - float((mask > 0).sum()) / (mask.size // 2)
        reference = job.reference_latency_ms or ms
        measurement = Measurement.of_objectives(ms, loss, reference_ms=reference, noise=0.002)
        return replace(measurement, seconds=StageSeconds(total=self._seconds))

    def close(self) -> None:
        """Do nothing: there is no process to end."""


def spec_of(given: argparse.Namespace) -> StudySpec:
    """A definition, of which a run reads only the section on the search."""
    search = SearchSection(precisions=PRECISIONS, strategy=given.strategy, finalists=0, seed=given.seed)
    samples = SamplesSection(calibration="", evaluation="")
    return StudySpec(name=STUDY, model=ModelSection(path=""), samples=samples, search=search)


def blocks_of(count: int) -> tuple[Block, ...]:
    """Blocks in a chain."""
    return tuple(Block(name=f"block{n}", nodes=(f"node{n}",), allowed=PRECISIONS) for n in range(count))


def bind(address: str, given: argparse.Namespace) -> None:
    """Bind the study, and store its reference and its run."""
    fingerprint = Fingerprint(backend="simulated", version="1", device="none")
    identity = Identity(model="m", samples="s", spec="d", blocks="b", fingerprint=fingerprint)
    ms = sum(row["fp16"]["ms"] for row in costs(given.blocks, given.seed)["blocks"].values()) + 0.5
    reference = Reference(
        precision="fp16", model_digest="", latency_ms=ms, latency_noise=0.002, loss_noise=0, float_loss=0
    )
    blocks = blocks_of(given.blocks)
    with Store.open(address) as store:
        store.bind(STUDY, identity, blocks)
        store.put_reference(STUDY, reference)
        store.begin_run(STUDY, str(given.trials))
        Mirror.of(store, STUDY, blocks, limited=False)
