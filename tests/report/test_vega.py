"""A library that ends its process ends no command."""

from __future__ import annotations

import re

import msgspec
import pytest

from autoprec.errors import UserError
from autoprec.report import vega as module
from autoprec.report.page.axes import block_axis
from autoprec.report.page.charts import front_chart
from autoprec.report.vega import vega
from trial_records import complete, findings


def test_a_chart_is_drawn() -> None:
    drawn = vega("vegalite_to_svg", {"mark": "point", "data": {"values": [{"a": 1}]}, "encoding": {}})
    assert drawn.startswith(b"<svg")


@pytest.mark.parametrize("width", [300, 900])
def test_labels_of_blocks_are_shortened_only_as_far_as_they_stay_apart(width: int) -> None:
    names = [f"stages.{stage}.blocks.1.attention.{'projection.' * 4}out" for stage in range(3)]
    rows = [{"block": name, "ms": 1} for name in (*names, "neck.out")]
    x, y = {"field": "ms", "type": "quantitative"}, block_axis([*names, "neck.out"])
    drawn = vega(
        "vegalite_to_svg",
        {"width": width, "mark": "bar", "data": {"values": rows}, "encoding": {"x": x, "y": y}},
    ).decode()
    labels = re.findall(r">([^<>]*out)</text>", drawn)
    assert len({*labels}) == 4
    assert "neck.out" in labels
    assert "\u20260.blocks.1" in drawn


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


@pytest.mark.parametrize("width", [200, 800])
def test_an_anchor_s_label_lies_beside_the_axis_and_not_on_it(width: int) -> None:
    fast = msgspec.structs.replace(complete(0, 1.0, 0.01), label="all-int8-everywhere")
    chart = front_chart(findings([fast, complete(1, 9.0, 0.2, choices="fp16 fp16")]))
    drawn = vega("vegalite_to_svg", {**chart, "width": width}).decode()
    (anchor,) = re.findall(r'text-anchor="(\w+)"[^>]*>all-int8-everywhere<', drawn)
    assert anchor == "start"
