"""Messages between the search and a writing process, as JSON lines."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from autoprec.errors import FailureKind
from autoprec.records import Assignment
from autoprec.writing.material import Material


class Load(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """Load the material, before the first candidate is needed."""

    material: Material


class Write(msgspec.Struct, frozen=True, kw_only=True, tag="write"):
    """Write the typed model of an assignment into a file."""

    material: Material
    assignment: Assignment
    path: str


class Saved(msgspec.Struct, frozen=True, tag="saved"):
    """The file is written, or the material loaded."""


class Unwritten(msgspec.Struct, frozen=True, tag="unwritten"):
    """The assignment cannot be written."""

    kind: FailureKind
    message: str


class Declined(msgspec.Struct, frozen=True, tag="declined"):
    """Something is wrong that the user has to fix."""

    message: str


class DiskFull(msgspec.Struct, frozen=True, tag="full"):
    """The disk refuses the file; `number` is the errno."""

    number: int
    reason: str


Request = Load | Write
Answer = Saved | Unwritten | Declined | DiskFull

encode = msgspec.json.encode
decode_request: Callable[[bytes], Request] = msgspec.json.Decoder(Request).decode
decode_answer: Callable[[bytes], Answer] = msgspec.json.Decoder(Answer).decode
