"""Blocks, and the precisions chosen for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from autoprec.records._base import Record

SAME = "is the same as {} here"
"""Why a block refuses a precision that another one equals in it."""


class Block(Record, frozen=True, kw_only=True):
    """A named group of nodes that gets one precision.

    Attributes:
        name: stable between runs and exports; unique in the model.
        nodes: ONNX node names in graph order; every node of the model is in exactly one block.
        op_counts: (op type, count), most frequent first.
        macs: multiply-accumulate operations of one inference.
        parameters: number of weights; `weight_bytes` is their size in the model as it came.
        inputs: names of values that come from other blocks or the graph's inputs.
        outputs: names of values that other blocks or the graph's outputs use.
        allowed: precision names, in the order of the study's list.
        refused: (precision name, reason) for the others of the study's list.
    """

    name: str
    nodes: tuple[str, ...]
    # Fields behind the nodes have defaults: a probe makes a block of one piece, which knows its nodes alone.
    op_counts: tuple[tuple[str, int], ...] = ()
    macs: int = 0
    parameters: int = 0
    weight_bytes: int = 0
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()

    def same_as(self, precision: str) -> str:
        """The allowed precision that a refused one equals in this block; empty if there is none."""
        # By the words of the reason: they are all that stored blocks have.
        reason = dict(self.refused).get(precision)
        return next((name for name in self.allowed if reason == SAME.format(name)), "")


class Assignment(Record, frozen=True, kw_only=True):
    """One precision name for every block.

    `choices` are (block name, precision name) in graph order; `weights` is the digest of refined ones, or
    empty.
    """

    # Pairs, not a dict: assignments are keys, of what is settled, running or interrupted.
    choices: tuple[tuple[str, str], ...]
    weights: str = ""

    @classmethod
    def uniform(cls, blocks: Iterable[Block], precision: str, fallback: str) -> Assignment:
        """`precision` wherever a block allows it, else `fallback`."""
        return cls(choices=tuple((b.name, precision if precision in b.allowed else fallback) for b in blocks))

    @classmethod
    def from_mapping(cls, blocks: Iterable[Block], choices: Mapping[str, str]) -> Assignment:
        """From block name to precision name, in graph order. Raises KeyError for a missing block."""
        return cls(choices=tuple((block.name, choices[block.name]) for block in blocks))

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of SHA-256 over the choices, and over refined weights."""
        # The choices alone where no weights are refined, so that digests from before there were any stay
        # valid.
        chosen = (self.choices, self.weights) if self.weights else self.choices
        return hashlib.sha256(msgspec.json.encode(chosen)).hexdigest()[:16]

    def as_dict(self) -> dict[str, str]:
        """Block name to precision name."""
        return dict(self.choices)


class Candidate(Record, frozen=True, kw_only=True):
    """An assignment and its rewritten ONNX file."""

    assignment: Assignment
    model_path: str
