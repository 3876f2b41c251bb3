"""Reading what a model, and the decoder behind it, say of themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from autoprec.errors import ModelError
from autoprec.graph.model.load import input_shapes, load_model, open_model, real_inputs
from autoprec.graph.model.outputs import model_outputs
from autoprec.recipes._base import Facts
from autoprec.samples import frame_of


def facts_of(model: Path, decoder: Path | None, shapes: Mapping[str, Sequence[int]]) -> Facts:
    """Load both files.

    Args:
        model: the searched model.
        decoder: a fixed model behind it, or None.
        shapes: sizes of the model's dynamic inputs.

    Raises `ModelError` for a file that cannot be used.
    """
    graph = load_model(model, shapes)
    inputs = dict(input_shapes(graph))
    facts = Facts(
        model=model,
        inputs=inputs,
        kinds={
            str(value.name): str(value.dtype.numpy())
            for value in real_inputs(graph)
            if value.dtype is not None
        },
        frame=frame_of(inputs),
        outputs=model_outputs(graph.graph),
    )
    if decoder is None:
        return facts
    try:
        behind = open_model(decoder)
    except ModelError as error:
        raise ModelError(f"--decoder: {error}") from error
    return facts._replace(
        decoder=decoder,
        decoder_inputs=tuple(str(value.name) for value in real_inputs(behind)),
        decoder_outputs=model_outputs(behind.graph),
    )
