"""The public names: documented, typed, and quick to import, without any engine."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import autoprec
from autoprec import errors

ENGINES = {"openvino", "tensorrt", "tensorrt_rtx", "torch", "onnxruntime", "polygraphy", "cuda", "pynvml"}
HEAVY = {"numpy", "onnx", "optuna", "rich", "scipy", "sqlalchemy"}


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after some code."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", code]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_by("import autoprec") & (HEAVY | ENGINES)


def test_a_notebook_without_widgets_hears_nothing_of_them() -> None:
    notebook = "import sys, types; sys.modules['ipywidgets'] = None"
    notebook += "\nsys.modules['ipykernel.zmqshell'] = kernel = types.ModuleType('IPython')"
    notebook += "\nkernel.get_ipython, sys.modules['IPython'] = object, kernel\n"
    command = [sys.executable, "-W", "default", "-c", f"{notebook}import autoprec; autoprec.Study"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "IProgress" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        *(
            pytest.param(words, marks=pytest.mark.slow)
            for words in ("search --help", "export -h", "front --fronnt")
        ),
    ],
)
def test_the_command_line_answers_without_loading_what_it_does_not_use(words: str) -> None:
    code = "import contextlib\nfrom autoprec.cli import main\n"
    code += f"with contextlib.suppress(SystemExit): main({words.split()})"
    assert not loaded_by(code) & (HEAVY | ENGINES)


@pytest.mark.parametrize(
    "code",
    [
        "from autoprec import Study",
        *(
            pytest.param(code, marks=pytest.mark.slow)
            for code in ("import autoprec.cli", "import autoprec.backends, autoprec.exporters")
        ),
    ],
)
def test_no_engine_loads_before_it_is_named(code: str) -> None:
    assert not loaded_by(code) & ENGINES


def public() -> list[tuple[str, typing.Any]]:
    """Public names, and the public methods of the classes among them."""
    members = [(name, getattr(autoprec, name)) for name in autoprec.__all__]
    for name, owner in tuple(members):
        if inspect.isclass(owner):
            members += [
                (f"{name}.{attribute}", getattr(member, "fget", None) or getattr(member, "__func__", member))
                for attribute, member in vars(owner).items()
                if not attribute.startswith("_")
                and (callable(member) or hasattr(member, "__get__"))
                and attribute not in getattr(owner, "__struct_fields__", ())
            ]
    return members


@pytest.mark.parametrize(
    ("name", "member"), public(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_public_name_has_a_docstring_and_types(name: str, member: typing.Any) -> None:
    assert (member.__doc__ or "").strip(), f"{name} has no docstring"
    if inspect.isfunction(member):
        hints = inspect.signature(member).parameters.values()
        assert all(p.annotation is not p.empty for p in hints if p.name not in {"self", "cls"})
        assert "return" in member.__annotations__


RECORDS = [name for name in autoprec.__all__ if hasattr(getattr(autoprec, name), "__struct_fields__")]


@pytest.mark.parametrize("name", RECORDS)
def test_a_public_record_tells_what_each_of_its_fields_is(name: str) -> None:
    record = getattr(autoprec, name)
    untold = [field for field in record.__struct_fields__ if not re.search(rf"\b{field}\b", record.__doc__)]
    assert not untold


def test_the_verbs_of_the_command_line_are_methods_of_a_study() -> None:
    verbs = {"blocks", "search", "front", "trial", "sensitivity", "export"}
    assert verbs <= set(dir(autoprec.Study))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Studdy'"):
        autoprec.Studdy  # noqa: B018
    assert set(dir(autoprec)) == set(autoprec.__all__)


def test_every_error_says_what_it_is_for() -> None:
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Exception)]
    assert len(kinds) >= 8
    assert all(kind.__doc__ and issubclass(kind, errors.AutoprecError) for kind in kinds)


def test_what_is_wrong_in_a_module_is_told_where_its_names_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_home.py").write_text("import onnx_ir\nonnx_ir.DataType.FLOAT9\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(autoprec._HOMES, "Study", "broken_home")
    with pytest.raises(ImportError, match="FLOAT9"):
        from autoprec import Study  # noqa: F401
