"""What the search and a writing process say to each other, as JSON lines."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from autoprec.errors import FailureKind
from autoprec.records import Assignment
from autoprec.writing.material import Material


class Load(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """Load what the first candidate will be written from."""

    material: Material


class Write(msgspec.Struct, frozen=True, kw_only=True, tag="write"):
    """Write the typed model of an assignment into a file."""

    material: Material
    assignment: Assignment
    path: str


class Saved(msgspec.Struct, frozen=True, tag="saved"):
    """It is there, or loaded."""


class Unwritten(msgspec.Struct, frozen=True, tag="unwritten"):
    """The assignment cannot be written."""

    kind: FailureKind
    message: str


class Declined(msgspec.Struct, frozen=True, tag="declined"):
    """The user has to fix something."""

    message: str


class DiskFull(msgspec.Struct, frozen=True, tag="full"):
    """The disk does not take it; `number` is the system's of the error."""

    number: int
    reason: str


Request = Load | Write
Answer = Saved | Unwritten | Declined | DiskFull

encode = msgspec.json.encode
decode_request: Callable[[bytes], Request] = msgspec.json.Decoder(Request).decode
decode_answer: Callable[[bytes], Answer] = msgspec.json.Decoder(Answer).decode
