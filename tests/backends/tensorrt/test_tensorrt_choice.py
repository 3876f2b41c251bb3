"""Which TensorRT is taken where several are there, and some of them do not load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from autoprec.errors import TrialError
from autoprec.study.night.reference import _way_out

WORKS = "class ILogger: pass\n__version__ = '{version}'\n"
BROKEN = "raise ImportError('libnvinfer.so.10: cannot open shared object file')\n"
ASK = """
from autoprec.backends.tensorrt import library
library.Log = lambda trt: None
print({call})
"""


def asked(folder: Path, call: str, **modules: str) -> str:
    """What a fresh process says that has these modules in front of all others."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\n{ASK.format(call=call)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr.strip().rpartition("\n")[2]).strip()


FULL, RTX = WORKS.format(version="11.4.0"), WORKS.format(version="1.7.1")


def test_tensorrt_rtx_is_taken_where_both_are_there(tmp_path: Path) -> None:
    call = "library.load_library().name, library.load_library('tensorrt').version"
    assert asked(tmp_path, call, tensorrt=FULL, tensorrt_rtx=RTX) == "TensorRT-RTX 11.4.0"


def test_one_that_does_not_load_is_left_for_one_that_does(tmp_path: Path) -> None:
    broken = {"tensorrt_rtx": BROKEN, "tensorrt_rtx_bindings": BROKEN}
    assert asked(tmp_path, "library.load_library().version", tensorrt=FULL, **broken) == "11.4.0"


def test_the_reason_is_told_where_none_loads(tmp_path: Path) -> None:
    told = asked(tmp_path, "library.load_library('tensorrt')", tensorrt=BROKEN)
    assert "libnvinfer.so.10" in told


@pytest.mark.parametrize(("library", "version"), [("", "1.7.1"), ("tensorrt", "11.4.0")])
def test_an_agent_takes_the_library_that_a_study_names(tmp_path: Path, library: str, version: str) -> None:
    call = f"tensorrt_library.import_tensorrt({library!r}).__version__"
    call = f"__import__('importlib').import_module('autoprec.backends.target.agent.{call[:16]}'){call[16:]}"
    assert asked(tmp_path, call, tensorrt=FULL, tensorrt_rtx=RTX) == version


@pytest.mark.parametrize(
    ("kind", "precision", "words"),
    [("nan", "fp16", "name another"), ("build", "fp16", "where the reason is the precision"),
     ("memory", "fp16", ""), ("timeout", "fp16", ""), ("build", "fp32", "")],
)  # fmt: skip
def test_another_reference_is_named_only_where_it_may_help(kind: str, precision: str, words: str) -> None:
    way_out = _way_out(TrialError(kind, "the very reason"), precision)  # type: ignore[arg-type]
    assert (words in way_out) if words else not way_out
