"""Make everything of the demo: train the model, export it, draw its data, measure it.

    python scripts/models/train_demo_model.py --device cuda --minutes 6  # model and data
    python scripts/models/train_demo_model.py --data                     # the data alone
    python scripts/models/train_demo_model.py --measure                  # masks and speed of what is there
    python scripts/models/train_demo_model.py --measure-widths           # speed with random weights

Needs PyTorch, onnx, onnxruntime and pillow; speed needs openvino.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import torch

from demo_model.data import write_data
from demo_model.encoder import Widths
from demo_model.export import export_decoder, export_encoder
from demo_model.measure import measure_masks, measure_speed, measure_widths, read_images
from demo_model.training import train

STUDIES = Path(__file__).resolve().parents[2] / "studies"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--minutes", type=float, default=6.0, help="training time; compilation comes on top")
    parser.add_argument("--out", type=Path, default=STUDIES, help="folder that gets models/ and data/demo/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument(
        "--spread", type=float, default=2.2, help="log-normal spread of late channels' first gains"
    )
    parser.add_argument("--data", action="store_true", help="only draw the data")
    parser.add_argument("--measure", action="store_true", help="only measure the files in --out")
    parser.add_argument("--measure-widths", action="store_true", help="only time an untrained encoder")
    return parser.parse_args()


def main() -> None:
    """Run the requested step."""
    options = _arguments()
    models, data = options.out / "models", options.out / "data" / "demo"
    if options.measure_widths:
        measure_widths(Widths())
    elif options.measure:
        measure_masks(models, data)
        measure_speed(models / "demo_encoder.onnx", list(islice(read_images(data / "evaluation"), 3)))
    elif options.data:
        write_data(data)
    else:
        train_and_export(options, models)
        write_data(data)


def train_and_export(options: argparse.Namespace, models: Path) -> None:
    """Train, and write both networks as ONNX."""
    models.mkdir(parents=True, exist_ok=True)
    widths = Widths()
    encoder, decoder = train(
        widths,
        device=options.device,
        minutes=options.minutes,
        seed=options.seed,
        batch=options.batch,
        spread=options.spread,
    )
    difference = export_encoder(encoder, models / "demo_encoder.onnx")
    print("encoder differs from PyTorch by", difference)
    difference = export_decoder(decoder, widths.embedding, models / "demo_decoder.onnx")
    print("decoder differs from PyTorch by", difference)


if __name__ == "__main__":
    main()
