"""Copies a decoder with its image input named like the encoder's output, in which exports often differ."""

from __future__ import annotations

from typing import NamedTuple

import onnx_ir as ir

from autoprec.graph.model.load import open_model
from autoprec.recipes._base import Facts

_PROMPTS = frozenset(
    {"point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size", "box", "boxes"}
)


class Renaming(NamedTuple):
    """The facts with the decoder's input renamed, the copy's bytes, and why; unchanged facts if names fit."""

    facts: Facts
    decoder: bytes = b""
    reasons: tuple[str, ...] = ()


def renamed(facts: Facts) -> Renaming:
    """Rename the decoder's image input after the encoder's output, if it has another name.

    An input is renamed only if it is the only one that no output feeds, and has the shape of the only output
    that feeds nothing: otherwise the match would be a guess.
    """
    free = [output for output in facts.outputs if output.name not in facts.decoder_inputs]
    unfed = [name for name in facts.prompts() if name not in _PROMPTS]
    if facts.decoder is None or len(free) != 1 or len(unfed) != 1:
        return Renaming(facts)
    model = open_model(facts.decoder)
    value = next(value for value in model.graph.inputs if value.name == unfed[0])
    sizes = [size if isinstance(size, int) else None for size in value.shape or ()]
    given = free[0].shape
    fits = len(sizes) == len(given) and all(
        one is None or other is None or one == other for one, other in zip(sizes, given, strict=True)
    )
    is_large = any(
        isinstance(held.const_value, ir.ExternalTensor) for held in model.graph.initializers.values()
    )
    # Weights in files of their own would not come along; a name that is taken already would close a cycle.
    if not fits or is_large or any(out.name == free[0].name for node in model.graph for out in node.outputs):
        return Renaming(facts)
    value.name = free[0].name
    names = tuple(free[0].name if name == unfed[0] else name for name in facts.decoder_inputs)
    why = f"the decoder's input {unfed[0]!r} is {free[0].name!r} in a copy: so the model's output is named"
    copy = ir.to_proto(model).SerializeToString()
    return Renaming(facts._replace(decoder_inputs=names), copy, (why,))
