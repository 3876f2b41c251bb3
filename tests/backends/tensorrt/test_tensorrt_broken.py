"""What doctor says of a full TensorRT that is there, and does not serve: one line, with what to install."""

from __future__ import annotations

import json
import subprocess
import sys
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import pytest

from autoprec.backends.tensorrt import cuda
from autoprec.backends.tensorrt.library import MODULES, load_library, mixed_wheels
from autoprec.errors import BackendError

LIBRARIES = "libnvinfer.so.11: cannot open shared object file: No such file or directory"
CUDA = "libcudart.so.12: cannot open shared object file: No such file or directory"
DRIVER = "libcuda.so.1: cannot open shared object file: No such file or directory"
SECTION = "BackendSection(name='tensorrt', options={'library': 'tensorrt'})"


class Status(Enum):
    cudaSuccess = 0  # noqa: N815
    cudaErrorInsufficientDriver = 35  # noqa: N815
    cudaErrorNoDevice = 100  # noqa: N815


def driver(status: Status, version: int) -> SimpleNamespace:
    """The CUDA runtime on a machine whose driver says so."""
    return SimpleNamespace(
        cudaError_t=Status,
        cudaGetDeviceCount=lambda: (status, 0),
        cudaGetErrorName=lambda code: (Status.cudaSuccess, code.name.encode()),
        cudaGetErrorString=lambda code: (Status.cudaSuccess, code.name.encode()),
        cudaDriverGetVersion=lambda: (Status.cudaSuccess, version),
    )


def told(folder: Path) -> dict[str, str]:
    """The check of the backend, with a package of that folder in TensorRT's place."""
    program = (
        "import msgspec; from autoprec.study.diagnosis import diagnose; "
        "from autoprec.spec import BackendSection; "
        f"print(msgspec.json.encode(diagnose({SECTION}).checks[-1]).decode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(folder)},
    )
    listing: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return listing


def test_what_a_broken_package_lacks_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "__init__.py").write_text(f"raise ImportError({LIBRARIES!r})\n")
    lines = told(tmp_path)
    assert (lines["name"], lines["found"]) == ("backend tensorrt", "cannot serve")
    assert "its libraries are not there: `pip install tensorrt" in lines["remedy"]
    assert "\n" not in lines["remedy"]


@pytest.mark.parametrize(
    ("program", "wanted"),
    [
        (None, "is not installed"),
        ("raise RuntimeError('ABI mismatch')", "does not load: ABI mismatch"),
        ("import numpy; numpy.no_such_type", "does not load: module 'numpy' has no attribute"),
        ("from tensorrt_bindings_of_another_python import *", "does not load: No module named"),
        (f"raise ImportError({CUDA!r})", "made for another CUDA: `pip install --force-reinstall tensorrt"),
        (f"raise ImportError({DRIVER!r})", "install the NVIDIA driver"),
    ],
)
def test_a_package_that_is_half_there_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, wanted: str
) -> None:
    (tmp_path / "half_there").mkdir()  # alone, as a package that was removed may leave it
    if program is not None:
        (tmp_path / "half_there" / "__init__.py").write_text(program)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(MODULES, "tensorrt", ("half_there",))
    monkeypatch.delitem(sys.modules, "half_there", raising=False)
    with pytest.raises(BackendError, match=wanted) as caught:
        load_library.__wrapped__("tensorrt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "version", "wanted"),
    [
        (Status.cudaErrorNoDevice, 13000, "CUDA_VISIBLE_DEVICES"),
        (
            Status.cudaErrorInsufficientDriver,
            12040,
            r"serves CUDA 12\.4.*update the driver.*cuda-bindings==12",
        ),
    ],
)
def test_a_driver_that_does_not_serve_is_told(
    monkeypatch: pytest.MonkeyPatch, status: Status, version: int, wanted: str
) -> None:
    monkeypatch.setattr(cuda, "runtime", lambda: driver(status, version))
    with pytest.raises(BackendError, match=wanted):
        cuda.find_device(0)


def test_without_a_driver_there_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "runtime", lambda: driver(Status.cudaErrorInsufficientDriver, 0))
    assert cuda.find_device(0) is None


@pytest.mark.parametrize("libraries", ["12", "13"])
def test_parts_for_different_cudas_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, libraries: str
) -> None:
    for name in ("tensorrt_cu13_bindings", f"tensorrt_cu{libraries}_libs"):
        folder = tmp_path / f"{name}-11.4.0.106.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 11.4.0.106\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert ("libraries for CUDA 12" in mixed_wheels()) == (libraries == "12")
