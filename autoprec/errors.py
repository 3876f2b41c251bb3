"""The error tree: everything that autoprec raises on purpose.

    AutoprecError
    ├── UserError              the user can mend it: one line, exit code 2
    │   ├── SpecError          the study definition
    │   ├── ModelError         an ONNX file, or what is asked of it
    │   ├── SamplesError       images, prompts, arrays
    │   ├── StudyError         the study's database or folder
    │   └── BackendError       an engine that is not there or cannot serve
    └── TrialError             one candidate failed; becomes a failed trial with its kind

A message names the thing, says what is wrong, and what to do next.
"""

from __future__ import annotations

from typing import Literal

FailureKind = Literal["rewrite", "build", "run", "nan", "timeout", "memory", "crash", "interrupted"]


class AutoprecError(Exception):
    """Root of every error that autoprec raises on purpose."""


class UserError(AutoprecError):
    """Something that the user can mend; the command line prints it as one line and exits with 2."""


class SpecError(UserError):
    """A study definition is missing, malformed or asks for an impossible combination."""


class ModelError(UserError):
    """An ONNX model is missing, corrupt, outside its folder, or does not fit the definition."""


class SamplesError(UserError):
    """Images, prompts or arrays are missing, empty, or hold NaN."""


class StudyError(UserError):
    """A study's database or folder is not ours, locked, newer, full, or belongs to other inputs."""


class BackendError(UserError):
    """An engine is not installed, or has no device to run on."""


class TrialError(AutoprecError):
    """One candidate failed. The trial loop turns it into a failed trial; the night goes on.

    Attributes:
        kind: which step failed; one of `FailureKind`.
    """

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
