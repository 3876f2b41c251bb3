"""Refined weights come back from their file as they were, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from autoprec.errors import TrialError
from autoprec.graph.variants.edits import Edits
from autoprec.graph.variants.refined import load_refined, save_refined


def saved(folder: Path, weight: float = 1.0) -> tuple[Edits, str]:
    """Two nodes that share a weight, one bias and one range, and the name of their file."""
    shared = ir.tensor(np.full((2, 3), weight, np.float32), name="w")
    bias = ir.tensor(np.arange(3, dtype=np.float32), name="b")
    edits = Edits({("one", 1): shared, ("two", 1): shared, ("two", 2): bias}, (), {"x": 2.5})
    return edits, save_refined(edits, folder)


def test_refined_weights_and_ranges_come_back(tmp_path: Path) -> None:
    before, digest = saved(tmp_path)
    after = load_refined(tmp_path, digest)
    assert after.ranges == before.ranges
    assert list(after.constants) == list(before.constants)
    for key, tensor in before.constants.items():
        np.testing.assert_array_equal(after.constants[key].numpy(), tensor.numpy())
    assert after.constants["one", 1] is after.constants["two", 1], "what was shared is one tensor again"


def test_the_same_weights_are_one_file_and_others_are_another(tmp_path: Path) -> None:
    names = [saved(tmp_path, weight)[1] for weight in (1.0, 1.0, 2.0)]
    assert names[0] == names[1] != names[2]
    assert {path.stem for path in tmp_path.iterdir()} == set(names)


@pytest.mark.parametrize("content", [None, b"", b"rubbish", b"other weights"])
def test_weights_that_are_not_those_that_were_measured_are_refused(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / f"{saved(tmp_path)[1]}.npz"
    other = tmp_path / f"{saved(tmp_path, 2.0)[1]}.npz"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(other.read_bytes() if content == b"other weights" else content)
    with pytest.raises(TrialError, match="the refined weights cannot be read"):
        load_refined(tmp_path, path.stem)
