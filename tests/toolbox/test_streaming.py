"""Thousands of samples pass through in flat memory, and a pass that is cut short goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mbconv import images, write_mbconv

from autoprec.backends import create_backend
from autoprec.backends.timing import Pace
from autoprec.calibration import WHOLE_SAMPLES, calibrate
from autoprec.errors import SamplesError
from autoprec.graph.load import load_model
from autoprec.graph.ranges import Histograms
from autoprec.measurement.masks import ReferenceMasks
from autoprec.samples import ahead, load_samples
from autoprec.spec import SamplesSection
from tiny_study import write_samples


def test_masks_beyond_the_limit_come_back_from_disk_with_their_signs(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays = [random.standard_normal((n % 3 + 1, 8, 8)).astype(np.float32) for n in range(9)]
    masks = ReferenceMasks(tmp_path, memory_bytes=3 * arrays[2].nbytes)
    for array in arrays:
        masks.append(array)
    assert len(masks) == 9
    np.testing.assert_array_equal(masks[0], arrays[0])
    for found, wanted in zip(masks, arrays, strict=True):
        np.testing.assert_array_equal(found > 0, wanted > 0)
        np.testing.assert_allclose(found, wanted, rtol=1e-3)
    assert not list(tmp_path.iterdir())  # the file has no name that could be left behind


def test_samples_read_ahead_come_in_order_and_from_any_place(tmp_path: Path) -> None:
    folder = write_samples(tmp_path / "samples", count=9)
    section = SamplesSection(calibration=str(folder), evaluation=str(folder))
    samples = load_samples(section, "calibration", {"image": (1, 3, 32, 32)})
    assert [sample.name for sample in ahead(samples)] == [sample.name for sample in samples]
    assert [sample.name for sample in ahead(samples, 7)] == [samples[7].name, samples[8].name]
    (folder / "5.npz").write_bytes(b"broken")
    with pytest.raises(SamplesError, match=r"5\.npz"):
        list(ahead(samples))


def test_a_calibration_that_was_cut_short_ends_as_if_it_had_not(tmp_path: Path) -> None:
    model, backend = load_model(write_mbconv(tmp_path / "model.onnx")), create_backend("openvino", {})
    feeds = images(6)
    whole = calibrate(model, backend, feeds, tmp_path / "i.onnx")
    calibrate(model, backend, feeds[:4], tmp_path / "i.onnx").save(tmp_path / "part.npz")
    earlier = Histograms.load(tmp_path / "part.npz")
    assert earlier is not None
    again = calibrate(model, backend, feeds[4:], tmp_path / "i.onnx", earlier=earlier)
    assert again.samples == whole.samples == 6
    for name, histogram in whole.by_value.items():
        np.testing.assert_array_equal(again.by_value[name].counts, histogram.counts)


def test_what_comes_behind_the_first_samples_still_moves_the_ranges(tmp_path: Path) -> None:
    model, backend = load_model(write_mbconv(tmp_path / "model.onnx")), create_backend("openvino", {})
    feeds = images(WHOLE_SAMPLES + 64)
    for feed in feeds[WHOLE_SAMPLES:]:
        feed["image"] *= 4
    first = calibrate(model, backend, feeds[:WHOLE_SAMPLES], tmp_path / "i.onnx")
    found = calibrate(model, backend, feeds, tmp_path / "i.onnx")
    assert found.samples == len(feeds)
    for name in ("b", "d"):
        assert found.ranges("min-max", 100)[name] > 1.5 * first.ranges("min-max", 100)[name]
        assert found.channels[name].largest.max() > 1.5 * first.channels[name].largest.max()


def test_a_long_task_says_what_is_left() -> None:
    pace = Pace(10_000, seconds=0.0)
    assert pace.line(0) == ""
    assert pace.line(2500).startswith("2500 of 10000, ")
    assert pace.line(2500).endswith(" left")
    assert Pace(10_000, seconds=60).line(2500) == ""
