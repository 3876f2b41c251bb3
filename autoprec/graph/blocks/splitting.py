"""Blocks by module scope: split the heaviest scope that may be split, until there are enough of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from autoprec.graph.blocks.scopes import Scope, scope_of
from autoprec.graph.ops.costs import is_depthwise

Groups = dict[Scope, list[ir.Node]]

_ENOUGH = 0.75
"""Share of the largest allowed number of blocks at which splitting stops."""
_LIGHT = 0.02
"""A scope with less than this share of all MACs is not worth splitting."""
_HEAVY = 0.4
"""A scope with more than this share is split although it looks like one unit."""
_UNITS = frozenset({"MatMul", "Softmax", "Div", "ReduceMean", "ReduceSum", "Resize", "LayerNormalization"})
"""Ops that, called directly by a module, make it one unit: attention, a norm, an up-sampler."""
_BRANCHED = 6
"""A module that adds branches of its one input is a residual block, up to this many costly nodes."""
_JOINS = frozenset({"Add", "Mul", "Sub", "Concat"})


def by_scope(
    nodes: Sequence[ir.Node], cost: Mapping[ir.Node, int], *, minimum: int, maximum: int, depth: int | None
) -> dict[ir.Node, str]:
    """Home of each node, named after its scope.

    Args:
        nodes: all nodes in graph order.
        cost: MACs of each.
        minimum, maximum: how many groups are wanted.
        depth: split every scope above this depth and none below, whatever it costs.
    """
    splitter = _Splitter(nodes, cost, depth)
    room = max(minimum, int(_ENOUGH * maximum))
    while (split := splitter.next_split(minimum, room)) is not None:
        splitter.apply(*split)
    return splitter.homes()


class _Splitter:
    """The scopes that are blocks so far."""

    def __init__(self, nodes: Sequence[ir.Node], cost: Mapping[ir.Node, int], depth: int | None) -> None:
        self._cost = cost
        self._scopes = {node: scope_of(node) for node in nodes}
        self._whole = sum(cost.values()) or 1
        self._groups: Groups = {(): list(nodes)}
        self._depth = depth

    def next_split(self, minimum: int, room: int) -> tuple[Scope, Groups] | None:
        """The heaviest scope that may be split, with its parts; None when no more should be."""
        # Ties by name, not by the order of the file: any sorted order has to give the same blocks.
        for scope in sorted(self._groups, key=lambda scope: (-self._weight(self._groups[scope]), scope)):
            parts = self._parts(scope)
            costly = self._costly_parts(scope)
            if parts.keys() <= {scope} or not costly:
                continue
            if len(costly) == 1:  # a wrapper: going inside makes no further block
                return scope, parts
            if self._depth is not None:
                if len(scope) < self._depth and not self._is_unit(scope):
                    return scope, parts
                continue
            share = self._weight(self._groups[scope]) / self._whole
            too_few = len(self._costly_groups()) < minimum
            wanted = share > _LIGHT or too_few
            # Parts that do not fit are merged later: 48 layers are better in 40 blocks than in one.
            fits = self._size_with(scope) <= room or too_few or share > _HEAVY
            if wanted and fits and (share > _HEAVY or not self._is_unit(scope)):
                return scope, parts
        return None

    def _size_with(self, scope: Scope) -> int:
        """Number of blocks once a scope is split; layers are split all together or not at all."""
        now = self._costly_groups()
        split = [other for other in now if self._is_layer(other)] if self._is_layer(scope) else [scope]
        return len(now) + sum(len(self._costly_parts(other)) - 1 for other in split)

    def apply(self, scope: Scope, parts: Groups) -> None:
        """Put the parts in the scope's place."""
        del self._groups[scope]
        self._groups.update(parts)

    def homes(self) -> dict[ir.Node, str]:
        """Home of each node. One without cost that a split scope calls itself has its own home for now."""
        costly = self._costly_groups()
        places = {}
        for scope, members in self._groups.items():
            split = any(other[: len(scope)] == scope and other != scope for other in self._groups)
            name = _short_name(scope, costly)
            for node in members:
                places[node] = f"{name}:{node.name}" if split and not self._cost[node] else name
        return places

    def _parts(self, scope: Scope) -> Groups:
        """Members by child scope; what the scope calls itself stays under its own name."""
        parts: Groups = {}
        for node in self._groups[scope]:
            parts.setdefault(self._scopes[node][: len(scope) + 1], []).append(node)
        return parts

    def _costly_parts(self, scope: Scope) -> list[Scope]:
        return [part for part, members in self._parts(scope).items() if self._weight(members)]

    def _is_unit(self, scope: Scope) -> bool:
        """Whether a scope is one unit that fusion or arithmetic holds together.

        That is: few costly nodes; an MBConv; a module that itself calls attention's products, a norm's or
        an up-sampler's ops; or one that joins its own result with a value from outside, as a residual does,
        or that adds two branches of its one input, as a residual with a projection does. A transformer's
        layer, which adds two branches one after the other, is two such units.
        """
        members = self._groups[scope]
        costly = [node for node in members if self._cost[node]]
        if len(costly) <= 2 or (len(costly) <= 4 and any(map(is_depthwise, costly))):
            return True
        if self._is_layer(scope):
            return False
        inside = set(members)
        for node in members:
            if self._scopes[node] != scope:
                continue
            if node.op_type in _UNITS:
                return True
            if node.op_type in _JOINS and _joins_outside(node, inside):
                return True
            if node.op_type == "Add" and len(costly) <= _BRANCHED and len(_outside(members, inside)) == 1:
                return True
        return False

    def _is_layer(self, scope: Scope) -> bool:
        """Whether a module itself adds computed values several times, and calls no other op of a unit."""
        own = [node for node in self._groups[scope] if self._scopes[node] == scope]
        joins = [node for node in own if node.op_type == "Add" and not _reads_constant(node)]
        return len(joins) > 1 and not any(node.op_type in _UNITS for node in own)

    def _costly_groups(self) -> list[Scope]:
        return [scope for scope, members in self._groups.items() if self._weight(members)]

    def _weight(self, members: Sequence[ir.Node]) -> int:
        return sum(self._cost[node] for node in members)


def _reads_constant(node: ir.Node) -> bool:
    return any(value is None or value.const_value is not None for value in node.inputs)


def _joins_outside(node: ir.Node, inside: set[ir.Node]) -> bool:
    """Whether a node combines a value from outside a group with one from inside."""
    values = [value for value in node.inputs if value is not None and value.const_value is None]
    ours = [value.producer() in inside for value in values]
    return any(ours) and not all(ours)


def _outside(members: Sequence[ir.Node], inside: set[ir.Node]) -> set[ir.Value]:
    """Computed values that a group reads and does not make."""
    values = {value for node in members for value in node.inputs if value is not None}
    return {value for value in values if value.const_value is None and value.producer() not in inside}


def _short_name(scope: Scope, all_scopes: Sequence[Scope]) -> str:
    """The shortest prefix that no other block shares: `stages.1.blocks.0` rather than its only child."""
    for length in range(1, len(scope)):
        if sum(other[:length] == scope[:length] for other in all_scopes) <= 1:
            return ".".join(scope[:length])
    return ".".join(scope) or "model"
