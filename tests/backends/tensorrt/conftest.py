from __future__ import annotations

from collections.abc import Iterator

import pytest

from tensorrt_here import MASK


@pytest.fixture(autouse=True, scope="session")
def _caches_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Full TensorRT is pretended to have a GPU, and keeps timings for it."""
    with pytest.MonkeyPatch.context() as patch:
        if MASK:
            patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("caches")))
        yield
