"""A script for NVIDIA ModelOpt: the same blocks quantised from the float model, with ModelOpt's own ranges.

`model.onnx` needs no ModelOpt; this is for those whose tool chain starts there. ModelOpt 0.47 quantises to
one type a call and converts all the rest to one float type, so a mix of several is only approached: the most
frequent quantised type is taken, and the most frequent float type.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

from autoprec.exporters._script import SCRIPTS
from autoprec.exporters.implicit import MODEL as SOURCE
from autoprec.exporters.onnx import copy
from autoprec.precisions import PRECISIONS
from autoprec.records import Export

SCRIPT = "modelopt_quantize.py"
NODES = "modelopt.json"
MODES = ("int8", "fp8", "int4")
FLOATS = ("fp16", "bf16", "fp32")


def write(export: Export, folder: Path) -> tuple[Path, ...]:
    """Write the script, the float model, and the names of its nodes; nothing without that model."""
    if export.implicit is None:
        return ()
    choices = export.trial.assignment.as_dict()
    plain = {block.name: PRECISIONS[choices[block.name]].plain for block in export.blocks}
    counts = Counter(plain.values())
    mode = max(MODES, key=lambda name: counts[name])
    settings = {
        "quantize_mode": mode,
        "high_precision_dtype": max(FLOATS, key=lambda name: counts[name]),
        "nodes_to_quantize": [
            node for block in export.blocks if plain[block.name] == mode for node in block.nodes
        ],
        "left_out": {
            name: precision
            for name, precision in plain.items()
            if PRECISIONS[precision].is_quantized and precision != mode
        },
    }
    nodes = folder / NODES
    nodes.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    script = Path(shutil.copyfile(SCRIPTS / SCRIPT, folder / SCRIPT))
    there = (folder / SOURCE).exists()
    return (script, nodes, *(() if there else copy(Path(export.implicit.model_path), folder / SOURCE)))
