"""Recipes for families of mask models, from what their training and usual exports have in common."""

from __future__ import annotations

from autoprec.errors import SpecError
from autoprec.recipes._base import IMAGENET, PLAIN, Facts, Plan
from autoprec.recipes.choosing import Choice, choose_output, choose_scoring, planes_in

_HALVES = ((0.5,) * 3, (0.5,) * 3)
_SAM_PROMPTS = (
    "they come from prompts.json beside the images: "
    '{"000.jpg": [{"point_coords": [[x, y]], "point_labels": [1]}]}, or {"box": [x0, y0, x1, y1]}'
)
_FILLED = frozenset({"mask_input", "has_mask_input", "orig_im_size"})
"""Inputs of SAM's own export that the pipeline fills by itself."""
_POINTS = frozenset({"point_coords", "point_labels"})
"""What every promptable decoder of SAM's kin takes."""


def guess(facts: Facts) -> Plan:
    """A plan from the graph alone."""
    if set(facts.decoder_inputs) >= _POINTS:
        return _guessed_sam(facts)
    choice = choose_output(facts)
    scoring = choose_scoring(choice)
    reasons = [choice.reason, f"{scoring.metric}: {scoring.reason}"]
    # Embeddings are no masks, but a decoder may have been forgotten.
    if facts.decoder is None and "embed" in choice.output.name.lower():
        reasons[0] = (
            f"{choice.output.told} is taken for masks for want of others; if a decoder makes masks of it, "
            "name that with --decoder"
        )
    mean, std = IMAGENET
    # What takes bytes has its normalisation inside.
    if facts.frame is not None and facts.kinds.get(facts.frame.name) == "uint8":
        mean, std = (0.0,) * 3, (1 / 255,) * 3
        reasons.append("the image input is uint8: pixels are fed from 0 to 255")
    elif facts.frame is not None:
        reasons.append(
            "mean and std are ImageNet's: a graph does not contain them; check them against the training"
        )
    # Prototypes look like planes of classes, of which the largest would win.
    if _has_prototypes(facts, choice):
        scoring = scoring._replace(metric="mask_iou")
        reasons[1] = (
            "mask_iou: next to rows of boxes these are prototypes of masks, whose signs are compared; "
            "`--recipe yolo-seg` scores the objects themselves"
        )
    return Plan(
        output=choice.output,
        layout=choice.layout,
        metric=scoring.metric,
        threshold=scoring.threshold,
        mean=mean,
        std=std,
        reasons=tuple(reasons),
    )


def _guessed_sam(facts: Facts) -> Plan:
    """SAM or SAM 2, told apart by how many of the encoder's outputs the decoder takes."""
    # SAM 2's decoder takes features of several levels.
    taken = sum(output.name in facts.decoder_inputs for output in facts.outputs)
    recipe, make, resize = ("sam2-image", sam2_image, "stretched") if taken > 1 else ("sam", sam, "padded")
    plan = make(facts)
    why = f"a decoder that takes points, and {taken} of the model's outputs, as {recipe}: images are {resize}"
    return plan._replace(reasons=(f"{why}; `--recipe` says another", *plan.reasons))


def sam(facts: Facts) -> Plan:
    """SAM, MobileSAM, EfficientViT-SAM: the longest side fills the frame, the rest is padded."""
    return _promptable(facts)._replace(resize="pad")


def sam2_image(facts: Facts) -> Plan:
    """SAM 2 on images: stretched to its square."""
    return _promptable(facts)


def semantic(facts: Facts) -> Plan:
    """Semantic segmentation: a plane for each class, or the map of classes."""
    choice = choose_output(facts, ("logits", "out", "output"))
    scoring = choose_scoring(choice)
    many = (planes_in(choice) or 2) > 1
    # Signs of single planes say little where the largest of them wins.
    if scoring.metric == "mask_iou" and many:
        scoring = scoring._replace(metric="argmax_iou", threshold=0.0, reason="a plane for each class")
    return Plan(
        output=choice.output,
        layout=choice.layout,
        metric=scoring.metric,
        threshold=scoring.threshold,
        reasons=(choice.reason, f"{scoring.metric}: {scoring.reason}", "mean and std are ImageNet's"),
    )


def matting(facts: Facts) -> Plan:
    """Matting: opacities, as MODNet and similar models return them; pixels from -1 to 1."""
    choice = choose_output(facts, ("pha", "alpha", "matte"))
    return Plan(
        output=choice.output,
        layout=choice.layout,
        metric="alpha_mae",
        mean=_HALVES[0],
        std=_HALVES[1],
        reasons=(
            choice.reason,
            "alpha_mae: the reference's values tell mattes in 0..1 from logits; pixels from -1 to 1",
        ),
    )


def unet(facts: Facts) -> Plan:
    """U-Nets trained from scratch: pixels from 0 to 1."""
    choice = choose_output(facts)
    scoring = choose_scoring(choice)
    return Plan(
        output=choice.output,
        layout=choice.layout,
        metric=scoring.metric,
        threshold=scoring.threshold,
        mean=PLAIN[0],
        std=PLAIN[1],
        reasons=(choice.reason, f"{scoring.metric}: {scoring.reason}", "pixels are fed from 0 to 1"),
    )


def _promptable(facts: Facts) -> Plan:
    """An image encoder with a prompt decoder behind it. Raises `SpecError` without one."""
    if facts.decoder is None:
        raise SpecError(
            "this recipe is for an image encoder with a prompt decoder behind it: name it with `--decoder "
            "decoder.onnx`"
        )
    choice = choose_output(facts, ("masks", "low_res_masks"))
    # The user is to give only what the pipeline cannot fill.
    prompts = [name for name in facts.prompts() if name not in _FILLED]
    return Plan(
        output=choice.output,
        reasons=(
            choice.reason,
            "mask_iou: mask logits, cut at 0; mean and std are ImageNet's, as in SAM's training",
            f"the decoder takes {' and '.join(prompts)}; {_SAM_PROMPTS}",
        ),
    )


def _has_prototypes(facts: Facts, choice: Choice) -> bool:
    """Whether rows of boxes stand beside the chosen output, as in YOLO's instance segmentation. One row for
    each mask, as of MaskFormer's queries, says what the mask shows, and the masks are whole."""
    chosen, planes = choice.output.name, planes_in(choice)
    return facts.decoder is None and any(
        len(output.shape) == 3
        and output.name != chosen
        and output.shape[1] != planes
        and min(size or 0 for size in output.shape[1:]) > 1
        for output in facts.outputs
    )
