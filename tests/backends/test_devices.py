"""Which devices a search measures on; real GPUs are not needed to choose among them."""

from __future__ import annotations

import pytest

from autoprec import backends
from autoprec.backends import Device
from autoprec.backends.devices import devices, resource
from autoprec.backends.simulated import SimulatedBackend
from autoprec.backends.tensorrt import nvml
from autoprec.backends.tensorrt.neighbours import VISIBLE
from autoprec.backends.tensorrt.nvml import Gpu
from autoprec.errors import BackendError, StudyError


def gpu(index: int, name: str = "H100") -> Gpu:
    return Gpu(
        index=index, name=name, capability="9.0", free_mib=1, total_mib=1, other_processes=0,
        throttle_reasons=(), uuid=f"GPU-{index}",
    )  # fmt: skip


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "gpus", lambda: (gpu(0), gpu(1), gpu(2, "A100")))
    monkeypatch.delenv(VISIBLE, raising=False)


@pytest.mark.usefixtures("three")
def test_each_worker_sees_its_gpu_alone() -> None:
    assert [(d.name, d.environment) for d in devices("tensorrt", {}, "1,0")] == [
        ("gpu 1", {VISIBLE: "GPU-1"}),
        ("gpu 0", {VISIBLE: "GPU-0"}),
    ]
    assert [d.environment for d in devices("tensorrt", {}, None)] == [{}]


@pytest.mark.usefixtures("three")
def test_what_a_batch_system_hides_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "GPU-1,0")
    assert [d.lease for d in devices("tensorrt", {}, "all")] == ["GPU-1", "GPU-0"]
    assert devices("tensorrt", {}, None)[0].lease == "GPU-1"


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("wanted", "words"), [("3", "they go from 0 to 2"), ("-1", "no GPU -1"), ("one", "give numbers")]
)
def test_a_device_that_is_not_there_is_told(wanted: str, words: str) -> None:
    with pytest.raises(BackendError, match=words):
        devices("tensorrt", {}, wanted)


@pytest.mark.usefixtures("three")
def test_unlike_devices_are_refused_with_the_way_out() -> None:
    with pytest.raises(StudyError, match=r"A100 and H100 are not alike.*autoprec compare"):
        devices("tensorrt", {}, "all")


def test_a_cpu_is_one_device() -> None:
    assert [device.name for device in devices("openvino", {}, "all")] == ["cpu"]
    with pytest.raises(BackendError, match="computes on the CPU, which is one device"):
        devices("openvino", {}, "0,1")


class Added(SimulatedBackend):
    """A backend of somebody else, for two devices."""

    resource = "NPU"

    @staticmethod
    def devices() -> tuple[Device, ...]:
        return tuple(Device(name=f"npu {n}", lease=f"npu-{n}", environment={"NPU": str(n)}) for n in (0, 1))


def test_a_backend_that_is_added_gets_its_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "BACKENDS", {"added": (__name__, "Added")})
    assert [device.environment for device in devices("added", {}, "all")] == [{"NPU": "0"}, {"NPU": "1"}]
    assert devices("added", {"device": 1}, None) == (Device(name="npu 1", lease="npu-1"),)
    with pytest.raises(BackendError, match="there is no NPU 2; they go from 0 to 1"):
        devices("added", {}, "2")
    assert resource("added", {}) == "NPU"
    assert resource("added", {"target": "board"}) == ""


def test_processors_are_no_resource_of_a_cluster() -> None:
    assert (resource("openvino", {}), resource("tensorrt", {})) == ("", "GPU")


def test_engines_of_one_processor_share_its_lease() -> None:
    assert len({devices(engine, {}, None)[0].lease for engine in ("openvino", "simulated")}) == 1
