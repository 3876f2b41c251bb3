"""One file against what autoprec makes of it: loaded, rewritten in FP32, on the engine, and as it came."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from pictures import arrays

from autoprec.backends import Builder, create_backend, run
from autoprec.backends.exact import Exact, deviation
from autoprec.errors import UserError
from autoprec.graph.blocks.partition import partition
from autoprec.graph.grids.given import given_precisions
from autoprec.graph.model.files import write_model
from autoprec.graph.model.load import load_model
from autoprec.graph.model.unrounded import write_unrounded
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.measurement.fidelity.raising import write_raised
from autoprec.records import Assignment

FP32 = 1e-3
"""Errors below this are rounding, relative to the spread of the worst output."""
CLIPPED = 0.05
"""The same where Q/DQ pairs are taken away: a value may be clipped half a step later."""
GIVEN = 0.02
"""The same where pairs are as given: sums in another order fall on other levels here and there."""
Arrays = Mapping[str, NDArray[Any]]


@dataclass
class Comparison:
    """The error of each step against the original file, and what could not be compared.

    Attributes:
        errors: by step, the root mean square of the difference over the spread of the worst output.
        beyond: the steps whose error exceeds their tolerance.
        words: messages of refusals, by the loader or by a step.
    """

    errors: dict[str, float] = field(default_factory=dict)
    beyond: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def add(self, step: str, error: float, tolerance: float) -> None:
        """Record the error of a step, and whether it exceeds `tolerance`."""
        self.errors[step] = error
        if error > tolerance:
            self.beyond.append(step)


def compared(path: Path, pictures: Path) -> Comparison:
    """Compare a file on one picture. A refusal by the loader is recorded; its message must be one line.

    A file in FP16 is first raised to FP32, since autoprec searches it in FP32.

    Args:
        path: the ONNX file, with one input.
        pictures: folder of the pictures, the first of which is used.
    """
    comparison = Comparison()
    feeds = _feeds(path, pictures)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unrounded, raised = folder / "unrounded.onnx", folder / "raised.onnx"
        exact = raised if write_raised(path, raised) else path
        is_quantised = write_unrounded(exact, unrounded)
        floats = _outputs(Exact(), unrounded if is_quantised else exact, feeds)
        try:
            for step, file, builder in _steps(path, folder):
                wanted, tolerance = floats, CLIPPED if is_quantised else FP32
                if step == "as given":
                    is_other = write_raised(path, raised, rounds=True)
                    wanted, tolerance = _outputs(Exact(), raised if is_other else path, feeds), GIVEN
                try:
                    ours = dict(zip(wanted, _outputs(builder, file, feeds).values(), strict=True))
                except UserError as error:
                    comparison.words.append(f"{step}: {error}")
                else:
                    comparison.add(step, deviation(ours, wanted).error, tolerance)
        except UserError as error:
            comparison.words.append(f"refused: {error}")
            comparison.beyond += ["a refusal of several lines"] if "\n" in str(error) else []
    return comparison


def _steps(path: Path, folder: Path) -> Iterator[tuple[str, Path, Builder]]:
    """Yield name, file and runner of each step; all steps share one file, written just before its step."""
    model, target = load_model(path), folder / "step.onnx"
    blocks = partition(model, minimum=4, maximum=16)
    write_model(model, target)
    yield "loaded", target, Exact()
    rewriter, engine = Rewriter(model, blocks, {}, base="fp32"), create_backend("openvino", {})
    rewriter.write(Assignment(choices=tuple((block.name, "fp32") for block in blocks)), target)
    yield "FP32", target, Exact()
    yield "engine", target, engine
    nodes = {str(node.name): node for node in model.graph}
    came = [(block.name, sorted(given_precisions(nodes[name] for name in block.nodes))) for block in blocks]
    if any(names for _, names in came):
        # A block may hold pairs of several precisions; one of them has to stand for the block.
        choices = tuple((name, names[0] if names else "fp32") for name, names in came)
        rewriter.write(Assignment(choices=choices), target)
        yield "as given", target, Exact()


def _outputs(builder: Builder, path: Path, feeds: Arrays) -> dict[str, NDArray[Any]]:
    with builder.build(path) as engine:
        return run(engine, feeds)


def _feeds(path: Path, pictures: Path) -> dict[str, NDArray[Any]]:
    """The first picture as [1, 3, size, size] in the input's dtype, by the name of the model's only input."""
    graph = onnx.load(path, load_external_data=False).graph
    # Files of IR version 3 list initializers, too, among the graph's inputs.
    held = {tensor.name for tensor in graph.initializer}
    (given,) = [value for value in graph.input if value.name not in held]
    size = given.type.tensor_type.shape.dim[-1].dim_value
    kind = onnx.helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type)
    return {given.name: np.ascontiguousarray(arrays(pictures, size)[:1].astype(kind))}
