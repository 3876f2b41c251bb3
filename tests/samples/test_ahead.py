"""Reading ahead of the engine and working behind it: in order, bounded, and over when it is left."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autoprec.errors import SamplesError
from autoprec.samples import Sample, ahead, behind, load_samples
from autoprec.samples._ahead import DEPTH
from autoprec.spec import SamplesSection


class Slow:
    """Numbered samples of which earlier ones take longer; tells who read them, and how many at a time."""

    digest = "0" * 16
    notes = ()

    def __init__(self, count: int, broken: int = -1, *, shareable: bool = True) -> None:
        self.count, self.broken, self.shareable = count, broken, shareable
        self.readers: set[int] = set()
        self.begun = self.under_way = self.most = 0

    def is_as(self, digest: str) -> bool:
        return digest == self.digest

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(self.count))

    def outline(self, index: int) -> Sample:
        return self[index]

    def __getitem__(self, index: int) -> Sample:
        self.readers.add(threading.get_ident())
        self.begun += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        time.sleep(0.002 * (3 - index % 4))
        self.under_way -= 1
        if index == self.broken:
            raise SamplesError(f"sample {index} is broken")
        return Sample(f"{index}", {}, {})


# Of other tests: a traceback that pytest keeps holds an iterator that was never closed, and so its threads.
EARLIER: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def five_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    EARLIER.update(threading.enumerate())
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(5)))


def reading_threads() -> list[str]:
    return [
        thread.name
        for thread in threading.enumerate()
        if thread not in EARLIER and thread.name.startswith(("samples", "results"))
    ]


def test_several_readers_give_samples_in_order() -> None:
    samples = Slow(24)
    assert [int(sample.name) for sample in ahead(samples)] == list(range(24))
    assert 1 < samples.most <= len(samples.readers) <= 4
    assert [int(sample.name) for sample in ahead(samples, 20)] == [20, 21, 22, 23]


def test_samples_that_are_not_shareable_are_read_one_by_one_on_one_thread() -> None:
    samples = Slow(12, shareable=False)
    assert [int(sample.name) for sample in ahead(samples)] == list(range(12))
    assert len(samples.readers) == samples.most == 1


@pytest.mark.parametrize("shareable", [True, False])
def test_a_broken_sample_is_told_where_it_is_reached(shareable: bool) -> None:
    reading = ahead(Slow(20, broken=7, shareable=shareable))
    assert [int(next(reading).name) for _ in range(7)] == list(range(7))
    with pytest.raises(SamplesError, match="sample 7 is broken"):
        next(reading)
    assert not reading_threads()


def test_only_a_few_samples_are_read_ahead() -> None:
    samples = Slow(100)
    reading = ahead(samples)
    next(reading)
    time.sleep(0.1)
    assert samples.begun <= DEPTH + 4
    reading.close()  # type: ignore[attr-defined]


def test_leaving_early_leaves_no_thread_behind() -> None:
    samples = Slow(100)
    for sample in ahead(samples):
        if sample.name == "2":
            break
    assert not reading_threads()
    begun = samples.begun
    time.sleep(0.05)
    assert samples.begun == begun <= 2 + DEPTH + 4 + 1


def test_work_behind_is_done_in_order_while_the_next_result_is_made() -> None:
    begun, done = [threading.Event() for _ in range(7)], []

    def results() -> Iterator[int]:
        for number in range(6):
            begun[number].set()
            yield number
        begun[6].set()

    def work(number: int) -> None:
        assert begun[number + 1].wait(timeout=10), "the next result waits for this work"
        done.append(number)

    for count, _ in enumerate(behind(results(), work), 1):
        assert done == list(range(count))
    assert done == list(range(6))
    assert not reading_threads()


def test_what_fails_behind_ends_the_whole() -> None:
    def work(number: int) -> None:
        if number == 3:
            raise SamplesError("number 3 is odd")

    with pytest.raises(SamplesError, match="number 3 is odd"):
        list(behind(range(100), work))
    assert not reading_threads()


def test_images_are_the_same_whatever_the_number_of_readers(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (12, 40, 30, 3), dtype=np.uint8)
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(tmp_path / f"{number:02}.png")
    section = SamplesSection(calibration=str(tmp_path), evaluation=str(tmp_path))
    samples = load_samples(section, "calibration", {"x": (1, 3, 40, 30)})
    assert samples.shareable
    mean, std = np.array(section.mean, np.float32), np.array(section.std, np.float32)
    for pixels, sample in zip(pictures, ahead(samples), strict=True):
        wanted = ((pixels / np.float32(255) - mean) / std).transpose(2, 0, 1)[None]
        assert sample.inputs["x"].dtype == wanted.dtype == np.float32
        np.testing.assert_array_equal(sample.inputs["x"], wanted)
