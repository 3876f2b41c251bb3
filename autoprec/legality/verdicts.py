"""The verdicts of an engine, and the precisions that they leave to a block, given its patterns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec
import onnx_ir as ir

from autoprec.legality.patterns import block_patterns, node_patterns, quantises
from autoprec.precisions import PRECISIONS
from autoprec.records import Block, Record

State = Literal["legal", "unseen", "dequantised", "refused", "wrong"]


class Verdict(Record, frozen=True, kw_only=True):
    """What became of one pattern in one precision.

    Attributes:
        state: legal: it builds, runs (where there is a device) in what was asked and computes what it should;
            unseen: the same, but what it should compute does not depend on what it was fed, so a wrong
            engine would not have shown;
            dequantised: it runs in another type; refused: it ends the build or the run of any model with it;
            wrong: it runs, and computes something else.
        ran: what its deciding kernels ran in, as in `KernelTime.precision`; empty if the engine hides it,
            and where other nodes decide.
        error: deviation from exact arithmetic, see `backends.exact`; None where it was not measured.
        reason: why it is not legal; empty if it is.
        digest: of the question, which is another one with every version of the writer.
    """

    pattern: str
    precision: str
    state: State
    ran: str = ""
    error: float | None = None
    reason: str = ""
    digest: str = ""

    @property
    def is_legal(self) -> bool:
        """Whether the engine takes the pattern in the requested precision, as far as is known."""
        return self.state in ("legal", "unseen")

    @property
    def is_unfit(self) -> bool:
        """Whether no block may hold it: it fails, or computes something else."""
        return self.state in ("refused", "wrong")

    def but(self, state: State, reason: str) -> Verdict:
        """The same verdict in another state, with the reason."""
        return msgspec.structs.replace(self, state=state, reason=reason)


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

        A precision is refused if one of the patterns fails in it or is computed wrongly, or if every pattern
        that it quantises is dequantised: then it only loses accuracy.
        """
        present = sorted(set(patterns))
        reasons = ((name, self._reason(present, name)) for name in precisions)
        return tuple((name, reason) for name, reason in reasons if reason)

    def same_floats(self, precisions: Iterable[str]) -> dict[str, str]:
        """Float precisions that the engine runs like an earlier one of these, mapped to its name."""
        floats = [name for name in precisions if not PRECISIONS[name].is_quantized]
        ran = {name: self._runs(name) for name in floats}
        return {
            name: earlier
            for place, name in enumerate(floats)
            # An engine that hides its kernels tells nothing: two empty reports are not equal.
            if (earlier := next((o for o in floats[:place] if ran[name] and ran[o] == ran[name]), ""))
        }

    def _runs(self, precision: str) -> dict[str, str]:
        """What each pattern ran in, by name, where the engine reports it."""
        return {v.pattern: v.ran for v in self.verdicts if v.precision == precision and v.ran}

    def _reason(self, patterns: Sequence[str], precision: str) -> str:
        verdicts = [v for p in patterns if (v := self.find(p, precision)) is not None]
        for verdict in verdicts:
            if verdict.is_unfit:
                return f"{verdict.pattern}: {verdict.reason}"
        # Verdicts whose kernels the engine does not report count neither way.
        quantised = [v for v in verdicts if v.ran and v.precision == PRECISIONS[precision].plain]
        if quantised and not any(v.is_legal for v in quantised):
            return f"{quantised[0].pattern}: {quantised[0].reason}"
        return ""

    def _judged_as(self, pattern: str, precision: str) -> tuple[str, str]:
        """The pattern and precision that an engine sees of a choice."""
        chosen = PRECISIONS[precision]
        # The writer turns it into a MatMul, so a convolution is never put to the engine.
        if chosen.only_products and pattern == "conv_1x1":
            return "matmul_weight", chosen.plain
        leaves = chosen.is_quantized and not quantises(chosen, pattern)
        return pattern, self.base if leaves else chosen.plain


def refused_precisions(
    blocks: Iterable[Block], model: ir.Model, legality: Legality, precisions: Sequence[str]
) -> dict[tuple[str, str], str]:
    """Why the engine does not take a precision, by (block, precision), for all blocks of a model.

    Args:
        blocks: of the model.
        model: where the blocks' nodes are.
        legality: what the engine takes.
        precisions: names of those that are wanted.
    """
    patterns = node_patterns(model)
    return {
        (block.name, name): reason
        for block in blocks
        for name, reason in legality.refusals(patterns_of(block, patterns), precisions)
    }


def patterns_of(block: Block, patterns: Mapping[str, str]) -> frozenset[str]:
    """The patterns in a block; `patterns` is that of its model's nodes, from `node_patterns`."""
    return frozenset(block_patterns(block.nodes, patterns, (op for op, _ in block.op_counts)))
