"""What is streamed: a toy and the demo, each with a folder of any number of images."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from autoprec.spec import PipelineSection, SamplesSection

ROOT = Path(__file__).resolve().parents[3]
SIZE, DRAWN = 512, 50


class Case(NamedTuple):
    """A model, its pipeline, and its images."""

    model: Path
    shapes: dict[str, tuple[int, ...]]
    pipeline: PipelineSection
    samples: SamplesSection


def toy(folder: Path, count: int, width: int) -> Case:
    """Convolutions of `width` channels with stride 4 in front, a mask of a quarter of the size behind."""
    random = np.random.default_rng(0)
    nodes, weights, value, inputs = [], [], "image", 3
    for number, (outputs, kernel, stride) in enumerate([(width, 4, 4), *[(width, 3, 1)] * 4, (1, 1, 1)]):
        array = random.standard_normal((outputs, inputs, kernel, kernel)) / np.sqrt(inputs * kernel * kernel)
        weights.append(numpy_helper.from_array(array.astype(np.float32), f"w{number}"))
        output = "masks" if number == 5 else f"c{number}"
        pads = [1] * 4 if kernel == 3 else [0] * 4
        nodes.append(
            helper.make_node(
                "Conv", [value, f"w{number}"], [output], f"conv{number}", strides=[stride] * 2, pads=pads
            )
        )
        value, inputs = output, outputs
        if number < 5:
            nodes.append(helper.make_node("Relu", [value], [f"r{number}"], f"relu{number}"))
            value = f"r{number}"
    small, path = SIZE // 4, folder / "model.onnx"
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    masks = helper.make_tensor_value_info("masks", TensorProto.FLOAT, [1, 1, small, small])
    graph = helper.make_graph(nodes, "stream", [image], [masks], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10), path)
    images = str(draw_images(folder / "images", count))
    samples = SamplesSection(calibration=images, evaluation=images)
    return Case(path, {"image": (1, 3, SIZE, SIZE)}, PipelineSection(), samples)


def draw_images(folder: Path, count: int) -> Path:
    """JPEGs of smooth noise; the same few under `count` names, by hard links."""
    folder.mkdir()
    random = np.random.default_rng(1)
    drawn = []
    for number in range(min(DRAWN, count)):
        coarse = Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        drawn.append(folder / f"{number:06}.jpg")
        coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(drawn[-1], quality=90)
    # Links: ten thousand names need no more disk, but are opened and decoded one by one.
    for number in range(len(drawn), count):
        os.link(drawn[number % len(drawn)], folder / f"{number:06}.jpg")
    return folder


def demo(folder: Path, count: int) -> Case:
    """The shipped model; its evaluation images with their prompts and masks under `count` names."""
    shipped, scenes = ROOT / "studies" / "data" / "demo" / "evaluation", folder / "scenes"
    shutil.copytree(shipped, folder / "shipped")
    asked, prompts = json.loads((shipped / "prompts.json").read_text()), {}
    (scenes / "images").mkdir(parents=True)
    (scenes / "masks").mkdir()
    for number in range(count):
        name = sorted(asked)[number % len(asked)]
        prompts[f"{number:06}.jpg"] = asked[name]
        os.link(folder / "shipped" / "images" / name, scenes / "images" / f"{number:06}.jpg")
        os.link(
            folder / "shipped" / "masks" / Path(name).with_suffix(".png"),
            scenes / "masks" / f"{number:06}.png",
        )
    (scenes / "prompts.json").write_text(json.dumps(prompts))
    models = ROOT / "studies" / "models"
    pipeline = PipelineSection(decoder=str(models / "demo_decoder.onnx"), output="masks")
    samples = SamplesSection(calibration=str(scenes), evaluation=str(scenes))
    return Case(models / "demo_encoder.onnx", {"image": (1, 3, 256, 256)}, pipeline, samples)
