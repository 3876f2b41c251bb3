"""Learned weights and ranges of one candidate, on disk by their digest."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from autoprec.errors import TrialError
from autoprec.graph.variants.edits import Edits


def save_refined(edits: Edits, folder: Path) -> str:
    """Write constants and ranges; returns the digest that `load_refined` takes. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        "nodes": np.array([node for node, _ in edits.constants], dtype=str),
        "places": np.array([place for _, place in edits.constants], np.int64),
        "names": np.array([str(tensor.name) for tensor in edits.constants.values()], dtype=str),
        "range_names": np.array(list(edits.ranges), dtype=str),
        "ranges": np.array(list(edits.ranges.values()), np.float64),
    }
    tensors = {str(tensor.name): tensor.numpy() for tensor in edits.constants.values()}
    for number, name in enumerate(dict.fromkeys(arrays["names"].tolist())):
        arrays[f"tensor{number}"] = tensors[name]
    temporary = folder / "refined.part.npz"
    np.savez(temporary, **arrays)
    with temporary.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    temporary.replace(folder / f"{digest}.npz")
    return digest


def load_refined(folder: Path, digest: str) -> Edits:
    """What `save_refined` wrote. Raises `TrialError("rewrite", ...)` if it is gone or damaged."""
    path = folder / f"{digest}.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            names = file["names"].tolist()
            tensors = {
                name: ir.tensor(file[f"tensor{number}"], name=f"autoprec/{digest}/{name}")
                for number, name in enumerate(dict.fromkeys(names))
            }
            keys = zip(file["nodes"].tolist(), file["places"].tolist(), strict=True)
            constants = {key: tensors[name] for key, name in zip(keys, names, strict=True)}
            ranges = dict(zip(file["range_names"].tolist(), file["ranges"].tolist(), strict=True))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TrialError("rewrite", f"{path}: the refined weights cannot be read ({error})") from error
    return Edits(constants, (), ranges)
