"""Fine-tuning without labels: the quantised model learns to give what the float model gives.

Both see the user's own images. The loss is the squared error of the outputs, over the float model's variance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from autoprec.backends.timing import Deadline
from autoprec.graph.rewrite.implicit import scales_of
from autoprec.graph.variants.edits import Edits
from autoprec.refinement.network import Clip, Network, tensors
from autoprec.samples import Samples

BATCH = 4
"""Samples between two steps of the optimiser."""
WEIGHT_RATE, STEP_RATE = 2e-3, 5e-3
"""Learning rates of weights, in units of each tensor's mean magnitude, and of logarithms of steps."""
_WARM_UP = 0.05
_TELL_SECONDS = 20.0


def distil(
    model: ir.Model,
    source: ir.Model,
    typed: ir.Model,
    samples: Samples,
    seconds: float,
    say: Callable[[str], None] = lambda _: None,
    least: int = 0,
) -> Edits:
    """Learn weights and ranges for one candidate; returns them as edits of `source`.

    Args:
        model: the float model as it came: the teacher.
        source: the same with the edits of the candidate's variants: the student.
        typed: the candidate, whose Q/DQ says what is quantised, and from which steps to start.
        samples: calibration images.
        seconds: of training.
        say: receives a line about the progress now and then.
        least: at least this many samples are trained on, however long that takes.

    Raises `ModelError` for a model with an operator that is not known here.
    """
    steps = scales_of(typed)
    clips = quantised_inputs(typed)
    names = {str(value.name) for node in source.graph for value in node.inputs if value is not None}
    teacher, student = Network(model), Network(source, clips, {n: s for n, s in steps.items() if n in names})
    _train(teacher, student, samples, seconds, say, least)
    weights = {
        (str(use.node.name), use.idx): ir.tensor(weights.copy(), name=name)
        for name, weights in student.weights().items()
        for use in source.graph.initializers[name].uses()
    }
    largest = {
        str(value.name): clips[str(node.name), place].high
        for node in source.graph
        for place, value in enumerate(node.inputs)
        if value is not None and (str(node.name), place) in clips
    }
    ranges = {name: step * largest[name] for name, step in student.steps().items() if name in largest}
    return Edits(weights, (), ranges)


def quantised_inputs(typed: ir.Model) -> dict[tuple[str, int], Clip]:
    """(node name, input place) to the grid behind it, for inputs that a DequantizeLinear makes."""
    limits = {}
    for node in typed.graph:
        for place, value in enumerate(node.inputs):
            maker = None if value is None else value.producer()
            if maker is None or maker.op_type != "DequantizeLinear" or maker.inputs[0] is None:
                continue
            zero = maker.inputs[2] if len(maker.inputs) > 2 else None
            clip = _clip(maker.inputs[0].dtype, zero)
            if clip is not None:
                limits[str(node.name), place] = clip
    return limits


def _clip(kind: ir.DataType | None, zero: ir.Value | None) -> Clip | None:
    """The grid of a quantised type with a zero point; None for one that is not trained on."""
    if kind == ir.DataType.UINT8 and zero is not None and zero.const_value is not None:
        point = float(zero.const_value.numpy().min())
        return Clip(-point, 255.0 - point, integer=True)
    return (
        {
            ir.DataType.INT8: Clip(-128.0, 127.0, integer=True),
            ir.DataType.FLOAT8E4M3FN: Clip(-448.0, 448.0, integer=False),
        }.get(kind)
        if kind is not None
        else None
    )


def _train(
    teacher: Network,
    student: Network,
    samples: Samples,
    seconds: float,
    say: Callable[[str], None],
    least: int,
) -> None:
    """Train weights and steps by Adam until the time is up; the learning rate decays with the time left."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    groups = [
        {"params": [p], "base": WEIGHT_RATE * float(p.detach().abs().mean() + 1e-8)}
        for p in student.weight_parameters()
    ]
    # Steps are learned as logarithms, so one rate fits them all; weights of a tensor share its magnitude.
    groups.append({"params": student.step_parameters(), "base": STEP_RATE})
    optimiser = torch.optim.Adam([{**group, "lr": 0.0} for group in groups], betas=(0.9, 0.99))
    # The trunk beside the outputs: a block learns from its own error,
    # not only from what is left of it at the end.
    taps = sums(teacher.model)
    deadline, count, losses = Deadline(seconds), 0, list[float]()
    told = Deadline(_TELL_SECONDS)
    while not deadline.is_over or count < least:
        share = min(deadline.share, count / least) if least else deadline.share
        # Warm-up and a cosine over the time, not over a number of steps: the user gives seconds.
        rate = min(1.0, share / _WARM_UP) * 0.5 * (1 + np.cos(np.pi * share))
        for group in optimiser.param_groups:
            group["lr"] = rate * group["base"]
        # Sample by sample, with gradients added up: a model's inputs have fixed sizes.
        for _ in range(BATCH):
            feeds = _augmented(tensors(samples[int(random.integers(len(samples)))].inputs), random)
            with torch.no_grad():
                wanted = teacher(feeds, taps)
            loss = _loss(student(feeds, taps), wanted)
            (loss / BATCH).backward()
            losses.append(float(loss.detach()))
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        count += BATCH
        if told.is_over:
            say(f"refining: {share:.0%} of the time, {count} samples, error {np.mean(losses[-50:]):.4f}")
            told = Deadline(_TELL_SECONDS)


def sums(model: ir.Model) -> frozenset[str]:
    """Names of the results of residual additions: the trunk of the model, which no variant rescales."""
    return frozenset(
        str(node.outputs[0].name)
        for node in model.graph
        if node.op_type == "Add" and all(v is not None and v.const_value is None for v in node.inputs)
    )


def _loss(outputs: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Tensor:
    """Squared error over variance, mean of the float outputs."""
    parts = [
        (outputs[name] - value).square().mean() / value.var().clamp(min=1e-12)
        for name, value in wanted.items()
        if value.is_floating_point()
    ]
    return torch.stack(parts).mean()


def _augmented(feeds: dict[str, Tensor], random: np.random.Generator) -> dict[str, Tensor]:
    """Half of the images mirrored: a few dozen of them should not be learned by heart."""
    if random.random() < 0.5:
        return {name: x.flip(-1) if x.ndim == 4 else x for name, x in feeds.items()}
    return feeds
