"""A model's inputs, and fixing their sizes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TypeGuard

import onnx_ir as ir

from autoprec.errors import ModelError


def input_shapes(model: ir.Model) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """(name, shape) of each input of a loaded model."""
    return tuple(
        (str(value.name), tuple(int(str(size)) for size in value.shape or ())) for value in real_inputs(model)
    )


def real_inputs(model: ir.Model) -> list[ir.Value]:
    """Inputs that have no initializer: what a caller feeds."""
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def fix_inputs(model: ir.Model, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give every input a static shape; initializers that are listed as inputs too are none."""
    inputs = {str(value.name): value for value in real_inputs(model)}
    # Before IR version 4 each initializer had to be an input too, and any caller could replace it.
    model.graph.inputs[:] = list(inputs.values())
    for name, shape in shapes.items():
        if name not in inputs:
            near = difflib.get_close_matches(name, inputs, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"its inputs are: {', '.join(inputs)}"
            raise ModelError(f"has no input {name!r}; {hint}")
        declared = inputs[name].shape
        if declared is not None and len(declared) != len(shape):
            raise ModelError(f"input {name!r} has {len(declared)} dimensions, but {list(shape)} was given")
        for given, size in zip(shape, declared or shape, strict=True):
            if _is_fixed(size) and size != given:
                listed = ", ".join(map(str, declared or ()))
                raise ModelError(f"input {name!r} is [{listed}], but {list(shape)} was given")
        inputs[name].shape = ir.Shape(shape)
    for name, value in inputs.items():
        sizes = None if value.shape is None else list(value.shape)
        dynamic = [str(size) for size in sizes or () if not _is_fixed(size)]
        if sizes is None or dynamic:
            what = "no shape" if sizes is None else f"dynamic sizes ({', '.join(dynamic)})"
            raise ModelError(
                f"input {name!r} has {what}; fix them, as in: [model.shapes] {name} = {_example(sizes)}, "
                f"or init --shape {name}={','.join(map(str, _example(sizes)))}"
            )


def _is_fixed(size: int | ir.SymbolicDim) -> TypeGuard[int]:
    """Whether a size is fixed: some exporters write 0 or -1 for an unknown one."""
    return isinstance(size, int) and size > 0


def _example(sizes: Sequence[int | ir.SymbolicDim] | None) -> list[int]:
    """A shape for a message: the sizes that the file fixes, a batch of one, a usual image size."""
    usual = [1, 3, 512, 512] if sizes is None or len(sizes) == 4 else [1] * len(sizes)
    return [size if _is_fixed(size) else other for size, other in zip(sizes or usual, usual, strict=True)]
