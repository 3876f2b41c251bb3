"""What loading does to a model: steps in one order, each of which finds what those before it left.

`load` runs them one after another: what several of them undo, types after a change, say, is a step as often
as that. Only what repeats until nothing changes, as branches in loops, goes round within a step. Each names
the conditions that it needs and those that it makes true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import InvariantError
from onnx_ir.passes.common import (
    CheckerPass,
    InlinePass,
    LiftConstantsToInitializersPass,
    RemoveUnusedFunctionsPass,
    TopologicalSortPass,
)

from autoprec.errors import ModelError
from autoprec.graph.model.aside import SMALL_BYTES
from autoprec.graph.model.conditions import (
    Condition,
    at_last_opset,
    constants_lifted,
    in_fp32,
    inlined,
    inputs_fixed,
    ordered,
    read,
    small_weights_read,
    straight,
    typed,
    uniquely_named,
    without_pairs,
)  # fmt: skip
from autoprec.graph.model.contrib.fusions import without_fusions
from autoprec.graph.model.contrib.refusals import (
    refuse_control_flow,
    refuse_namesakes,
    refuse_random,
    refuse_untyped,
)
from autoprec.graph.model.forms import FORMS
from autoprec.graph.model.forms.borders import without_bare_levels
from autoprec.graph.model.forms.branches import take_known
from autoprec.graph.model.forms.folding import fold
from autoprec.graph.model.forms.integers import cut_between_levels, without_integers
from autoprec.graph.model.forms.loops import unroll_known
from autoprec.graph.model.forms.sequences import without_sequences
from autoprec.graph.model.incoming.lifting import QUANTIZED_OPS, lift
from autoprec.graph.model.inference import Notes, infer, is_open, set_aside, unshaped
from autoprec.graph.model.inputs import fix_inputs
from autoprec.graph.model.passing import pass_identities, remove_unused
from autoprec.graph.model.taming import tame
from autoprec.graph.model.upgrades.opset import at_opset
from autoprec.graph.model.upgrades.raising import raised
from autoprec.graph.ops.costs import COSTLY_OPS

_MOST_NODES = 100_000
"""Of a model whose functions are written out: models of transformers have some ten thousand."""


class Loading:
    """A model on its way through the steps.

    Attributes:
        model: as the steps so far left it.
        shapes: sizes for inputs that have dynamic ones.
        notes: types and shapes that the file states, set aside for inference.
        told: what changed that the user should know of, one line each.
    """

    __slots__ = ("model", "notes", "shapes", "told")

    def __init__(self, model: ir.Model, shapes: Mapping[str, Sequence[int]]) -> None:
        self.model = model
        self.shapes = shapes
        self.notes: Notes = {}
        self.told: list[str] = []


Change = Callable[[Loading], None]


class Step(NamedTuple):
    """One change or check of a model, and what holds before and behind it: see `conditions`."""

    change: Change
    requires: tuple[Condition, ...] = ()
    ensures: tuple[Condition, ...] = ()


def on_model(change: Callable[[ir.Model], object]) -> Change:
    """What changes or checks a model in place, as a step's change."""

    def step(loading: Loading) -> None:
        change(loading.model)

    return step


def on_graph(change: Callable[[ir.Graph], object]) -> Change:
    """What changes a model's graph in place, as a step's change."""

    def step(loading: Loading) -> None:
        change(loading.model.graph)

    return step


def _read_small_weights(model: ir.Model) -> None:
    """Take small tensors out of external files: ONNX's checker sees them, and does not know the folder."""
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor) and tensor.nbytes <= SMALL_BYTES:
            value.const_value = ir.tensor(np.array(tensor.numpy()), dtype=tensor.dtype, name=tensor.name)


def _written_out(model: ir.Model) -> int:
    """Nodes of a model once its functions are written out: a few that call one another may be any number.

    0 for functions that call each other in a circle.
    """
    counts: dict[ir.OperatorIdentifier, int] = {}
    called = {name: [node.op_identifier() for node in f.all_nodes()] for name, f in model.functions.items()}
    try:
        for name in TopologicalSorter(called).static_order():
            counts[name] = sum(counts[callee] for callee in called[name]) if name in called else 1
    except CycleError:
        return 0
    return sum(counts.get(node.op_identifier(), 1) for node in model.graph.all_nodes())


def _inline(model: ir.Model) -> None:
    """Write out the model's own functions."""
    RemoveUnusedFunctionsPass()(model)  # type: ignore[no-untyped-call]
    if _written_out(model) > _MOST_NODES:
        raise ModelError(
            f"its functions are more than {_MOST_NODES} nodes when they are written out; export it without "
            "local functions"
        )
    try:
        InlinePass()(model)
    except InvariantError as error:
        raise ModelError(
            f"its functions call each other in a circle ({first_line(error)}); export it without local "
            "functions"
        ) from error


def _lift_constants(model: ir.Model) -> None:
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)


def _set_aside(loading: Loading) -> None:
    loading.notes = set_aside(loading.model.graph)


def _fix_inputs(loading: Loading) -> None:
    fix_inputs(loading.model, loading.shapes)


def _infer(loading: Loading) -> None:
    infer(loading.model, loading.notes)


def _compute_constants(loading: Loading) -> None:
    """Compute what is known before the model runs: constants, branches, loops."""
    model, graph = loading.model, loading.model.graph
    without_fusions(model, loading.notes)
    is_controlled = any(node.op_type in ("If", "Loop", "Scan") for node in graph)
    fold(graph, shapes=is_controlled or is_open(graph))
    # What a branch or a round of a loop leaves may settle the next one.
    while take_known(graph) or unroll_known(graph):
        _lift_constants(model)
        without_fusions(model, loading.notes)
        fold(graph, shapes=True)


def _lift_pairs(loading: Loading) -> None:
    """Take Q/DQ pairs off, after operators of integers are written as pairs and floats."""
    graph = loading.model.graph
    if any(node.op_type in QUANTIZED_OPS for node in graph):
        if without_integers(graph) | without_bare_levels(graph):
            infer(loading.model, loading.notes)
        lift(loading.model)


def _tell_of_cuts(loading: Loading) -> None:
    loading.told.append(cut_between_levels(loading.model.graph))


def _raise(loading: Loading) -> None:
    names = " and ".join(kind.name for kind in raised(loading.model))
    if names:
        loading.told.append(
            f"the model computes in {names} inside; to search from, it is raised to FP32, without that "
            "rounding"
        )


def _upgrade(loading: Loading) -> None:
    loading.model = at_opset(loading.model)


def _name_nodes(graph: ir.Graph) -> None:
    """Unique node names: the file's own where they are, else op type and output."""
    # Blocks, assignments and the audit go by these names, so every run has to come to the same ones.
    seen: set[str] = set()
    for node in graph:
        name = node.name or f"{node.op_type}/{node.outputs[0].name}"
        number = 1
        while name in seen:
            number += 1
            name = f"{node.name or node.op_type}/{node.outputs[0].name}" + (
                f"/{number}" if number > 2 else ""
            )
        node.name = name
        seen.add(name)


def _tell_of_shapes(loading: Loading) -> None:
    loading.told.append(unshaped(loading.model, COSTLY_OPS))


STEPS: tuple[Step, ...] = (
    Step(on_model(_inline), ensures=(inlined,)),
    Step(_set_aside),
    Step(on_graph(pass_identities)),
    Step(on_model(_lift_constants), requires=(inlined,), ensures=(constants_lifted,)),
    Step(on_model(_read_small_weights), requires=(constants_lifted,), ensures=(small_weights_read,)),
    Step(_fix_inputs, ensures=(inputs_fixed,)),
    Step(on_model(TopologicalSortPass()), ensures=(ordered,)),
    # Before pairs are lifted: their scales and zero points may be computed, and have to be constants.
    Step(_compute_constants, requires=(constants_lifted, inputs_fixed, ordered)),
    Step(on_model(refuse_control_flow), ensures=(straight,)),
    Step(on_graph(without_sequences), requires=(straight,)),
    Step(_infer, requires=(inputs_fixed, ordered, straight)),
    Step(_lift_pairs, requires=(constants_lifted, ordered), ensures=(without_pairs,)),
    Step(_tell_of_cuts),
    Step(_raise, requires=(constants_lifted, without_pairs), ensures=(in_fp32,)),
    Step(_upgrade, requires=(small_weights_read, straight), ensures=(at_last_opset,)),
    # Again: the version converter writes attributes that became inputs as Constant nodes.
    Step(on_model(_lift_constants), ensures=(constants_lifted,)),
    Step(on_model(TopologicalSortPass()), ensures=(ordered,)),
    Step(_infer, requires=(inputs_fixed, ordered, at_last_opset)),
    Step(on_graph(fold), requires=(constants_lifted, ordered)),
    Step(on_graph(tame), requires=(constants_lifted, in_fp32)),
    Step(on_graph(remove_unused), ensures=(read,)),
    # Only now: a random node that nothing reads does no harm.
    Step(on_model(refuse_random), requires=(read,)),
    # Before the forms, which name what they write after the node that they replace.
    Step(on_graph(_name_nodes), ensures=(uniquely_named,)),
    *(Step(on_graph(form), requires=(at_last_opset, ordered, uniquely_named)) for form in FORMS),
    # Again: a form may leave constants behind that nothing reads any more.
    Step(on_graph(remove_unused), ensures=(read,)),
    Step(on_model(refuse_untyped), ensures=(typed,)),
    Step(on_model(refuse_namesakes)),
    # Without inference, whose gaps and faults are dealt with in `inference`.
    Step(on_model(CheckerPass(full_check=False)), requires=(small_weights_read, typed)),
    Step(_tell_of_shapes),
)
"""From a model as its file has it to one that can be partitioned and written in any precision."""


def first_line(error: Exception) -> str:
    """The first line of a message, or of the message of what caused it."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
