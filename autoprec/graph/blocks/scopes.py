"""Module scopes of nodes, from the names and metadata that exporters leave.

The legacy exporter of PyTorch names nodes `/stages.3/op_list.1/conv/Conv`; the dynamo exporter keeps the
module path in the metadata `pkg.torch.onnx.name_scopes`. Both give one scope: stages, 3, op_list, 1, conv.
"""

from __future__ import annotations

import re
from itertools import compress, pairwise

import onnx_ir as ir

Scope = tuple[str, ...]

_METADATA = "pkg.torch.onnx.name_scopes"
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def scope_of(node: ir.Node) -> Scope:
    """The module path of a node, outermost first; empty where there is none."""
    listed = node.metadata_props.get(_METADATA)
    if listed:
        paths = [first or second for first, second in _QUOTED.findall(listed)]
        # The last entry is the node itself, the one before it the module that called it.
        return _tokens(paths[-2]) if len(paths) > 1 else ()
    modules = (node.name or "").split("/")[:-1]
    # A child of a Sequential comes with its parent's name before its own: /enc/enc.0/conv/Conv.
    repeated = [after.startswith(f"{name}.") for name, after in pairwise(modules)]
    return _tokens(".".join(compress(modules, [not again for again in repeated] + [True])))


def has_scopes(nodes: list[ir.Node]) -> bool:
    """Whether scopes distinguish nodes: most have one, and there are several."""
    scopes = [scope for scope in map(scope_of, nodes) if scope]
    # A model whose nodes all share one prefix has names, but nothing to cut by.
    return len(scopes) * 2 > len(nodes) and len(set(scopes)) > 1


def _tokens(path: str) -> Scope:
    return tuple(part for part in path.strip("./").split(".") if part)
