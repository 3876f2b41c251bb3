"""A library that ends its process ends no command."""

from __future__ import annotations

import pytest

from autoprec.errors import UserError
from autoprec.report import vega as module
from autoprec.report.vega import vega


def test_a_chart_is_drawn() -> None:
    drawn = vega("vegalite_to_svg", {"mark": "point", "data": {"values": [{"a": 1}]}, "encoding": {}})
    assert drawn.startswith(b"<svg")


@pytest.mark.parametrize(
    ("end", "told"), [("os.abort()", "ended with SIGABRT"), ("sys.exit(1)", "ended with exit code 1")]
)
def test_a_process_that_ends_is_told(end: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (
        f"import os, sys; print('memory allocation of 64 bytes failed', file=sys.stderr, flush=True); {end}"
    )
    monkeypatch.setattr(module, "_PROCESS", words)
    with pytest.raises(UserError, match=rf"{told} \(last words: memory allocation of 64 bytes failed\)"):
        vega("vegalite_to_svg", {})
