"""Legality: which precisions an engine really takes, per way in which an operator is used.

Builds one small graph for each pattern and precision, runs it where there is a device, and reads back what
it ran in: a graph that builds, but is dequantised or gives NaN, is not legal. What a whole block may then be
follows from its patterns. The caller keeps the table, and runs `try_pattern` where it may die.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import onnx
import onnx_ir as ir

from autoprec.backends._base import Backend, run
from autoprec.errors import TrialError
from autoprec.legality.patterns import (
    DECIDING_NODES,
    PATTERNS,
    PRODUCTS,
    block_patterns,
    node_patterns,
    quantises,
    typed_model,
)
from autoprec.precisions import PRECISIONS, Precision
from autoprec.records import Block, KernelTime, Record


@runtime_checkable
class Planner(Protocol):
    """A backend that can build, and tell its kernels, without the device that runs them."""

    has_device: bool

    def plan_kernels(self, model_path: Path) -> tuple[KernelTime, ...]:
        """The kernels of a build that is not loaded. Raises `TrialError("build", ...)`."""


class Verdict(Record, frozen=True, kw_only=True):
    """What became of one pattern in one precision.

    Attributes:
        legal: it builds, runs (where there is a device) and is not dequantised.
        fails: it ends the build or the run of any model that holds it.
        ran: what its deciding kernels ran in, as in `KernelTime.precision`; empty if the engine hides it,
            and where other nodes decide.
        reason: why it is not legal; empty if it is.
    """

    pattern: str
    precision: str
    legal: bool
    fails: bool = False
    ran: str = ""
    reason: str = ""


class Legality(Record, frozen=True, kw_only=True):
    """The verdicts of one engine; `base` is the float precision of the float parts of quantised blocks.

    A variant is judged as the plain precision: an engine sees no difference. A pattern that a precision does
    not quantise is judged in `base`, a 1x1 convolution that it writes as a product as that.
    """

    base: str
    verdicts: tuple[Verdict, ...] = ()

    def find(self, pattern: str, precision: str) -> Verdict | None:
        """The verdict on a pattern in a precision, if it was probed."""
        wanted = self._judged_as(pattern, precision)
        return next((v for v in self.verdicts if (v.pattern, v.precision) == wanted), None)

    def lacks(self, patterns: Iterable[str], precisions: Iterable[str]) -> list[tuple[str, str]]:
        """The pairs that are not probed yet, in a stable order."""
        done = {(v.pattern, v.precision) for v in self.verdicts}
        names = list(precisions)
        wanted = (self._judged_as(p, name) for p in sorted(set(patterns)) for name in names)
        return [pair for pair in dict.fromkeys(wanted) if pair not in done]

    def refusals(self, patterns: Iterable[str], precisions: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """(precision, reason) for the precisions that a block made of these patterns cannot have.

        A precision is refused if one of the patterns fails in it, or if every pattern that it quantises is
        dequantised: then it only loses accuracy.
        """
        present = sorted(set(patterns))
        reasons = ((name, self._reason(present, name)) for name in precisions)
        return tuple((name, reason) for name, reason in reasons if reason)

    def _reason(self, patterns: Sequence[str], precision: str) -> str:
        found = [v for p in patterns if (v := self.find(p, precision)) is not None]
        for verdict in found:
            if verdict.fails:
                return f"{verdict.pattern}: {verdict.reason}"
        quantised = [v for v in found if v.ran and v.precision == PRECISIONS[precision].plain]
        if quantised and not any(v.legal for v in quantised):
            return f"{quantised[0].pattern}: {quantised[0].reason}"
        return ""

    def _judged_as(self, pattern: str, precision: str) -> tuple[str, str]:
        """Pattern and precision that an engine sees."""
        chosen = PRECISIONS[precision]
        if chosen.only_products and pattern == "conv_1x1":
            return "matmul_weight", chosen.plain
        leaves = chosen.is_quantized and not quantises(chosen, pattern)
        return pattern, self.base if leaves else chosen.plain


def refused_precisions(
    blocks: Iterable[Block], model: ir.Model, legality: Legality, precisions: Sequence[str]
) -> dict[tuple[str, str], str]:
    """(block, precision) to the reason why the engine does not take it, for all blocks of a model."""
    patterns = node_patterns(model)
    return {
        (block.name, name): reason
        for block in blocks
        for name, reason in legality.refusals(patterns_of(block, patterns), precisions)
    }


def patterns_of(block: Block, patterns: Mapping[str, str]) -> frozenset[str]:
    """The patterns in a block; `patterns` is that of its model's nodes, from `node_patterns`."""
    return frozenset(block_patterns(block.nodes, patterns, (op for op, _ in block.op_counts)))


def try_pattern(backend: Backend, pattern: str, precision: Precision, base: Precision) -> Verdict:
    """Build one pattern in one precision, run it, and compare what ran with what was asked.

    `base` types the float parts of a quantised pattern. Raises `TrialError` "memory" and "timeout", which say
    nothing about the pattern, and "crash", after which this process can run nothing more; any other failure
    is a verdict.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pattern.onnx"
        onnx.save(typed_model(pattern, precision, base, backend.widened), path)
        try:
            kernels = _kernels(backend, path)
        except TrialError as error:
            if error.kind in ("crash", "memory", "timeout"):
                raise
            return failed(pattern, precision.name, error)
    asked = _asked(pattern, precision)
    decides = asked or not precision.is_quantized
    ran = {k.precision for k in kernels if decides and k.precision and DECIDING_NODES & set(k.nodes)}
    others = sorted(ran - {asked}) if asked else []
    return Verdict(
        pattern=pattern,
        precision=precision.name,
        legal=not others,
        ran=",".join(sorted(ran)),
        reason=f"dequantised: asked for {asked}, ran {', '.join(others)}" if others else "",
    )


def failed(pattern: str, precision: str, error: TrialError) -> Verdict:
    """The verdict on a pattern whose build or run failed."""
    reason = f"{error.kind}: {error}"
    return Verdict(pattern=pattern, precision=precision, legal=False, fails=True, reason=reason)


def _asked(pattern: str, precision: Precision) -> str:
    """The kernel precision that a quantised product must run in; empty where any float will do."""
    op_type = PATTERNS[pattern].op_type
    if op_type not in PRODUCTS or not quantises(precision, pattern):
        return ""
    return precision.runs_as


def _kernels(backend: Backend, path: Path) -> tuple[KernelTime, ...]:
    if isinstance(backend, Planner) and not backend.has_device:
        return backend.plan_kernels(path)
    random = np.random.default_rng(0)
    inputs = {
        value.name: random.standard_normal(
            [d.dim_value for d in value.type.tensor_type.shape.dim], np.float32
        )
        for value in onnx.load(path).graph.input
    }
    with backend.build(path) as engine:
        outputs = run(engine, inputs)
        if not all(np.isfinite(array).all() for array in outputs.values()):
            raise TrialError("nan", "its outputs are not finite")
        return engine.kernels()
