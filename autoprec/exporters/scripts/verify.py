"""Builds this export here, measures it, and compares with manifest.json. Needs: pip install openvino numpy

    python verify.py [--seconds S] [--json]

Compared are: the files with their SHA-256; the latency of model.onnx as a ratio to reference.onnx, both timed
in turn, with the recorded interval widened by the recorded noise; the mask loss on the examples, with the
recorded interval widened by the recorded noise. Faster, or closer to the reference, is as good. On one thread
latency is processor time, which neighbours on the machine do not stretch; on several it is wall time.

Exit code 0: as recorded. 4: not as recorded. 2: it cannot be measured, and why.

This script measures with OpenVINO. For an export that was measured with another engine, or with a metric of
the user's there is `autoprec verify FOLDER`, which computes the same figures.
"""

import os
import sys

if __name__ == "__main__":
    # No module in this folder is part of the export; an empty entry of PYTHONPATH is the current one.
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):  # Python 3.10 has no such flag
        del sys.path[0]
    is_empty = "" in os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if is_empty and (here := os.getcwd()) in sys.path:  # noqa: PTH109 - `pathlib` might be somebody's
        sys.path.remove(here)

import argparse
import hashlib
import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

try:
    import numpy as np
    import openvino as ov
except ImportError as error:
    print(f"verify.py: {error.name} is not installed: pip install openvino numpy", file=sys.stderr)
    sys.exit(2)

FOLDER = Path(__file__).resolve().parent
EXAMPLES = "examples"
SAME, DIFFERENT = 0, 4
LONGEST = 60.0
"""Most seconds of timing that a recipe may demand, since it may come from anybody."""
SMALLEST_LOSS = 0.001
"""Losses closer than this count as equal, whatever noise was recorded."""
UNFIT = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""Errors caused by a changed manifest, or by changed arrays."""
Check = dict[str, Any]


def main() -> int:
    """Check everything; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, help="how long to time at most; by default as recorded")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    try:
        text = (FOLDER / "manifest.json").read_text(encoding="utf-8")
        # No limit holds for NaN, which JSON does not know, and `int` refuses.
        manifest = json.loads(text, parse_constant=int)
        refuse_changed(text, manifest)
        checks = [files(manifest)]
    except (OSError, *UNFIT) as error:
        cannot(f"manifest.json is missing or was changed ({error!r}): export again")
    try:
        # Else nothing of it is run: timing and metric are scripts of the export.
        if checks[0]["ok"]:
            checks += measured(manifest, arguments.seconds)
    except (OSError, RuntimeError, StopIteration, *UNFIT) as error:
        cannot(f"the export cannot be measured ({error!r}): export again")
    if arguments.json:
        print(json.dumps(checks, indent=2))
    else:
        for check in checks:
            print("ok  " if check["ok"] else "FAIL", visible(f"{check['name']}: {check['words']}"))
    return SAME if all(check["ok"] for check in checks) else DIFFERENT


def refuse_changed(text: str, manifest: dict[str, Any]) -> None:
    """Exit if the manifest was changed: its checksum covers its text with an empty checksum."""
    checksum = manifest.get("checksum", "")
    blank = text.replace(f'"checksum": "{checksum}"', '"checksum": ""', 1)
    if (manifest["format"] > 2 or checksum) and hashlib.sha256(blank.encode()).hexdigest() != checksum:
        cannot("manifest.json was changed after it was written: export again")


def files(manifest: dict[str, Any]) -> Check:
    """Check that every file is as it was written, and that there are no links."""
    wrong = [file["name"] for file in manifest["files"] if digest(file) != file["sha256"]]
    wrong += [str(path.relative_to(FOLDER)) for path in sorted(FOLDER.rglob("*")) if path.is_symlink()]
    words = f"changed or missing: {', '.join(wrong)}" if wrong else f"{len(manifest['files'])} intact"
    return {"name": "files", "ok": not wrong, "words": words}


def measured(manifest: dict[str, Any], seconds: float | None) -> list[Check]:
    """Latency and mask loss, measured here."""
    recipe, engine = manifest["recipe"], manifest["identity"]["fingerprint"]
    examples = manifest["examples"]
    if recipe is None or examples is None:
        cannot("there are no examples to measure on: export again, with `--examples 4` or more")
    if recipe["backend"] != "openvino":
        cannot(f"it was measured with {engine['backend']}: use `autoprec verify`")
    if not is_listed("metric.py", manifest):
        cannot(f"its metric is {recipe['metric']!r}, code of its own: use `autoprec verify`")
    model, reference = ExportedModel("model.onnx", manifest), ExportedModel("reference.onnx", manifest)
    if engine["version"] != model.version or engine["device"] != model.device:
        print(
            f"measured with {engine['version']} on {engine['device']}, here with {model.version} on "
            f"{model.device}: the ratio may well differ",
            file=sys.stderr,
        )
    first = arrays_of(sorted((FOLDER / EXAMPLES).glob("*.npz"))[0])
    for built in (model, reference):
        built.prepare(first)
    longest = min(recipe["seconds"], LONGEST) if seconds is None else seconds
    return [latency(manifest, model, reference, longest), *losses(manifest, model, reference)]


def latency(
    manifest: dict[str, Any], model: "ExportedModel", reference: "ExportedModel", seconds: float
) -> Check:
    """The paired ratio against the recorded one.

    Args:
        manifest: what was recorded.
        model: the export, its inputs placed.
        reference: the reference, its inputs placed.
        seconds: the longest that timing goes on.
    """
    recipe, noise = manifest["recipe"], manifest["reference"]["latency_noise"]
    recorded = manifest["trial"]["measurement"]["latency"]
    limit = recorded["ratio_interval"]["high"] * (1 + noise)
    paired = neighbour("paired_timing.py", manifest)["paired"]
    ratio, low, high = paired(model, reference, recipe, model.threads, seconds)
    words = (
        f"{1 / ratio:.3f}x the reference ({1 / high:.3f} to {1 / low:.3f}), recorded "
        f"{1 / recorded['ratio']:.3f}x with a noise of {100 * noise:.1f} %"
    )
    return {"name": "latency", "ok": low <= limit, "words": words, "ratio": ratio, "low": low, "high": high}


def losses(manifest: dict[str, Any], model: "ExportedModel", reference: "ExportedModel") -> list[Check]:
    """The mask losses on the examples: to the reference, and to the original model."""
    paths = sorted((FOLDER / EXAMPLES).glob("*.npz"))
    masks = [model.masks(arrays_of(path)) for path in paths]
    right = [reference.masks(arrays_of(path)) for path in paths]
    checks = [loss(manifest, "mask loss", "loss", right, masks)]
    if manifest["examples"].get("original_loss") is not None:
        right = [arrays_of(path.parent / "outputs" / path.name)["original"] for path in paths]
        checks.append(loss(manifest, "original", "original_loss", right, masks))
    return checks


def loss(manifest: dict[str, Any], name: str, key: str, right: list[Any], masks: list[Any]) -> Check:
    """One mask loss against the one recorded under a key.

    Args:
        manifest: what was recorded.
        name: what the check is called.
        key: of the recorded loss, in the manifest's `examples`.
        right: logits that are taken for the truth, one array [masks, h, w] for each example.
        masks: the export's logits of the same examples.
    """
    examples, recipe = manifest["examples"], manifest["recipe"]
    score = neighbour("metric.py", manifest)["score"]
    values = [*right, *masks]  # a blank reference alone would not show whether values are logits
    levels = SimpleNamespace(
        threshold=recipe["threshold"],
        low=min(float(logits.min()) for logits in values),
        high=max(float(logits.max()) for logits in values),
    )
    scored = [score(*pair, levels) for pair in zip(right, masks, strict=True)]
    scores, pixels = (np.concatenate(column) for column in zip(*scored, strict=True))
    full = max(16.0, recipe["small_mask"] * right[0][0].size)
    # Few pixels count less.
    weights = np.minimum(1.0, pixels / full) if recipe["small_mask"] > 0 else np.ones(len(pixels))
    lost = float(1 - (scores * weights).sum() / weights.sum()) if weights.any() else 0.0
    limit = examples[f"{key}_interval"]["high"] + max(manifest["reference"]["loss_noise"], SMALLEST_LOSS)
    number = examples["count"]
    count = "1 example" if number == 1 else f"{number} examples"
    words = f"{lost:.4f} on {count}, recorded {examples[key]:.4f}"
    return {"name": name, "ok": lost <= limit, "words": words, "loss": lost}


class ExportedModel:
    """A model of the export as the study built it, and the decoder behind it."""

    def __init__(self, name: str, manifest: dict[str, Any]) -> None:
        core = ov.Core()
        self.version, self.device = str(ov.__version__), str(core.get_property("CPU", "FULL_DEVICE_NAME"))
        self.threads = int(manifest["recipe"]["options"].get("threads", 1))
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # anything else overrides the model's own types
            "INFERENCE_NUM_THREADS": str(self.threads),
            "NUM_STREAMS": "1",
            "PERFORMANCE_HINT": "LATENCY",
        }
        graph = core.read_model(FOLDER / name)
        graph.reshape({given: ov.PartialShape(sizes) for given, sizes in manifest["input_shapes"]})
        self._compiled = core.compile_model(graph, "CPU", settings)
        self._request = self._compiled.create_infer_request()
        self._output, self._layout = manifest["recipe"]["output"], manifest["recipe"]["layout"]
        self._decoder = None
        if (FOLDER / "decoder.onnx").is_file():
            self._decoder = core.compile_model(core.read_model(FOLDER / "decoder.onnx"), "CPU", settings)

    def masks(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Mask logits, float32 [masks, h, w], of one sample's inputs and prompts."""
        values = dict(arrays)
        for compiled in filter(None, (self._compiled, self._decoder)):
            results = compiled([typed(values[name_of(port, values)], port) for port in compiled.inputs])
            for port in compiled.outputs:
                values |= dict.fromkeys(port.names, results[port])
        output = values[self._output]
        output = np.moveaxis(output, -1, -3) if self._layout == "nhwc" else output
        return output.reshape(-1, *output.shape[-2:]).astype(np.float32)

    def prepare(self, arrays: dict[str, np.ndarray]) -> None:
        """Place inputs for `execute`: what stands in fresh memory may be slow to compute with."""
        for port in self._compiled.inputs:
            self._request.get_tensor(port).data[...] = typed(arrays[name_of(port, arrays)], port)

    def execute(self) -> None:
        """One inference of what was placed."""
        self._request.infer()


def name_of(port: Any, values: dict[str, np.ndarray]) -> str:
    """The name under which a port's array is stored: a port behind a first Cast has two."""
    return str(next(name for name in port.names if name in values))


def typed(array: np.ndarray, port: Any) -> np.ndarray:
    """The array in the type of an input; whole numbers are the nearest, not those below."""
    kind = np.dtype(port.element_type.to_dtype())
    return (np.rint(array) if kind.kind in "iu" else array).astype(kind, copy=False)


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an archive, by name. Raises ValueError where it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # broken archives make NumPy and zipfile raise anything
        raise ValueError(f"{path.relative_to(FOLDER)} cannot be read ({error})") from error


def is_listed(name: str, manifest: dict[str, Any]) -> bool:
    """Whether a file is one of those whose SHA-256 was compared."""
    return any(file["name"] == name for file in manifest["files"])


def neighbour(name: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """What a script of this export defines."""
    if not is_listed(name, manifest):
        cannot(f"{name} is not in manifest.json: export again")
    # By path, not imported: nothing may be executed that the manifest does not list.
    return runpy.run_path(str(FOLDER / name))


def inside(name: str) -> bool:
    """Whether a name is that of a file in this folder that is reached without links."""
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        return False
    steps = [FOLDER.joinpath(*parts[: count + 1]) for count in range(len(parts))]
    return not any(step.is_symlink() for step in steps) and steps[-1].is_file()


def digest(listed: dict[str, Any]) -> str:
    """SHA-256 of a file of the export in hexadecimal; empty if it is not there, or of another size."""
    if not inside(listed["name"]) or (FOLDER / listed["name"]).stat().st_size != listed["bytes"]:
        return ""
    hashed = hashlib.sha256()
    with (FOLDER / listed["name"]).open("rb") as file:
        while part := file.read(1 << 20):
            hashed.update(part)
    return hashed.hexdigest()


def visible(text: str) -> str:
    """Text in one line without control characters, since names in an export may come from anybody."""
    return "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(text.split())
    )


def cannot(words: str) -> NoReturn:
    """Exit because nothing can be measured."""
    print(visible(f"{Path(__file__).name}: {words}"), file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    sys.exit(main())
