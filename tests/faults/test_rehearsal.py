"""Work that ends its process: told by a copy that it ends."""

import os
from itertools import count

import pytest

from autoprec.rehearsal import fatal_signal


def forever() -> None:
    for _ in count():
        pass


def test_work_that_crashes_or_never_ends_is_told_by_its_signal() -> None:
    assert fatal_signal(os.abort, 60) == "SIGABRT"
    assert fatal_signal(forever, 1) == "SIGXCPU"


def test_work_that_ends_is_told_by_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert fatal_signal(lambda: os.write(1, b"heard twice"), 60) == ""
    assert fatal_signal(lambda: 1 / 0, 60) == ""
    assert capfd.readouterr() == ("", "")
