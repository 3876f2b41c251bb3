from __future__ import annotations

import re

import pytest

from autoprec.backends.tensorrt.nvml import throttle_reasons
from autoprec.backends.tensorrt.options import parse_options
from autoprec.errors import SpecError


def test_targets_are_read_as_major_and_minor() -> None:
    assert parse_options({"compute_capabilities": "8.6, 12.0"}).targets() == ((8, 6), (12, 0))


def test_one_shape_is_minimum_optimum_and_maximum() -> None:
    profile = parse_options({"shapes": "image=1x3x64x64; box = 1x4:2x4:8x4"}).profile()
    assert profile == {"image": ((1, 3, 64, 64),) * 3, "box": ((1, 4), (2, 4), (8, 4))}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"fp16": True}, "fp16"),
        ({"compute_capabilities": "sm86"}, "sm86"),
        ({"shapes": "image=1x3:2x3"}, "image=1x3:2x3"),
        ({"shapes": "image"}, "image"),
        ({"library": "tensorrt8"}, "tensorrt8"),
        ({"workspace_mb": 1}, "workspace_mb"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, str | int | float | bool], named: str) -> None:
    with pytest.raises(SpecError, match=re.escape(named)):
        parse_options(options)


def test_files_and_limits_do_not_change_what_is_measured() -> None:
    plain, cached = parse_options({}), parse_options({"cache_folder": "/tmp/t", "build_seconds": 9})
    assert plain.measured == cached.measured != parse_options({"cuda_graph": False}).measured


def test_throttling_is_told_by_name_and_an_idle_gpu_does_not_throttle() -> None:
    assert throttle_reasons(0x1) == ()
    assert throttle_reasons(0x4 | 0x40) == ("power cap", "thermal (hardware)")
