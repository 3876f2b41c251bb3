"""The worker's side of comparing a candidate with the reference value by value, where blocks meet.

Both run on the engine with these values as outputs of their own; where the engine does not build that, or
exactness is asked for, both run in exact arithmetic. An engine may fuse a little less around an output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from autoprec.backends import Arrays, Builder, Engine, run
from autoprec.backends.exact import Exact
from autoprec.backends.exact import error as error_of
from autoprec.errors import TrialError
from autoprec.graph.model.cuts import values_of, write_cut
from autoprec.measurement.messages import Locate, Located, ValueDifference
from autoprec.measurement.reaching import reach
from autoprec.records import UNLIKE
from autoprec.samples import Sample, load_samples

_AT_ONCE = 64
"""Values that one build has as outputs: all of a large model's would not fit into memory."""


def locate(request: Locate, say: Callable[[str], None]) -> Located:
    """Compare the values of a candidate with the reference's. Raises `TrialError` where nothing runs both,
    `UserError` for samples that cannot be read."""
    setup = request.setup
    every = load_samples(setup.samples, "evaluation", setup.shapes)
    count = min(request.samples, len(every))
    samples = [every[number * len(every) // count] for number in range(count)]
    paths = (Path(request.candidate_path), Path(setup.reference_path))
    # By name: variants and products leave some values out of a candidate.
    there = values_of(paths[0]) & values_of(paths[1])
    names = [name for name in request.values if name in there]
    refusal = ""
    if not request.exactly:
        engine = reach(setup.backend, say)
        try:
            return Located(f"engine ({setup.backend.name})", count, _compared(engine, paths, names, samples))
        except TrialError as error:
            refusal = f"; the engine does not give them: {error}"
    return Located(f"exact arithmetic{refusal}", count, _compared(Exact(), paths, names, samples))


def _compared(
    builder: Builder, paths: tuple[Path, Path], names: Sequence[str], samples: Sequence[Sample]
) -> dict[str, ValueDifference]:
    """Differences by value."""
    totals = {name: _Difference() for name in names}
    for first in range(0, len(names), _AT_ONCE):
        part = names[first : first + _AT_ONCE]
        with TemporaryDirectory(dir=paths[0].parent, prefix=".layers-") as folder, ExitStack() as stack:
            ours, theirs = (
                _built(stack, builder, path, part, Path(folder) / f"{side}.onnx")
                for side, path in zip(("ours", "theirs"), paths, strict=True)
            )
            for sample in samples:
                outputs, wanted = run(ours, sample.inputs), run(theirs, sample.inputs)
                for name in part:
                    totals[name].add(outputs, wanted, name)
    return {name: total.figures for name, total in totals.items()}


def _built(stack: ExitStack, builder: Builder, path: Path, names: Sequence[str], target: Path) -> Engine:
    return stack.enter_context(builder.build(write_cut(path, names, target)))


class _Difference:
    """The difference of one value, over samples."""

    def __init__(self) -> None:
        self._error = self._max_abs = self._max_rel = 0.0
        self._abs: list[float] = []
        self._rel: list[float] = []
        self._product = self._ours = self._theirs = 0.0

    def add(self, outputs: Arrays, wanted: Arrays, name: str) -> None:
        """Another sample. A value of another shape, or with NaN, is off by infinity."""
        self._error = max(self._error, error_of(outputs[name], wanted[name]))
        if outputs[name].shape != wanted[name].shape:
            self._max_abs = self._max_rel = math.inf
            return
        ours, theirs = (side[name].astype(np.float64).ravel() for side in (outputs, wanted))
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.abs(ours - theirs)
            # Sums over all samples: a mean of each sample's cosine would count those that are nearly empty as
            # much.
            self._product += float(ours @ theirs)
            self._ours += float(ours @ ours)
            self._theirs += float(theirs @ theirs)
        # Where the reference is 0 there is no relative difference.
        relative = apart[theirs != 0] / np.abs(theirs[theirs != 0])
        for values, means in ((apart, self._abs), (relative, self._rel)):
            means.append(float(values.mean()) if values.size else 0.0)
        self._max_abs = max(self._max_abs, float(apart.max(initial=0.0)))
        self._max_rel = max(self._max_rel, float(relative.max(initial=0.0)))

    @property
    def figures(self) -> ValueDifference:
        """Over all samples so far; what is not finite is as far as can be."""
        size = math.sqrt(self._ours * self._theirs)
        cosine = self._product / size if size else float(self._ours == self._theirs)
        mean_abs, mean_rel = (np.mean(values) if values else math.inf for values in (self._abs, self._rel))
        off = (self._error, self._max_abs, mean_abs, self._max_rel, mean_rel)
        error, max_abs, mean_abs, max_rel, mean_rel = (
            float(min(figure, UNLIKE)) if figure == figure else UNLIKE for figure in off
        )
        cosine = cosine if math.isfinite(cosine) else 0.0
        return ValueDifference(error, max_abs, mean_abs, max_rel, mean_rel, cosine)
