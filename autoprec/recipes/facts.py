"""Reading the facts of a model and its decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from autoprec.errors import ModelError
from autoprec.graph.model.load import input_shapes, load_model, notes, open_model, real_inputs
from autoprec.graph.model.outputs import model_outputs
from autoprec.recipes._base import Facts
from autoprec.samples import frame_of

_CHANNELS = (1, 3, 4)


def facts_of(
    model: Path, decoder: Path | None, shapes: Mapping[str, Sequence[int]], side: int = 512
) -> Facts:
    """Load both files.

    Args:
        model: the searched model.
        decoder: a fixed model behind it, or None.
        shapes: sizes of the model's dynamic inputs, as the user gave them.
        side: side of the image, if its size is free.

    Raises `ModelError` for a file that cannot be used.
    """
    guessed = _usual_shapes(model, shapes, side)
    graph = load_model(model, {**guessed, **shapes})
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
        shapes={name: tuple(shape) for name, shape in {**guessed, **shapes}.items()},
        guessed=(
            *(
                f"{name} is {list(shape)}: its dynamic sizes are guessed; --shape {name}=... sets others"
                for name, shape in guessed.items()
            ),
            *notes(graph),
        ),
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


def _usual_shapes(model: Path, given: Mapping[str, Sequence[int]], side: int) -> dict[str, tuple[int, ...]]:
    """Shapes of inputs whose free sizes the user left open: a batch of one, a square image of `side`."""
    shapes: dict[str, tuple[int, ...]] = {}
    for value in real_inputs(open_model(model)):
        sizes = [size if isinstance(size, int) else None for size in value.shape or ()]
        if not sizes or None not in sizes or value.name in given:
            continue
        usual = [1] + [0] * (len(sizes) - 1)
        if len(sizes) == 4:
            is_last = sizes[3] in _CHANNELS and sizes[1] not in _CHANNELS
            usual = [1, side, side, 3] if is_last else [1, 3, side, side]
        fixed = tuple(other if size is None else size for size, other in zip(sizes, usual, strict=True))
        # Other free sizes cannot be guessed: the loader will name them, and say how to give them.
        if min(fixed) > 0:
            shapes[str(value.name)] = fixed
    return shapes
