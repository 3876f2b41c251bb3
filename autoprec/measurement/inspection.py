"""The worker's side of looking into one candidate again: kernel times, pictures, examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from numpy.typing import NDArray

from autoprec.backends import Engine, computes, run
from autoprec.backends.exact import Exact
from autoprec.errors import SamplesError, TrialError
from autoprec.files import naming
from autoprec.measurement.fidelity.exactness import ensured
from autoprec.measurement.masks import Logits
from autoprec.measurement.messages import Inspect, WriteExamples, Written
from autoprec.measurement.pictures import draw
from autoprec.measurement.pipeline import Pipeline
from autoprec.measurement.workbench import Workbench
from autoprec.records import Inspection, Picture
from autoprec.samples import read_archive

_RUNS = 10
"""Kernel times are means over this many executions."""


def inspect(bench: Workbench, request: Inspect) -> Inspection:
    """Run the candidate on the requested samples; draw their masks, and profile its kernels.

    Raises `TrialError` if it cannot be built or run.
    """
    Path(request.folder).mkdir(parents=True, exist_ok=True)
    with bench.build(Path(request.candidate_path), profiled=True) as engine:
        with bench.lease.running():
            pictures = _pictures(bench, engine, request)
        # Kernels are timed, so nothing else may run on the device.
        with bench.lease.alone():
            for _ in range(_RUNS):
                run(engine, bench.samples[0].inputs)
        return Inspection(kernels=engine.kernels(), pictures=pictures)


def write_examples(bench: Workbench, request: WriteExamples) -> Written:
    """Write samples, spread evenly over the set, with all logits.

    `00.npz` holds inputs and prompts by name, as a definition's samples do; `outputs/00.npz` holds float32
    logits [masks, h, w]: `reference`, `candidate` and, where it could be run, `original`. A decoder that
    takes one prompt gets an archive for each: `00-00.npz`.
    """
    folder = Path(request.folder)
    (folder / "outputs").mkdir(parents=True, exist_ok=True)  # of a worker that died there
    metric, faithful = bench.metric(), bench.metric()
    count = min(request.count, len(bench.samples))
    places = [number * len(bench.samples) // count for number in range(count)]
    originals = _originals(bench, request, places)
    with bench.build(Path(request.candidate_path)) as engine, bench.lease.running():
        if request.exactly and computes(bench.backend):
            ensured(bench.backend, Path(request.candidate_path), engine, bench.samples)
        for number, index in enumerate(places):
            sample, reference = bench.samples[index], bench.masks[index]
            if originals and originals[number].shape != reference.shape:
                raise SamplesError(
                    f"{sample.name}: the outputs of the original model are {list(originals[number].shape)}, "
                    f"the reference's {list(reference.shape)}; they are not of this export: copy it again"
                )
            runs = list(bench.pipeline.runs(run(engine, sample.inputs), sample))
            # The reference's masks of all prompts are one array: each run of the decoder has its part of it.
            begin = 0
            for place, (prompts, logits) in enumerate(runs):
                name = f"{number:02}.npz" if len(runs) == 1 else f"{number:02}-{place:02}.npz"
                outputs = {"reference": reference[begin : begin + len(logits)], "candidate": logits}
                metric.update(name, outputs["reference"], logits, None)
                if originals:
                    outputs["original"] = originals[number][begin : begin + len(logits)]
                    faithful.update(name, outputs["original"], logits, None)
                begin += len(logits)
                _write_arrays(folder / name, {**sample.inputs, **sample.prompts, **prompts})
                _write_arrays(folder / "outputs" / name, outputs)
    return Written(metric.result(), faithful.result() if originals else None)


def _originals(bench: Workbench, request: WriteExamples, places: Sequence[int]) -> list[Logits]:
    """Logits of the original model on the samples of these places; none where nothing independent
    runs it, or earlier examples lack them."""
    samples = [bench.samples[place] for place in places]
    if request.originals:
        archives = [read_archive(Path(request.originals) / sample.name, {}) for sample in samples]
        kept = [archive["original"] for archive in archives if "original" in archive]
        return kept if len(kept) == len(samples) else []
    if not request.original:
        return []
    try:
        pipeline = Pipeline.of(Exact(), bench.setup)
        with Exact().build(Path(request.original)) as given:
            originals = [pipeline.logits(given, sample) for sample in samples]
    except TrialError:
        return []
    return originals if all(np.isfinite(logits).all() for logits in originals) else []


def _write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an .npz archive. `numpy.savez` would refuse an array named `file`."""
    with naming(path), ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _pictures(bench: Workbench, engine: Engine, request: Inspect) -> tuple[Picture, ...]:
    """Masks of the requested samples; those that the set no longer has are left out."""
    opacity = bench.metric().opacity
    wanted = {score.sample for score in (*request.worst, *request.typical)}
    places = {name: index for name, index in bench.places.items() if name in wanted}
    masks = {}
    for name, index in places.items():
        logits = bench.pipeline.logits(engine, bench.samples[index])
        masks[name] = opacity(bench.masks[index]), opacity(logits)
    return tuple(
        draw(
            Path(request.folder),
            score,
            kind=kind,
            sample=bench.samples[places[score.sample]],
            section=bench.setup.samples,
            reference=masks[score.sample][0][score.mask],
            candidate=masks[score.sample][1][score.mask],
        )
        for kind, scores in (("worst", request.worst), ("typical", request.typical))
        for score in scores
        if score.sample in places and score.mask < min(map(len, masks[score.sample]))
    )
