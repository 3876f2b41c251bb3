"""An export without a study: a Relu as the model, as its reference, and as the decoder behind it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import helper

from autoprec.backends.clocks import clock_of
from autoprec.quality import scoring_file
from autoprec.records import Examples, Export, Interval, Recipe, Reference, TrialRecord
from trial_records import BLOCKS, IDENTITY, complete

NASTY = "demo'; touch owned; $(touch owned) `touch owned`\n\"\"\" + print('owned') #"
RECIPE = Recipe(
    backend="openvino",
    options={},
    output="y",
    metric="mask_iou",
    threshold=0.0,
    interval=0.1,
    seconds=0.2,
    minimum_rounds=5,
    warmup=1,
    trial_seconds=60,
)
REFERENCE = Reference(
    precision="fp16", model_digest="r", latency_ms=10, latency_noise=0.01, loss_noise=0, float_loss=0.001
)


def export_of(
    folder: Path, *, batch: int | str = 1, image: str = "image", trial: TrialRecord | None = None
) -> Export:
    folder.mkdir(parents=True, exist_ok=True)
    value = partial(helper.make_tensor_value_info, elem_type=onnx.TensorProto.FLOAT)
    graph = helper.make_graph(
        [helper.make_node("Relu", [image], ["y"])],
        "g",
        [value(image, shape=[batch, 3, 8, 8])],
        [value("y", shape=[batch, 3, 8, 8])],
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 19)])
    onnx.save(model, folder / "typed.onnx")
    onnx.save(model, folder / "tail.onnx")
    return Export(
        trial=trial or msgspec.structs.replace(complete(17, 5.0, 0.01), study=NASTY, label=NASTY),
        reference=REFERENCE,
        identity=IDENTITY,
        blocks=BLOCKS,
        model_path=str(folder / "typed.onnx"),
        model_digest="typed",
        input_shapes=((image, (1, 3, 8, 8)),),
        decoder_path=str(folder / "tail.onnx"),
        decoder_digest="tail",
        reference_path=str(folder / "typed.onnx"),
        recipe=RECIPE,
        clock=clock_of(IDENTITY.fingerprint),
        metric_path=str(scoring_file(RECIPE.metric)),
        examples=examples_in(folder / "examples"),
    )


def examples_in(folder: Path) -> Examples:
    """One sample and its logits: half of the pixels are mask, and the decoder passes its input on."""
    (folder / "outputs").mkdir(parents=True, exist_ok=True)
    pixels = np.linspace(-1, 1, 192, dtype=np.float32).reshape(1, 3, 8, 8)
    logits = np.maximum(pixels[0], 0)
    np.savez(folder / "00.npz", image=pixels)
    np.savez(folder / "outputs" / "00.npz", reference=logits, candidate=logits)
    return Examples(folder=str(folder), count=1, loss=0.0, loss_interval=Interval(low=0, high=0))
