"""Any operator, in any opset, computes after loading and rewriting what it did, or is refused in one line.

The campaign itself is `scripts/proofs/operator_campaign`; this is a small part of it, the same each time.
"""

from __future__ import annotations

import onnx
import pytest
from cases import OPSETS, make_case, operators
from onnx.reference import ReferenceEvaluator
from operators import MAKERS
from verdicts import FAULTS, judged, loaded_and_rewritten, tolerance, worst_error

LAST = 22


def changes() -> list[tuple[str, int]]:
    """Operators and the last opsets before their inputs, attributes or defaults changed."""
    collected = []
    for op in sorted(MAKERS):
        for opset in OPSETS:
            if opset < LAST and op in operators(opset):
                before, after = (onnx.defs.get_schema(op, version) for version in (opset, opset + 1))
                if after.since_version == opset + 1 and signature(before) != signature(after):
                    collected.append((op, opset))
    return collected


def signature(schema: onnx.defs.OpSchema) -> tuple[object, ...]:
    attributes = sorted((a.name, a.required, str(a.default_value)) for a in schema.attributes.values())
    return attributes, [(formal.name, str(formal.option)) for formal in schema.inputs], schema.deprecated


@pytest.mark.parametrize("count", [1, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("op", "opset"), [*changes(), ("Upsample", 7), ("Resize", 11), ("ConvTranspose", 10)]
)
def test_an_operator_whose_meaning_changed_means_what_it_did(op: str, opset: int, count: int) -> None:
    drawn = (make_case(seed, op, opset) for seed in range(4))
    cases = [case for case in drawn if case is not None][:count]
    assert cases
    for case in cases:
        try:
            new = loaded_and_rewritten(case)
            names = [output.name for output in new.graph.output]
            computed = dict(zip(names, ReferenceEvaluator(new).run(names, case.feeds), strict=True))
        except Exception:  # noqa: BLE001 - what the evaluator does not have is judged by ONNX Runtime
            verdict = judged(case, engine=False)
            assert verdict.kind in ("equal", "refused by loading"), verdict
        else:
            assert worst_error(computed, case.wanted) < tolerance(case)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("op", MAKERS)
def test_an_operator_runs_as_onnx_means_it_or_is_refused(op: str, seed: int) -> None:
    for opset in [opset for opset in OPSETS if op in operators(opset)][-1:]:
        case = make_case(seed, op, opset)
        verdict = judged(case) if case is not None else None
        assert verdict is None or verdict.kind not in FAULTS, verdict


@pytest.mark.parametrize("seed", range(4))
def test_operators_in_a_row_compute_what_they_did(seed: int) -> None:
    cases = [case for op in ("Conv", "Gemm", "LSTM") if (case := make_case(seed, op, 17, 3)) is not None]
    assert any(len({node.op_type for node in case.model.graph.node}) > 3 for case in cases)
    for case in cases:
        assert (verdict := judged(case)).kind not in FAULTS, verdict
