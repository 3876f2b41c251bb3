"""Learned weights and ranges of one candidate, on disk by their digest."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from autoprec.errors import TrialError, UserError, exhausted
from autoprec.files import ensure_regular, replacing
from autoprec.graph.variants.edits import Edits


def save_refined(edits: Edits, folder: Path) -> str:
    """Write constants and ranges; returns the digest that `load_refined` takes. Raises OSError."""
    arrays: dict[str, Any] = {
        "nodes": np.array([node for node, _ in edits.constants], dtype=str),
        "places": np.array([place for _, place in edits.constants], np.int64),
        "names": np.array([str(tensor.name) for tensor in edits.constants.values()], dtype=str),
        "range_names": np.array(list(edits.ranges), dtype=str),
        "ranges": np.array(list(edits.ranges.values()), np.float64),
    }
    # By name: weights that several nodes share are stored once, and are one initializer again when loaded.
    tensors = {str(tensor.name): tensor.numpy() for tensor in edits.constants.values()}
    for number, name in enumerate(dict.fromkeys(arrays["names"].tolist())):
        arrays[f"tensor{number}"] = tensors[name]
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    digest = hashlib.sha256(packed.getbuffer()).hexdigest()[:16]
    with replacing(folder / f"{digest}.npz") as part:
        part.write_bytes(packed.getbuffer())
    return digest


def load_refined(folder: Path, digest: str) -> Edits:
    """What `save_refined` wrote. Raises `TrialError("rewrite", ...)` if it is gone or damaged.

    The name is the checksum: these weights cannot be made again, and a trial is of exactly them.
    """
    path = folder / f"{digest}.npz"
    try:
        _check(path, digest)
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
        # Without memory or file handles the weights are not damaged: no trial has failed, the machine has.
        if words := exhausted(error):
            raise UserError(f"{path}: {words}") from error
        raise TrialError("rewrite", f"{path}: the refined weights cannot be read ({error})") from error
    return Edits(constants, (), ranges)


def _check(path: Path, digest: str) -> None:
    """Raises ValueError for a file that is not what its name says, OSError for one that cannot be read."""
    ensure_regular(path)
    with path.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest()[:16] != digest:
            raise ValueError("they are not those that were measured")
