"""From an image's prompts to what a fixed decoder is fed: one run for all prompts, or one for each.

A prompt is a table of decoder inputs by name, in pixels of the upright image. Decoders differ: some take any
number of prompts, others exactly one, and some want the image's size or a mask of an earlier round beside it,
as `segment_anything`'s own export does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .arrays import typed
from .errors import UnfitError

Arrays = dict[str, NDArray[Any]]
PAIRS = ("coords", "points", "box", "boxes")
"""Names that end so hold x, y pairs: SAM's `point_coords`, the `input_points` of transformers."""
NO_INPUT = "object"
"""The key that names a prompt's true mask, and feeds nothing."""
_BOXES = ("box", "boxes")
_POINTS = frozenset({"point_coords", "point_labels"})
_CORNERS = np.array((2, 3), np.float32)
"""SAM's labels of a box's first and last corner."""
_NO_POINT = -1.0


class DecoderInput(NamedTuple):
    """Type and sizes of an input; None for a size that is free, and for `shape` where it is not known."""

    kind: np.dtype[Any]
    shape: tuple[int | None, ...] | None


def arrays_of(
    where: str,
    prompt: Mapping[str, Any],
    place: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> dict[str, NDArray[np.float32]]:
    """The decoder inputs of a prompt, float32 by name, without a dimension for prompts.

    Args:
        where: the prompt is from, for messages.
        prompt: as JSON has it.
        place: from x, y pairs in pixels of the image to those of the model's input; applied to keys that end
            in `coords`, `points`, `box` or `boxes`.

    Raises `UnfitError` for what is no array of finite numbers.
    """
    return {key: _array(f"{key!r} of {where}", key, prompt[key], place) for key in prompt if key != NO_INPUT}


def _array(
    what: str, key: str, value: Any, place: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # refused below
            array = np.array(value, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnfitError(f"{what} is not an array of numbers") from error
    if not np.isfinite(array).all():
        raise UnfitError(f"{what} holds NaN or infinity; fix it")
    is_count = key.endswith("points") and array.ndim < 2  # as `num_points`
    if is_count or not key.endswith(PAIRS):
        return array
    if array.ndim < 1 or not array.size or array.shape[-1] % 2:
        raise UnfitError(f"{what} is not made of x, y pairs")
    return place(array)


def unfed(keys: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Keys of a prompt that a decoder with these inputs does not take, in order; a box may be two points, and
    some decoders need not be told the image's size, nor that there is no earlier mask."""
    taken = {*wanted, NO_INPUT, "orig_im_size"}
    if taken >= _POINTS:
        taken |= set(_BOXES)
    if "mask_input" not in keys:
        taken.add("has_mask_input")
    return sorted(set(keys) - taken)


def completed(
    wanted: Mapping[str, DecoderInput],
    asked: Mapping[str, NDArray[Any]],
    where: str,
    size: tuple[int, int] | None,
) -> Arrays:
    """A prompt with what goes without saying: a box as its corners, the image's size, no earlier mask.

    Args:
        wanted: the decoder's inputs that the model does not feed.
        asked: the prompt's arrays.
        where: it is from, for messages.
        size: (height, width) of the image; None where there is none.

    Raises `UnfitError` for points without labels.
    """
    prompt = dict(asked)
    box = next((prompt[name] for name in _BOXES if name in prompt and name not in wanted), None)
    if box is not None and set(wanted) >= _POINTS:
        corners, labels = box.reshape(-1, 2), np.tile(_CORNERS, box.size // 4)
        points = prompt.get("point_coords", np.empty((0, 2), np.float32)).reshape(-1, 2)
        prompt["point_coords"] = np.concatenate([points, corners])
        prompt["point_labels"] = np.concatenate([prompt.get("point_labels", labels[:0]).reshape(-1), labels])
    if size is not None:
        prompt.setdefault("orig_im_size", np.array(size, np.float32))
    prompt.setdefault("has_mask_input", np.array("mask_input" in asked, np.float32))
    shape = wanted["mask_input"].shape if "mask_input" in wanted else None
    if shape is not None and None not in shape[1:]:
        prompt.setdefault("mask_input", np.zeros(tuple(int(size or 1) for size in shape[1:]), np.float32))
    _check_labels(prompt, where)
    return _padded(wanted, prompt)


def runs_of(wanted: Mapping[str, DecoderInput], prompts: Sequence[Arrays], where: str) -> tuple[Arrays, ...]:
    """What each run of the decoder is fed of completed prompts: all in one, where it takes them so.

    Args:
        wanted: the decoder's inputs that the model does not feed; every prompt has them all.
        prompts: of one image.
        where: they are from, for messages.

    Raises `UnfitError` for a shape that the decoder does not take.
    """
    together = _together(wanted, prompts)
    runs = [together] if together is not None else [_alone(wanted, prompt, where) for prompt in prompts]
    return tuple({name: typed(run[name], each.kind) for name, each in wanted.items()} for run in runs)


def _check_labels(prompt: Arrays, where: str) -> None:
    """Raise `UnfitError` unless each point has a label: a decoder may broadcast one to all."""
    points, labels = prompt.get("point_coords"), prompt.get("point_labels")
    if points is not None and labels is not None and points.size != 2 * labels.size:
        raise UnfitError(
            f"a prompt of {where} has {points.size // 2} points, but {labels.size} point_labels; each point "
            "has its own"
        )


def _padded(wanted: Mapping[str, DecoderInput], prompt: Arrays) -> Arrays:
    """Points up to the fixed number that a decoder takes; those beyond are no points, as SAM marks them."""
    shape = wanted["point_coords"].shape if "point_coords" in wanted else None
    if not shape or len(shape) < 2 or shape[-2] is None or not prompt.keys() >= _POINTS:
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


def _alone(wanted: Mapping[str, DecoderInput], prompt: Arrays, where: str) -> Arrays:
    """One prompt, as the decoder takes it."""
    return {name: _fitted(name, each, prompt[name], where) for name, each in wanted.items()}


def _fitted(name: str, each: DecoderInput, array: NDArray[Any], where: str) -> NDArray[Any]:
    """One prompt's array with the leading dimensions of the decoder's input."""
    rank = array.ndim + 1 if each.shape is None else len(each.shape)
    # Decoders differ in how many dimensions of prompts and images they put in front.
    fitted = array.reshape((1,) * max(rank - array.ndim, 0) + array.shape)
    if not _takes(each, fitted.shape):
        sizes = ["free" if size is None else size for size in each.shape or ()]
        raise UnfitError(
            f"the prompt {name!r} of {where} is {list(array.shape)}, but the decoder takes {sizes}"
        )
    return fitted


def _takes(each: DecoderInput, shape: Sequence[int]) -> bool:
    """Whether an input may have that shape."""
    declared = each.shape
    return declared is None or (
        len(declared) == len(shape)
        and all(want in (None, size) for want, size in zip(declared, shape, strict=True))
    )


def best(masks: NDArray[Any], scores: NDArray[Any] | None) -> NDArray[Any]:
    """Of a decoder's masks [prompts * several, h, w] the one of each prompt that it scores best.

    Args:
        masks: of one run of the decoder.
        scores: its guess of their IoU, [prompts, several]; anything else leaves all masks.
    """
    if scores is None or scores.ndim != 2 or scores.size != len(masks):
        return masks
    first = np.arange(len(scores)) * scores.shape[1]
    kept: NDArray[Any] = masks[first + scores.argmax(axis=1)]
    return kept
