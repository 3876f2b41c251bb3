"""Samples from arrays and from the user's own functions; what does not fit is refused by name."""

from __future__ import annotations

import os
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autoprec.errors import SamplesError, SpecError
from autoprec.samples import Samples, _entry, check_whole, load_samples
from autoprec.spec import SamplesSection

INPUTS = {"image": (1, 3, 16, 32)}
IMAGE = np.ones((1, 3, 16, 32), np.float32)


def load(folder: Path, inputs: dict[str, tuple[int, ...]] | None = None, **settings: Any) -> Samples:
    section = SamplesSection(calibration="unused", evaluation=str(folder), **settings)
    return load_samples(section, "evaluation", inputs or INPUTS)


def test_arrays_are_named_like_inputs_and_the_rest_are_prompts(tmp_path: Path) -> None:
    image = np.ones((1, 3, 16, 32), np.float64)
    np.savez(tmp_path / "a.npz", image=image, point_labels=np.array([1, -1]), truth=np.ones((2, 4, 4)))
    for path in (tmp_path, tmp_path / "a.npz"):
        sample = load(path)[0]
        assert sample.inputs["image"].dtype == np.float32
        assert list(sample.prompts) == ["point_labels"]
        assert sample.truth is not None
        assert sample.truth.dtype == bool


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"picture": np.ones(3)}, r"has no array 'image'; the model's inputs are: image \[1, 3, 16, 32\]"),
        ({"image": np.ones((3, 16, 32))}, r"'image' is \[3, 16, 32\]; the model's inputs are"),
        ({"image": np.full((1, 3, 16, 32), np.nan)}, "'image' holds NaN"),
        ({"image": np.full((1, 3, 16, 32), 1e300)}, "'image' holds .* more than float32 does"),
        ({"image": IMAGE, "truth": np.eye(4)}, r"'truth' is \[4, 4\]; true masks are"),
        ({"image": IMAGE, "truth": np.arange(8).reshape(1, 2, 4)}, "more than two values, as labels"),
        ({"image": IMAGE, "truth": np.array([[[-1.5, 0, 2]]])}, "more than two values, as labels"),
        ({"image": np.array(["text"])}, "not numbers"),
        ({"image": np.array([object()])}, "holds object, not numbers"),
    ],
)
def test_wrong_arrays_are_refused(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(SamplesError, match=r"bad\.npz: .*" + message):
        load(tmp_path)[0]


def test_what_lies_beside_archives_is_left_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=IMAGE, truth=np.eye(4, dtype=np.uint8)[None] * 255)
    (tmp_path / "a.npz").rename(tmp_path / "A.NPZ")
    (tmp_path / "._A.NPZ").write_bytes(b"what macOS leaves")
    Image.new("RGB", (32, 16)).save(tmp_path / "a.png")
    samples = load(tmp_path)
    assert [sample.name for sample in samples] == ["A.NPZ"]
    assert list(samples.notes) == ["1 images beside the .npz files are ignored"]


@pytest.mark.parametrize(("values", "is_cut"), [(0.7, True), (256, True), (-1, True), (255, False)])
def test_whole_numbers_are_not_made_of_fractions(tmp_path: Path, values: float, is_cut: bool) -> None:
    np.savez(tmp_path / "a.npz", image=IMAGE)
    np.savez(tmp_path / "b.npz", image=IMAGE * values)
    with pytest.raises(SamplesError, match=r"b.npz: .* uint8 would cut") if is_cut else nullcontext():
        check_whole(load(tmp_path), {"image": np.dtype(np.uint8)})


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04rubbish", b"\x93NUMPY rubbish"])
def test_a_file_that_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(SamplesError, match=r"bad\.npz: cannot be read"):
        load(tmp_path)[0]


def test_an_array_is_not_read_before_its_header_fits(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }"
    member = b"\x93NUMPY\x01\x00" + (len(header)).to_bytes(2, "little") + header
    for name, says in (("image", "'image' is"), ("truth", "claims .* but holds 0")):
        with zipfile.ZipFile(tmp_path / "bad.npz", "w") as archive:
            archive.writestr(f"{name}.npy", member)
        with pytest.raises(SamplesError, match=rf"bad\.npz: .*{says}"):
            load(tmp_path)[0]


@pytest.mark.parametrize(
    "header",
    [
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",  # so long a header
        b"\x93NUMPY\x01\x00\x47\x00{'descr': '|V40000', 'fortran_order': False, 'shape': (1, 3, 16, 32), }",
    ],
)
def test_an_archive_that_expands_a_thousand_times_is_refused(header: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", header + bytes(61_440_000))
    tracemalloc.start()
    with pytest.raises(SamplesError, match=r"bad\.npz: "):
        load(tmp_path)[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_what_is_no_input_may_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoprec.samples._arrays._MOST_BYTES", 1 << 10)
    image = np.ones((1, 3, 16, 32), np.float32)
    np.savez_compressed(tmp_path / "a.npz", image=image, more=np.zeros(1 << 12))
    with pytest.raises(SamplesError, match=r"a\.npz: arrays that are not inputs of the model"):
        load(tmp_path)[0]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", IMAGE)
    with zipfile.ZipFile(tmp_path / "bad.npz", "w") as archive:
        for _ in range(2):
            archive.write(tmp_path / "image.npy", "image.npy")
    (tmp_path / "image.npy").unlink()
    with pytest.raises(SamplesError, match=r"bad\.npz: has two arrays 'image'"):
        load(tmp_path)[0]


def test_a_single_array_under_an_archive_name_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "bad.npz").open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(SamplesError, match=r"bad\.npz: cannot be read"):
        load(tmp_path)[0]


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> str:
    """A module of the user's on Python's path; returns its name."""
    (folder / f"{name}.py").write_text(f"import numpy as np\n{text}\n")
    monkeypatch.syspath_prepend(str(folder))
    return name


SHAPE = {"x": (1, 2)}
ARRAY = "{'x': np.full((1, 2), i, np.float32), 'truth': np.ones((1, 3, 3))}"


@pytest.mark.parametrize(
    "body", [f"return [{ARRAY} for i in range(4)]", f"for i in range(4):\n        yield {ARRAY}"]
)
def test_any_iterable_of_the_users_gives_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    module = written(tmp_path, monkeypatch, f"data{len(body)}", f"def scenes():\n    {body}")
    section = SamplesSection(calibration=f"{module}:scenes", evaluation="", calibration_limit=3)
    samples = load_samples(section, "calibration", SHAPE)
    assert [float(sample.inputs["x"][0, 0]) for sample in samples] == [0, 1, 2]
    assert [float(samples[i].inputs["x"][0, 0]) for i in (2, 0, 1, 1)] == [2, 0, 1, 1]
    assert len(samples) == 3
    assert samples[0].truth is not None
    assert samples.digest == load_samples(section, "calibration", SHAPE).digest


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return 1 / 0", "ZeroDivisionError"),
        ("return [3]", "gave int"),
        ("return [{'y': np.ones(2)}]", "has no array 'x'"),
        ("return [{'x': np.full((1, 2), np.nan)}]", "NaN"),
    ],
)
def test_what_a_users_function_gives_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, words: str
) -> None:
    module = written(tmp_path, monkeypatch, f"odd{abs(hash(body))}", f"def scenes():\n    {body}")
    section = SamplesSection(calibration="", evaluation=f"{module}:scenes")
    with pytest.raises(SamplesError, match=words):
        load_samples(section, "evaluation", SHAPE)[0]


def test_samples_without_an_end_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_entry, "_MOST", 9)
    body = "import itertools\n\n\ndef scenes():\n    return ({} for _ in itertools.count())"
    written(tmp_path, monkeypatch, "endless", body)
    for entry, words in (
        ("endless:scenes", "more than 9 samples"),
        ("itertools:count", "gave int as sample 0"),
    ):
        section = SamplesSection(calibration="", evaluation=entry)
        with pytest.raises(SamplesError, match=words):
            len(load_samples(section, "evaluation", SHAPE))


@pytest.mark.parametrize("entry", ["there_is_no_such_module:f", "json:no_such_function"])
def test_a_function_that_is_not_there_is_named(entry: str) -> None:
    section = SamplesSection(calibration="", evaluation=entry)
    with pytest.raises(SpecError, match=entry.partition(":")[0]):
        load_samples(section, "evaluation", SHAPE)


@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "folder"])
@pytest.mark.parametrize("name", ["1.npz", "1.png", "prompts.json", "masks/0.png"])
def test_what_is_no_file_is_refused_before_it_is_read(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    makers: dict[str, Callable[[], None]] = {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "loop": lambda: path.symlink_to(path.name),
        "folder": path.mkdir,
    }
    makers[kind]()
    if name != "1.npz":
        Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    if name == "masks/0.png":
        (tmp_path / "prompts.json").write_text('{"0.png": [{"point_coords": [[1, 2]], "object": 1}]}')
    section = SamplesSection(calibration=str(tmp_path), evaluation="", size=(8, 8))
    if kind == "loop" and name in ("prompts.json", "masks/0.png"):
        return  # as if it were not there
    with pytest.raises(SamplesError, match=r"not a readable file|not a regular file|is a folder"):
        list(load_samples(section, "calibration", {"image": (1, 3, 8, 8)}))


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    section = SamplesSection(calibration=str(tmp_path), evaluation="", size=(8, 8))
    with pytest.raises(SamplesError, match="not UTF-8; rename it"):
        load_samples(section, "calibration", {"image": (1, 3, 8, 8)})
