"""The list of what autoprec uses of TensorRT is whole, and fits the versions whose dumps are kept."""

from __future__ import annotations

import ast
import gzip
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SCRIPT = HERE.parents[2] / "scripts" / "proofs" / "check_tensorrt_api"
BACKENDS = HERE.parents[2] / "autoprec" / "backends"
ADAPTER = sorted((BACKENDS / "tensorrt").glob("*.py"))
AGENT = sorted((BACKENDS / "target" / "agent").glob("*.py"))
AGENT = [path for path in AGENT if path.stem.startswith(("tensorrt_", "weak_"))]
OURS = {"attach", "close", "data", "device", "dtype", "errors", "itemsize", "kind", "log"}
OURS |= {"name", "serialize", "shape", "version"}
"""Names of our own objects that a class of TensorRT has too, beside those that are listed."""


@pytest.fixture(scope="module")
def check() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT))
        for name in ("uses", "stub"):
            sys.modules.pop(name, None)
        spec = importlib.util.spec_from_file_location("check_tensorrt_api", SCRIPT / "__main__.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def dump(version: str) -> dict[str, Any]:
    listing: dict[str, Any] = json.loads(
        gzip.decompress((HERE / "api" / f"api-{version}.json.gz").read_bytes())
    )
    return listing


def members(told: dict[str, Any]) -> Iterator[str]:
    """Last names of all that the classes have."""
    for one in told.values():
        for kind in ("methods", "properties", "enum"):
            yield from one.get(kind, ())
        yield from members(one.get("nested", {}))


@pytest.mark.parametrize(
    ("paths", "lists"),
    [(ADAPTER, ("ADAPTER",)), (AGENT, ("AGENT", "WEAK", "LOOKED_FOR"))],
    ids=["adapter", "agent"],
)
def test_every_name_of_the_api_that_is_spoken_is_listed(
    check: Any, paths: list[Path], lists: tuple[str, ...]
) -> None:
    listed = {name for group in (*lists, "PROBED") for name in getattr(check.uses, group)}
    classes = {name.partition(".")[0] for name in listed}
    dumps = [dump(version)["classes"] for version in (*check.SUPPORTED, *check.ON_TARGETS)]
    in_dumps = {name for told in dumps for name in members({k: v for k, v in told.items() if k in classes})}
    spoken: set[str] = set()
    direct: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                spoken.add(node.attr)
                if ast.unparse(node.value).endswith("trt"):
                    direct.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                spoken |= {node.value} if node.value.isidentifier() else set()
    missing = spoken & in_dumps - {name.rpartition(".")[2].removesuffix("=") for name in listed}
    assert missing <= OURS
    assert direct <= classes | {"ComputeCapability", "__version__", "__name__"}


@pytest.mark.parametrize(
    "version", ["8.6.1", "10.3.0", "10.13.3.9", "10.16.1.11", "11.0.0.114", "11.4.0.106"]
)
def test_all_that_is_used_is_in_a_supported_version(check: Any, version: str) -> None:
    assert list(check.problems(dump(version))) == []


def test_what_an_older_version_lacks_is_told(check: Any) -> None:
    told = dump("8.6.1") | {"version": "10.13.0"}
    told["classes"]["NetworkDefinitionCreationFlag"]["enum"]["STRONGLY_TYPED"] = 1
    assert "has no DataType.BF16" in list(check.problems(told))


def test_a_version_before_10_needs_what_holds_layers_to_their_types(check: Any) -> None:
    told = dump("8.6.1")
    del told["classes"]["BuilderFlag"]["enum"]["OBEY_PRECISION_CONSTRAINTS"]
    assert list(check.problems(told)) == ["has no BuilderFlag.OBEY_PRECISION_CONSTRAINTS"]


def test_a_parameter_that_moved_is_told(check: Any) -> None:
    told = dump("11.4.0.106")
    signature = "set_timing_cache(self: IBuilderConfig, ignore_mismatch: bool, cache: ITimingCache) -> bool"
    told["classes"]["IBuilderConfig"]["methods"]["set_timing_cache"] = [signature]
    (problem,) = check.problems(told)
    assert problem.startswith("IBuilderConfig.set_timing_cache takes other parameters")


@pytest.mark.parametrize(
    ("name", "moved", "wanted"),
    [
        ("report_to_profiler", {"ro": True}, "IExecutionContext.report_to_profiler is a property"),
        (
            "execute_async_v3",
            ["execute_async_v3(self, stream_handle: int) -> Status"],
            "a function that gives Status",
        ),
    ],
)
def test_what_became_another_kind_or_gives_something_else_is_told(
    check: Any, name: str, moved: Any, wanted: str
) -> None:
    told = dump("11.4.0.106")
    assert list(check.changes(told)) == []
    del told["classes"]["IExecutionContext"]["methods"][name]
    place = "methods" if isinstance(moved, list) else "properties"
    told["classes"]["IExecutionContext"][place][name] = moved
    (problem,) = check.changes(told)
    assert wanted in problem
