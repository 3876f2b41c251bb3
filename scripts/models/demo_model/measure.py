"""What the shipped files do: mean IoU of masks by precision, and speed in OpenVINO on one thread."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from demo_model.encoder import IMAGE_SIZE, Encoder, Widths
from demo_model.export import export_encoder
from demo_model.quantise import collect_ranges, quantise
from demo_model.scenes import MEAN, STD

Array = NDArray[np.float32]
Encode = Callable[[Array], Array]


def read_images(folder: Path) -> Iterator[Array]:
    """Normalised images [1, 3, 256, 256] in order of name."""
    for path in sorted((folder / "images").glob("*.jpg")):
        pixels = np.asarray(Image.open(path), np.float32) / 255.0
        array = (pixels - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
        yield array.transpose(2, 0, 1)[None].astype(np.float32)


class Masks:
    """The evaluation set and the decoder: turns an encoder into thresholded masks at full size."""

    def __init__(self, decoder: Path, folder: Path) -> None:
        self.session = ort.InferenceSession(decoder, providers=["CPUExecutionProvider"])
        self.images = list(read_images(folder))
        self.prompts = list(json.loads((folder / "prompts.json").read_text()).values())
        labels = [np.asarray(Image.open(path)) for path in sorted((folder / "masks").glob("*.png"))]
        drawn = [
            [label == row["object"] for row in rows] for label, rows in zip(labels, self.prompts, strict=True)
        ]
        self.drawn = np.array(drawn)

    def found_by(self, encode: Encode) -> NDArray[np.bool_]:
        """Masks [images, prompts, 256, 256]."""
        masks = []
        for image, rows in zip(self.images, self.prompts, strict=True):
            coords = np.array([row["point_coords"] for row in rows], np.float32)
            labels = np.array([row["point_labels"] for row in rows], np.int64)
            feed = {"image_embeddings": encode(image), "point_coords": coords, "point_labels": labels}
            logits = torch.from_numpy(self.session.run(None, feed)[0])
            masks.append((F.interpolate(logits, size=IMAGE_SIZE, mode="bilinear")[:, 0] > 0).numpy())
        return np.array(masks)


def mean_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Mean over all masks; two empty masks agree."""
    both, either = (a & b).sum(axis=(2, 3)), (a | b).sum(axis=(2, 3))
    return float(np.where(either > 0, both / np.maximum(either, 1), 1.0).mean())


def onnxruntime_encoder(model: bytes | Path) -> Encode:
    """Run an encoder in ONNX Runtime."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda image: session.run(None, {"image": image})[0]


def openvino_encoder(model: Path, hint: str) -> Encode:
    """Run an encoder in OpenVINO on one thread, float operations in the hinted type."""
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": 1}
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    return lambda image: np.array(request.infer({0: image})[0])


def half_encoder(weights: Encoder, dtype: torch.dtype) -> Encode:
    """Run PyTorch in half precision: CPU engines may compute FP16 in FP32."""
    module = weights.to(dtype)

    def encode(image: Array) -> Array:
        with torch.no_grad():
            return module(torch.from_numpy(image).to(dtype)).float().numpy()

    return encode


def measure_masks(models: Path, data: Path) -> None:
    """Print mean IoU with the drawn masks, and the loss of each precision against FP32."""
    encoder = models / "demo_encoder.onnx"
    masks = Masks(models / "demo_decoder.onnx", data / "evaluation")
    reference = masks.found_by(onnxruntime_encoder(encoder))
    print(f"float: mean IoU with the drawn masks {mean_iou(reference, masks.drawn):.4f}")

    def show(name: str, encode: Encode) -> None:
        predicted = masks.found_by(encode)
        drawn, loss = mean_iou(predicted, masks.drawn), 1 - mean_iou(predicted, reference)
        print(f"{name}: loss against float {loss:.4f}, mean IoU with the drawn masks {drawn:.4f}", flush=True)

    show("OpenVINO bf16", openvino_encoder(encoder, "bf16"))
    show("OpenVINO f16", openvino_encoder(encoder, "f16"))
    with tempfile.TemporaryDirectory() as folder:
        for percentile in (100.0, 99.999, 99.99):
            path = Path(folder) / "int8.onnx"
            ranges = collect_ranges(encoder, read_images(data / "calibration"), percentile)
            onnx.save(quantise(encoder, ranges), path)
            show(f"INT8 {percentile} ONNX Runtime", onnxruntime_encoder(path))
            show(f"INT8 {percentile} OpenVINO", openvino_encoder(path, "bf16"))
            show(f"INT8 {percentile} OpenVINO f32", openvino_encoder(path, "f32"))


def measure_speed(encoder: Path, images: list[Array], rounds: int = 15) -> None:
    """Print the latency of uniform precisions, run in turn."""
    with tempfile.TemporaryDirectory() as folder:
        int8 = Path(folder) / "int8.onnx"
        onnx.save(quantise(encoder, collect_ranges(encoder, images, 99.99)), int8)
        encoders = {
            "FP32": openvino_encoder(encoder, "f32"),
            "BF16": openvino_encoder(encoder, "bf16"),
            "INT8 over BF16": openvino_encoder(int8, "bf16"),
            "INT8 over FP32": openvino_encoder(int8, "f32"),
        }
    times: dict[str, list[float]] = {name: [] for name in encoders}
    for turn in range(rounds + 2):
        for name, encode in encoders.items():
            start = time.perf_counter()
            encode(images[0])
            if turn >= 2:
                times[name].append(1e3 * (time.perf_counter() - start))
    base = np.array(times["FP32"])
    for name, values in times.items():
        ratio = float(np.median(base / np.array(values)))
        print(
            f"{name}: {np.median(values):.1f} ms, {ratio:.2f} times as fast as FP32 (median of paired ratios)"
        )


def measure_widths(widths: Widths) -> None:
    """Time an untrained encoder with measured BatchNorm statistics, to choose widths before training."""
    torch.manual_seed(0)
    encoder = Encoder(widths)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        encoder(torch.randn(4, 3, IMAGE_SIZE, IMAGE_SIZE))
    generator = np.random.default_rng(0)
    images = [generator.normal(size=(1, 3, IMAGE_SIZE, IMAGE_SIZE)).astype(np.float32) for _ in range(3)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoder.onnx"
        export_encoder(encoder, path)
        print(widths, f"{sum(p.numel() for p in encoder.parameters()) / 1e6:.2f} M parameters")
        measure_speed(path, images)
