"""Judges a case: loaded, rewritten and run in FP32, it computes the same, or is refused in one line."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
from cases import Case, computed
from draw import Array

from autoprec.backends import create_backend, run
from autoprec.errors import ModelError, TrialError
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.graph.model.unrounded import write_unrounded
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.records import Assignment

TOLERANCE = 1e-3
"""Largest relative error of the root mean square: FP32 noise is a thousand times smaller, a wrong pixel
larger."""
_SMALL = 1e-4
"""Outputs of this size are nothing but rounding, so it is added to the divisor of relative errors."""
UNROUNDED = 0.05
"""The tolerance for a file that quantises: it is loaded without that rounding, and may clip half a step
later."""
Kind = Literal[
    "equal", "refused by loading", "refused by the engine", "loading differs", "the engine differs", "crash"
]
FAULTS: tuple[Kind, ...] = ("loading differs", "the engine differs", "crash")


class Verdict(NamedTuple):
    """How a case ended, and why, if not equal."""

    kind: Kind
    reason: str = ""


def loaded_and_rewritten(case: Case) -> onnx.ModelProto:
    """Load a case's model and rewrite it in FP32 throughout.

    Raises:
        ModelError: the model is refused. Any other exception is a fault of the loader.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(case.model, folder / "model.onnx")
        model = load_model(folder / "model.onnx")
        blocks = partition(model, minimum=1, maximum=4)
        chosen = Assignment(choices=tuple((block.name, "fp32") for block in blocks))
        return ir.to_proto(Rewriter(model, blocks, {}, base="fp32").rewrite(chosen))


def judged(case: Case, *, engine: bool = True) -> Verdict:
    """Judge a case.

    Args:
        case: from `make_case`.
        engine: False compares in ONNX Runtime only, without OpenVINO.
    """
    try:
        candidate = loaded_and_rewritten(case)
        case = unrounded(case)
    except ModelError as error:
        return Verdict("crash" if "\n" in str(error) else "refused by loading", str(error).partition(": ")[2])
    except Exception as error:  # noqa: BLE001 - loading may raise nothing but ModelError
        return Verdict("crash", f"{type(error).__name__}: {str(error)[:200]}")
    try:
        outputs = computed(candidate, case.feeds)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime took the original
        if "NOT_IMPLEMENTED" not in str(error):  # it has no kernel of opset 22 for a few operators
            return Verdict("loading differs", f"ONNX Runtime refuses the candidate: {str(error)[:200]}")
    else:
        if (difference := worst_error(outputs, case.wanted)) > tolerance(case):
            return Verdict("loading differs", f"by {difference:.2g}")
    return _on_engine(candidate, case) if engine else Verdict("equal")


def unrounded(case: Case) -> Case:
    """The case with its model's outputs without Q/DQ pairs, whose rounding later operators may amplify."""
    with tempfile.TemporaryDirectory() as name:
        given, target = Path(name) / "model.onnx", Path(name) / "unrounded.onnx"
        onnx.save(case.model, given)
        if not write_unrounded(given, target):
            return case
        return case._replace(wanted=computed(onnx.load(target), case.feeds))


def _on_engine(candidate: onnx.ModelProto, case: Case) -> Verdict:
    try:
        with tempfile.TemporaryDirectory() as name:
            onnx.save(candidate, f"{name}/fp32.onnx")
            with create_backend("openvino", {}).build(Path(name) / "fp32.onnx") as built:
                outputs = run(built, case.feeds)
    except TrialError as error:
        return Verdict("refused by the engine", str(error)[:200])
    difference = worst_error(outputs, case.wanted)
    return (
        Verdict("the engine differs", f"by {difference:.2g}")
        if difference > tolerance(case)
        else Verdict("equal")
    )


def tolerance(case: Case) -> float:
    """The largest relative error that still counts as equal."""
    quantises = any(node.op_type == "QuantizeLinear" for node in case.model.graph.node)
    return UNROUNDED if quantises else TOLERANCE


def worst_error(outputs: Mapping[str, Array], wanted: Mapping[str, Array]) -> float:
    """The largest relative error of any output; infinite if shapes, NaNs or infinities differ."""
    worst = 0.0
    for name, array in wanted.items():
        other = outputs[name]
        if other.shape != array.shape or not np.array_equal(np.isnan(other), np.isnan(array)):
            return np.inf
        finite = np.isfinite(array)
        if not np.array_equal(other[~finite], array[~finite], equal_nan=True):
            return np.inf
        if finite.any():
            a, b = (part[finite].astype(np.float64) for part in (other, array))
            worst = max(worst, float(np.sqrt(np.mean((a - b) ** 2)) / (np.sqrt(np.mean(b**2)) + _SMALL)))
    return worst
