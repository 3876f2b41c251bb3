"""Patterns written in a precision, as probes write them."""

from __future__ import annotations

from pathlib import Path

from autoprec.backends import Backend
from autoprec.legality.pieces import Question, WritingStyle, pattern_piece, pattern_question
from autoprec.legality.probe import try_question
from autoprec.legality.verdicts import Verdict
from autoprec.precisions import PRECISIONS


def question(folder: Path, pattern: str, precision: str, base: str = "fp16") -> Question:
    """A pattern in a precision, with `base` around integers; its files are in `folder`."""
    piece = pattern_piece(pattern, folder)
    return pattern_question(piece, PRECISIONS[precision], WritingStyle(base), folder)


def saved(folder: Path, pattern: str, precision: str, base: str = "fp16") -> Path:
    """The typed model of a pattern."""
    return Path(question(folder, pattern, precision, base).model_path)


def tried(folder: Path, backend: Backend, pattern: str, precision: str, base: str = "fp16") -> Verdict:
    """What becomes of a pattern on an engine."""
    piece, style = pattern_piece(pattern, folder), WritingStyle.of(backend, base)
    return try_question(backend, pattern_question(piece, PRECISIONS[precision], style, folder))
