"""Virtual environments for what makes models: their packages pin versions that autoprec does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

PACKAGES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "torch": (
            "torch",
            "torchvision",
            "timm",
            "transformers",
            "segmentation-models-pytorch",
            "onnxscript",
            "onnx",
            "onnxruntime",
            "scipy",
        ),
        "modelopt": ("nvidia-modelopt[onnx]==0.47.*", "pillow"),
    }
)


def python_of(name: str, folder: Path) -> Path:
    """The Python interpreter of an environment, which is created on first use.

    Args:
        name: a key of `PACKAGES`.
        folder: parent folder of all environments.
    """
    home = folder / f"venv-{name}"
    python, mark = home / "bin" / "python", home / ".complete"
    # The mark comes last: an interrupted installation leaves a Python behind, but no complete environment.
    if not mark.exists():
        print(f"making {home}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES[name]], check=True)
        mark.touch()
    return python


def export_in(python: Path, script: str, *arguments: str) -> None:
    """Run a script of this folder in an environment. It leaves one file per model: the model, or a refusal.

    Args:
        python: the interpreter of the environment.
        script: name of the script in this folder.
        arguments: its command line.

    Raises:
        subprocess.CalledProcessError: the script itself failed.
    """
    path = Path(__file__).with_name(script)
    subprocess.run([str(python), str(path), *arguments], check=True, stdout=subprocess.DEVNULL)
