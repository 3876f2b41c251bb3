"""Thousands of samples pass through in flat memory, and a pass that is cut short goes on."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import psutil
import pytest

from autoprec.backends import create_backend
from autoprec.backends.timing import Pace
from autoprec.calibration import WHOLE_SAMPLES, calibrate, samples_at_once
from autoprec.errors import SamplesError
from autoprec.graph.model.load import load_model
from autoprec.graph.statistics.ranges import Histograms
from autoprec.measurement.masks import ReferenceMasks
from autoprec.samples import ahead, load_samples
from autoprec.spec import SamplesSection
from mbconv import images, write_mbconv
from tiny_study import write_samples


def test_masks_beyond_the_limit_come_back_from_disk_with_their_signs(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays = [random.standard_normal((n % 3 + 1, 8, 8)).astype(np.float32) for n in range(9)]
    masks = ReferenceMasks(tmp_path, memory_bytes=3 * arrays[2].nbytes)
    for number, array in enumerate(arrays):
        masks.append(f"{number}.jpg", array)
    assert len(masks) == 9
    np.testing.assert_array_equal(masks[0], arrays[0])
    for actual, wanted in zip(masks, arrays, strict=True):
        np.testing.assert_array_equal(actual > 0, wanted > 0)
        np.testing.assert_allclose(actual, wanted, rtol=1e-3)
    assert not list(tmp_path.iterdir())  # the file has no name that could be left behind


@pytest.mark.parametrize("lost", [0, 1, 700, 1200])
def test_masks_that_are_kept_by_name_go_on_behind_the_last_whole_one(lost: int, tmp_path: Path) -> None:
    arrays = [
        np.random.default_rng(n).standard_normal((1 + n % 2, 8, 8)).astype(np.float32) for n in range(6)
    ]
    path = tmp_path / "kept" / "one.masks"
    limit = arrays[0].nbytes + arrays[1].nbytes
    first = ReferenceMasks(tmp_path, path, limit)
    for number, array in enumerate(arrays):
        first.append(f"{number}.jpg", array)
    kept = list(first)
    del first
    os.truncate(path, path.stat().st_size - lost)
    again = ReferenceMasks(tmp_path, path, limit)
    assert len(again) == len(again.names) == {0: 6, 1: 5, 700: 3, 1200: 1}[lost]
    for number in range(len(again), 6):
        again.append(f"{number}.jpg", arrays[number])
    assert again.names == [f"{number}.jpg" for number in range(6)]
    for actual, wanted in zip(again, kept, strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_every_flipped_bit_of_kept_masks_is_told_and_nothing_behind_it_believed(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "one.masks"
    first = ReferenceMasks(tmp_path, path, 32)
    for number in range(3):
        first.append(f"{number}.jpg", np.full((1, 2, 2), number + 1, np.float32))
    del first
    whole = path.read_bytes()
    for place in range(0, 8 * len(whole), 3):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        said: list[str] = []
        again = ReferenceMasks(tmp_path, path, 32, said.append)
        assert len(again) < 3
        assert all((again[index] == index + 1).all() for index in range(len(again)))
        assert again.names == [f"{index}.jpg" for index in range(len(again))]


def test_masks_of_another_study_are_not_believed(tmp_path: Path) -> None:
    first = ReferenceMasks(tmp_path, tmp_path / "kept" / "one.masks")
    first.append("0.jpg", np.ones((1, 2, 2), np.float32))
    del first
    (tmp_path / "kept" / "one.masks").rename(tmp_path / "kept" / "two.masks")
    said: list[str] = []
    assert len(ReferenceMasks(tmp_path, tmp_path / "kept" / "two.masks", say=said.append)) == 0
    assert said == ["the reference's masks are damaged behind 0 samples: they are rebuilt"]


def test_masks_that_another_has_open_are_left_to_it_and_old_ones_are_removed(tmp_path: Path) -> None:
    array = np.ones((1, 2, 2), np.float32)
    old = ReferenceMasks(tmp_path, tmp_path / "kept" / "old.masks")
    mine = ReferenceMasks(tmp_path, tmp_path / "kept" / "new.masks")
    mine.append("a", array)
    other = ReferenceMasks(tmp_path, tmp_path / "kept" / "new.masks")
    assert (len(mine), len(other)) == (1, 0)
    other.append("a", array)
    old.append("a", array)  # it has no name any longer, and works on
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["new.masks"]
    np.testing.assert_array_equal(old[0], other[0])


def test_samples_read_ahead_come_in_order_and_from_any_place(tmp_path: Path) -> None:
    folder = write_samples(tmp_path / "samples", count=9)
    section = SamplesSection(calibration=str(folder), evaluation=str(folder))
    samples = load_samples(section, "calibration", {"image": (1, 3, 32, 32)})
    assert [sample.name for sample in ahead(samples)] == [sample.name for sample in samples]
    assert [sample.name for sample in ahead(samples, 7)] == [samples[7].name, samples[8].name]
    (folder / "5.npz").write_bytes(b"broken")
    with pytest.raises(SamplesError, match=r"5\.npz"):
        list(ahead(samples))


@pytest.mark.parametrize("whole_samples", [128, 5, 3])  # cut among those seen whole, or in places
def test_a_calibration_that_was_cut_short_ends_as_if_it_had_not(
    whole_samples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoprec.calibration.WHOLE_SAMPLES", whole_samples)
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


def test_samples_that_run_in_parallel_are_counted_in_their_order(tmp_path: Path) -> None:
    model, backend = load_model(write_mbconv(tmp_path / "model.onnx")), create_backend("openvino", {})
    feeds, seen = images(7), list[float]()
    alone = calibrate(model, backend, feeds, tmp_path / "i.onnx")
    values = calibrate(
        model,
        backend,
        feeds,
        tmp_path / "i.onnx",
        also=lambda values, _: seen.append(float(values["image"].sum())),
        at_once=3,
    )
    assert seen == [float(feed["image"].sum()) for feed in feeds]
    assert values.largest == alone.largest
    for name, histogram in alone.by_value.items():
        np.testing.assert_array_equal(values.by_value[name].counts, histogram.counts)


@pytest.mark.parametrize(
    ("rows", "threads", "wanted"), [(8, 1, 1), (8, 4, 2), (8, 6, 3), (8, 64, 4), (1 << 33, 64, 1)]
)
def test_samples_run_side_by_side_as_processors_and_memory_allow(
    rows: int, threads: int, wanted: int, tmp_path: Path
) -> None:
    head = f'<ir_version: 10, opset_import: ["" : 22]> g (float[{rows},2] x) => (float[{rows},2] y)'
    body = "<float[2,2] w = {1, 0, 0, 1}> { h = MatMul (x, w)  y = MatMul (h, w) }"
    onnx.save(onnx.parser.parse_model(head + body), tmp_path / "model.onnx")
    assert samples_at_once(load_model(tmp_path / "model.onnx"), threads) == wanted


def test_samples_side_by_side_take_a_quarter_of_free_memory_at_most(tmp_path: Path) -> None:
    # Thrice the 8 bytes of a row of `h`, and room for two samples and a half: what is free changes meanwhile.
    rows = int(psutil.virtual_memory().available / 4 / 2.5 / (3 * 8))
    head = f'<ir_version: 10, opset_import: ["" : 22]> g (float[{rows},2] x) => (float[{rows},2] y)'
    body = "<float[2,2] w = {1, 0, 0, 1}> { h = MatMul (x, w)  y = MatMul (h, w) }"
    onnx.save(onnx.parser.parse_model(head + body), tmp_path / "model.onnx")
    assert samples_at_once(load_model(tmp_path / "model.onnx"), 64) == 2


class Slow:
    """An engine of OpenVINO that takes its time, and notes whether it was closed within a run."""

    def __init__(self, engine: Any, closed_running: list[bool]) -> None:
        self._engine, self._closed, self._is_running = engine, closed_running, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def __enter__(self) -> Slow:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.append(self._is_running)

    def synchronize(self) -> None:
        self._is_running = True
        time.sleep(0.1)
        self._engine.synchronize()
        self._is_running = False


def test_no_engine_is_closed_while_it_runs_another_sample(tmp_path: Path) -> None:
    model, backend = load_model(write_mbconv(tmp_path / "model.onnx")), create_backend("openvino", {})
    feeds, closed = images(8), list[bool]()
    feeds[1]["image"] *= np.nan
    builder: Any = SimpleNamespace(build=lambda path: Slow(backend.build(path), closed))
    with pytest.raises(SamplesError):
        calibrate(model, builder, feeds, tmp_path / "i.onnx", at_once=3)
    assert closed == [False] * 3


def test_what_comes_behind_the_first_samples_still_moves_the_ranges(tmp_path: Path) -> None:
    model, backend = load_model(write_mbconv(tmp_path / "model.onnx")), create_backend("openvino", {})
    feeds = images(WHOLE_SAMPLES + 64)
    for feed in feeds[WHOLE_SAMPLES:]:
        feed["image"] *= 4
    first = calibrate(model, backend, feeds[:WHOLE_SAMPLES], tmp_path / "i.onnx")
    ranges = calibrate(model, backend, feeds, tmp_path / "i.onnx")
    assert ranges.samples == len(feeds)
    for name in ("b", "d"):
        assert ranges.ranges("min-max", 100)[name] > 1.5 * first.ranges("min-max", 100)[name]
        assert ranges.channels[name].largest.max() > 1.5 * first.channels[name].largest.max()


def test_a_long_task_says_what_is_left() -> None:
    pace = Pace(10_000, seconds=0.0)
    assert pace.line(0) == ""
    assert pace.line(2500).startswith("2500 of 10000, ")
    assert pace.line(2500).endswith(" left")
    assert Pace(10_000, seconds=60).line(2500) == ""
