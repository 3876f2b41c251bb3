"""Runs and times model.onnx on the CPU with OpenVINO. Needs: pip install openvino numpy

    python run_openvino.py [--threads N] [--seconds S]

Prints wall time, which is what a caller waits, and processor time: on one thread a study measures that, for
neighbours on the machine do not stretch it. Latencies compare only on the machine that the manifest names;
the ratio to another export on the same machine compares anywhere.
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
import json
import time
from pathlib import Path
from timeit import default_timer
from typing import Any, NoReturn

try:
    import numpy as np
    import openvino as ov
except ImportError as error:
    print(f"run_openvino.py: {error.name} is not installed: pip install openvino numpy", file=sys.stderr)
    sys.exit(2)

FOLDER = Path(__file__).resolve().parent
CONFIG = {
    "INFERENCE_PRECISION_HINT": "f32",  # anything else overrides the model's own types
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": "1",
}
UNFIT = (
    ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""Errors caused by files of the export that are missing or changed."""


def compile_model(shapes: list[tuple[str, list[int]]], threads: int) -> Any:
    """The compiled model, its inputs at the measured shapes."""
    core = ov.Core()
    model = core.read_model(FOLDER / "model.onnx")
    model.reshape({name: ov.PartialShape(sizes) for name, sizes in shapes})
    return core.compile_model(model, "CPU", CONFIG | {"INFERENCE_NUM_THREADS": str(threads)})


def place_inputs(compiled: Any, request: Any) -> None:
    """Noise for float inputs, zeros for the rest."""
    generator = np.random.default_rng(0)
    for port in compiled.inputs:
        array = np.zeros(tuple(port.shape), port.element_type.to_dtype())
        if array.dtype.kind == "f":
            array[...] = generator.standard_normal(array.shape)
        request.set_tensor(port, ov.Tensor(array))


def time_model(request: Any, seconds: float) -> tuple[np.ndarray, float]:
    """Wall milliseconds of single inferences after a warm-up, and the mean processor time of one."""
    for _ in range(5):
        request.infer()
    times: list[float] = []
    began, end = time.process_time(), default_timer() + seconds
    while len(times) < 10 or default_timer() < end:
        start = default_timer()
        request.infer()
        times.append(1e3 * (default_timer() - start))
    return np.array(times), 1e3 * (time.process_time() - began) / len(times)


def visible(text: str) -> str:
    """Text in one line without control characters, since names in an export may come from anybody."""
    return "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(text.split())
    )


def cannot(words: str) -> NoReturn:
    """Exit because nothing can be measured."""
    print(visible(f"{Path(__file__).name}: {words}"), file=sys.stderr)
    raise SystemExit(2)


def main() -> None:
    """Print latency, output shapes, and what the manifest says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, help="CPU threads; by default as many as were measured with")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to measure")
    arguments = parser.parse_args()
    manifest = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
    engine = manifest["identity"]["fingerprint"]
    threads = arguments.threads or json.loads(engine["options"] or "{}").get("threads", 1)
    compiled = compile_model(manifest["input_shapes"], threads)
    request = compiled.create_infer_request()
    place_inputs(compiled, request)
    times, processor = time_model(request, arguments.seconds)
    low, median, high = np.percentile(times, (10, 50, 90))
    measured = f"{engine['backend']} {engine['version']} on {engine['device']}"
    here = f"OpenVINO {ov.__version__}, {threads} {'thread' if threads == 1 else 'threads'}"
    print(f"measured here: {median:.3f} ms of wall time (p10 {low:.3f}, p90 {high:.3f}), {here}")
    print(f"               {processor:.3f} ms of processor time, the mean of {len(times)}")
    there = f"{manifest['latency_ms']:.3f} ms of {manifest['clock']}, {measured}"
    print(f"the manifest:  {visible(there)}")
    for port in compiled.outputs:
        print(f"output {min(port.names, key=len)!r}: {port.element_type.get_type_name()} {list(port.shape)}")


if __name__ == "__main__":
    try:
        main()
    except UNFIT as error:
        cannot(f"{type(error).__name__}: {str(error)[:300]}: is the export whole? verify.py says so")
