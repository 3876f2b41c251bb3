"""In a fresh process: builds an exported model, times it against the reference, and by an independent loop.

    python rebuild.py EXPORT_FOLDER REFERENCE.onnx BACKEND

Prints one line of JSON.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from autoprec.backends import Backend, create_backend
from autoprec.backends.timing import STOPWATCHES, elapsed, pair
from autoprec.exporters import read_manifest
from autoprec.spec import TimingSection

ROUNDS, REPEATS, WARMUP = 40, 20, 30
LOOPS = {"cuda": "cuda_loop", "processor": "host_loop"}
"""Modules with an independent loop, by the stopwatch that they check."""


def inputs_of(path: Path) -> dict[str, np.ndarray]:
    """Normal noise for every input, by name."""
    random = np.random.default_rng(0)
    values = onnx.load(path, load_external_data=False).graph.input
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in values}
    return {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def backend_of(folder: Path, name: str) -> Backend:
    """The backend with the options of an export's study."""
    recipe = read_manifest(folder).recipe
    assert recipe is not None, "an export tells how it was measured"
    return create_backend(name, recipe.options)


def rebuilt(folder: Path, reference_path: Path, name: str) -> dict[str, Any]:
    """Latency of the export when built here, beside the manifest's."""
    manifest = read_manifest(folder)
    measured = manifest.trial.measurement
    assert measured is not None, "an export has a measurement"
    backend = backend_of(folder, name)
    path = folder / "model.onnx"
    inputs = inputs_of(path)
    with elapsed() as build:
        engine = backend.build(path)
    with engine, backend.build(reference_path) as reference:
        engine.prepare(inputs)
        reference.prepare(inputs)
        latency = pair(
            reference,
            engine,
            backend,
            TimingSection(interval=0.002, seconds=4, minimum_rounds=60, warmup=WARMUP),
        )
        facts: dict[str, Any] = {
            "trial": manifest.number,
            "label": manifest.label,
            "manifest_ms": manifest.latency_ms,
            "manifest_own_ms": measured.latency.median_ms,
            "manifest_speedup": manifest.speedup,
            "rebuilt_ms": latency.ratio * manifest.reference.latency_ms,
            "rebuilt_own_ms": latency.median_ms,
            "rebuilt_speedup": 1 / latency.ratio,
            "study_reference_ms": manifest.reference.latency_ms,
            "rebuilt_reference_ms": latency.reference_median_ms,
            "reference_noise": manifest.reference.latency_noise,
            "build_seconds": build.seconds,
            "fingerprint_is_the_same": backend.fingerprint() == manifest.identity.fingerprint,
        }
        facts["deviation"] = facts["rebuilt_ms"] / facts["manifest_ms"] - 1
        facts["own_deviation"] = facts["rebuilt_own_ms"] / facts["manifest_own_ms"] - 1
        try:
            facts["timers"] = timers(backend, engine, path, inputs)
        except Exception as error:  # noqa: BLE001 - the rest of what was found counts without it
            facts["timers"] = {"error": f"{type(error).__name__}: {error}"}
    if name == "tensorrt":
        facts["first_build_seconds"] = cold_build(folder, path)
    return facts


def timers(backend: Any, engine: Any, path: Path, inputs: dict[str, np.ndarray]) -> dict[str, float]:
    """Time with autoprec's stopwatch and an independent loop in turn.

    Args:
        backend: names the stopwatch.
        engine: built and prepared, for the stopwatch.
        path: of the model, which the loop builds by itself.
        inputs: of the loop, by name.

    Returns:
        Both medians in ms, and by how much the median of their ratio departs from 1.
    """
    watch = STOPWATCHES[backend.stopwatch]
    loop = importlib.import_module(LOOPS[backend.stopwatch]).Loop(backend, path, inputs)
    for _ in range(WARMUP):
        engine.execute()
        loop.milliseconds(1)
    engine.synchronize()
    ours, theirs = [], []
    for number in range(ROUNDS):
        repeats = REPEATS if backend.stopwatch == "cuda" else 1
        if number % 2:
            ours.append(watch(engine, repeats))
            theirs.append(loop.milliseconds(repeats))
        else:
            theirs.append(loop.milliseconds(repeats))
            ours.append(watch(engine, repeats))
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return {
        "ours_ms": statistics.median(ours),
        "loop_ms": statistics.median(theirs),
        "deviation": ratio - 1,
    }


def cold_build(folder: Path, path: Path) -> float:
    """Seconds of a build with empty caches of kernels and timings."""
    recipe = read_manifest(folder).recipe
    assert recipe is not None, "an export tells how it was measured"
    with tempfile.TemporaryDirectory() as empty:
        backend = create_backend("tensorrt", {**recipe.options, "cache_folder": empty})
        with elapsed() as build, backend.build(path):
            pass
    return build.seconds


if __name__ == "__main__":
    print(json.dumps(rebuilt(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])))
