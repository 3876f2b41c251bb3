"""The worker's side of looking into one candidate again: kernel times, pictures, examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from numpy.typing import NDArray

from autoprec.backends import Engine, run
from autoprec.measurement.messages import Examples, Inspect
from autoprec.measurement.pictures import draw
from autoprec.measurement.workbench import Workbench
from autoprec.records import Inspection, Picture, Quality

_RUNS = 10
"""Kernel times are means over so many executions."""


def inspect(bench: Workbench, request: Inspect) -> Inspection:
    """Run the candidate on the samples that are asked for; draw their masks, and profile its kernels.

    Raises `TrialError` if it cannot be built or run.
    """
    Path(request.folder).mkdir(parents=True, exist_ok=True)
    with bench.build(Path(request.candidate_path), profiled=True) as engine:
        pictures = _pictures(bench, engine, request)
        for _ in range(_RUNS):
            run(engine, bench.samples[0].inputs)
        return Inspection(kernels=engine.kernels(), pictures=pictures)


def write_examples(bench: Workbench, request: Examples) -> Quality:
    """Write samples, spread evenly over the set, with both engines' logits; returns their score.

    `00.npz` holds inputs and prompts by name, as a definition's samples do; `outputs/00.npz` holds float32
    logits `reference` and `candidate` [masks, h, w]. A decoder that takes one prompt gets an archive for
    each: `00-00.npz`.
    """
    folder = Path(request.folder)
    (folder / "outputs").mkdir(parents=True)
    metric = bench.metric()
    count = min(request.count, len(bench.samples))
    with bench.build(Path(request.candidate_path)) as engine:
        for number in range(count):
            index = number * len(bench.samples) // count
            sample, reference = bench.samples[index], bench.masks[index]
            runs = list(bench.pipeline.runs(run(engine, sample.inputs), sample))
            begin = 0
            for place, (prompts, found) in enumerate(runs):
                name = f"{number:02}.npz" if len(runs) == 1 else f"{number:02}-{place:02}.npz"
                part, begin = reference[begin : begin + len(found)], begin + len(found)
                metric.update(name, part, found, None)
                _write_arrays(folder / name, {**sample.inputs, **sample.prompts, **prompts})
                _write_arrays(folder / "outputs" / name, {"reference": part, "candidate": found})
    return metric.result()


def _write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """An .npz archive; `numpy.savez` takes no array of the name `file`."""
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _pictures(bench: Workbench, engine: Engine, request: Inspect) -> tuple[Picture, ...]:
    """Masks of the samples that are asked for; those that the set no longer has are left out."""
    opacity = bench.metric().opacity
    wanted = {score.sample for score in (*request.worst, *request.typical)}
    places = {name: index for name, index in bench.places.items() if name in wanted}
    masks = {}
    for name, index in places.items():
        found = bench.pipeline.logits(engine, bench.samples[index])
        masks[name] = opacity(bench.masks[index]), opacity(found)
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
