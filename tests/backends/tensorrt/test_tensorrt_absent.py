from __future__ import annotations

import importlib.util

import pytest

from autoprec.backends.tensorrt import TensorRTBackend
from autoprec.errors import BackendError


@pytest.mark.parametrize("extra", ["tensorrt", "tensorrt-rtx"])
def test_a_library_that_is_not_installed_is_named_with_the_extra_that_brings_it(extra: str) -> None:
    if importlib.util.find_spec(extra.replace("-", "_")):
        pytest.skip(f"{extra} is installed")
    with pytest.raises(BackendError, match=rf"pip install .*\[{extra}\]"):
        TensorRTBackend({"library": extra})
