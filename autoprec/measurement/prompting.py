"""From an image's prompts to what a fixed decoder is fed: one run for all prompts, or one for each.

Decoders differ: some take any number of prompts, others exactly one, and some want the image's size or a mask
of an earlier round beside it, as `segment_anything`'s own export does.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoprec.errors import ModelError
from autoprec.samples import Sample

Arrays = dict[str, NDArray[Any]]
_CORNERS = np.array((2, 3), np.float32)
"""SAM's labels of a box's first and last corner."""
_NO_POINT = -1.0


class DecoderInput(NamedTuple):
    """Type and sizes of an input; None for a size that is free, and for `shape` where it is not known."""

    kind: np.dtype[Any]
    shape: tuple[int | None, ...] | None


def asked_of(
    inputs: Mapping[str, DecoderInput], computed: Container[str], sample: Sample
) -> tuple[Arrays, ...]:
    """What each run of the decoder is fed beside the searched model's outputs.

    Args:
        inputs: all of the decoder's.
        computed: the names of the searched model's outputs.
        sample: whose prompts these are.

    Raises `ModelError` naming an input that nothing feeds, or that no prompt fits.
    """
    wanted = {name: each for name, each in inputs.items() if name not in computed}
    prompts = [_completed(wanted, asked, sample) for asked in sample.asked] or [dict(sample.prompts)]
    for name in wanted:
        if not all(name in prompt for prompt in prompts):
            given = ", ".join(prompts[0]) or "none"
            raise ModelError(
                f"the decoder's input {name!r} is neither an output of the model nor a prompt of "
                f"{sample.name} ({given}); name it in prompts.json, or in the .npz file"
            )
    together = _together(wanted, prompts) if sample.asked else prompts[0]
    runs = [together] if together is not None else [_alone(wanted, prompt, sample) for prompt in prompts]
    return tuple({name: _typed(run[name], each.kind) for name, each in wanted.items()} for run in runs)


def _completed(
    wanted: Mapping[str, DecoderInput], asked: Mapping[str, NDArray[Any]], sample: Sample
) -> Arrays:
    """A prompt with what goes without saying: a box as its corners, the image's size, no earlier mask."""
    prompt = dict(asked)
    box = next((prompt[name] for name in ("box", "boxes") if name in prompt and name not in wanted), None)
    if box is not None and {"point_coords", "point_labels"} <= set(wanted):
        corners, labels = box.reshape(-1, 2), np.tile(_CORNERS, box.size // 4)
        points = prompt.get("point_coords", np.empty((0, 2), np.float32)).reshape(-1, 2)
        prompt["point_coords"] = np.concatenate([points, corners])
        prompt["point_labels"] = np.concatenate([prompt.get("point_labels", labels[:0]).reshape(-1), labels])
    if sample.size is not None:
        prompt.setdefault("orig_im_size", np.array(sample.size, np.float32))
    prompt.setdefault("has_mask_input", np.array("mask_input" in asked, np.float32))
    shape = wanted["mask_input"].shape if "mask_input" in wanted else None
    if shape is not None and None not in shape[1:]:
        prompt.setdefault("mask_input", np.zeros(tuple(int(size or 1) for size in shape[1:]), np.float32))
    _check_labels(prompt, sample)
    return _padded(wanted, prompt)


def _check_labels(prompt: Arrays, sample: Sample) -> None:
    """Raise `ModelError` unless each point has a label: a decoder may broadcast one to all."""
    points, labels = prompt.get("point_coords"), prompt.get("point_labels")
    if points is not None and labels is not None and points.size != 2 * labels.size:
        raise ModelError(
            f"a prompt of {sample.name} has {points.size // 2} points, but {labels.size} point_labels: give "
            "each point its own in prompts.json"
        )


def _typed(array: NDArray[Any], kind: np.dtype[Any]) -> NDArray[Any]:
    """The array in the type of an input; whole numbers are the nearest, not those below."""
    return (np.rint(array) if kind.kind in "iu" else array).astype(kind, copy=False)


def _padded(wanted: Mapping[str, DecoderInput], prompt: Arrays) -> Arrays:
    """Points up to the fixed number that a decoder takes; those beyond are no points, as SAM marks them."""
    shape = wanted["point_coords"].shape if "point_coords" in wanted else None
    if (
        not shape
        or len(shape) < 2
        or shape[-2] is None
        or not {"point_coords", "point_labels"} <= set(prompt)
    ):
        return prompt
    points, labels = prompt["point_coords"].reshape(-1, 2), prompt["point_labels"].reshape(-1)
    more = shape[-2] - len(points)
    if more <= 0:
        return prompt
    return prompt | {
        "point_coords": np.concatenate([points, np.zeros((more, 2), np.float32)]),
        "point_labels": np.concatenate([labels, np.full(more, _NO_POINT, np.float32)]),
    }


def _together(wanted: Mapping[str, DecoderInput], prompts: Sequence[Arrays]) -> Arrays | None:
    """All prompts in one run; None if the decoder does not take them so."""
    run: Arrays = {}
    for name, each in wanted.items():
        arrays = [prompt[name] for prompt in prompts]
        if len({array.shape for array in arrays}) > 1:
            return None
        if _takes(each, (len(arrays), *arrays[0].shape)):
            run[name] = np.stack(arrays)
        elif _takes(each, arrays[0].shape) and all(np.array_equal(array, arrays[0]) for array in arrays):
            run[name] = arrays[0]  # of the image, not of a prompt
        else:
            return None
    return run


def _alone(wanted: Mapping[str, DecoderInput], prompt: Arrays, sample: Sample) -> Arrays:
    """One prompt, as the decoder takes it."""
    return {name: _fitted(name, each, prompt[name], sample) for name, each in wanted.items()}


def _fitted(name: str, each: DecoderInput, array: NDArray[Any], sample: Sample) -> NDArray[Any]:
    """One prompt's array with the leading dimensions of the decoder's input."""
    rank = array.ndim + 1 if each.shape is None else len(each.shape)
    fitted = array.reshape((1,) * max(rank - array.ndim, 0) + array.shape)
    if not _takes(each, fitted.shape):
        sizes = ["free" if size is None else size for size in each.shape or ()]
        raise ModelError(
            f"the prompt {name!r} of {sample.name} is {list(array.shape)}, but the decoder takes {sizes}: "
            "fix prompts.json"
        )
    return fitted


def _takes(each: DecoderInput, shape: Sequence[int]) -> bool:
    """Whether an input may have that shape."""
    declared = each.shape
    return declared is None or (
        len(declared) == len(shape)
        and all(want in (None, size) for want, size in zip(declared, shape, strict=True))
    )
