from __future__ import annotations

from autoprec.records import Assignment, Block
from autoprec.search import anchors


def block(name: str, *allowed: str) -> Block:
    return Block(name=name, nodes=(), allowed=allowed)


def test_anchors_are_uniform_and_named_after_their_precision() -> None:
    blocks = (block("a", "fp32", "int8"), block("b", "fp32", "int8"))
    uniform = dict(anchors(blocks, ("fp32", "int8"), reference="fp32", base="fp32"))
    assert uniform["all-fp32"] == Assignment(choices=(("a", "fp32"), ("b", "fp32")))
    assert uniform["all-int8"] == Assignment(choices=(("a", "int8"), ("b", "int8")))


def test_a_block_that_refuses_the_precision_takes_the_fallback() -> None:
    blocks = (block("a", "fp16", "bf16", "int8"), block("b", "fp16", "bf16"), block("c", "fp32"))
    uniform = dict(anchors(blocks, ("fp32", "int8"), reference="fp16", base="bf16"))
    assert uniform["all-fp32"].as_dict() == {"a": "fp16", "b": "fp16", "c": "fp32"}
    assert uniform["all-int8"].as_dict() == {"a": "int8", "b": "bf16", "c": "fp32"}


def test_anchors_that_come_out_equal_are_measured_once() -> None:
    blocks = (block("a", "fp32", "fp16"), block("b", "fp32", "fp16"))
    uniform = anchors(blocks, ("fp32", "fp16", "int8"), reference="fp16", base="fp16")
    assert [label for label, _ in uniform] == ["all-fp32", "all-fp16"]


def test_a_block_in_which_a_variant_changes_nothing_takes_the_precision_that_it_equals() -> None:
    cured = "int8+pv-float"
    attention = Block(name="attention", nodes=(), allowed=("fp32", "int8", cured))
    plain = Block(
        name="conv", nodes=(), allowed=("fp32", "int8"), refused=((cured, "is the same as int8 here"),)
    )
    labels = dict(anchors((attention, plain), ("int8", cured), reference="fp32", base="fp32"))
    assert labels[f"all-{cured}"].as_dict() == {"attention": cured, "conv": "int8"}
