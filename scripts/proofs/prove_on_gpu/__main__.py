"""Prove a search on a GPU, from a fresh export to an engine rebuilt elsewhere.

    python scripts/proofs/prove_on_gpu efficientvit_sam_l0 --seconds 600 --trials 50
    python scripts/proofs/prove_on_gpu sam_vit_b --seconds 600 --trials 50
    python scripts/proofs/prove_on_gpu demo --size 256 --trials 20 --mask 11.4.0.106

Exports the network with random weights at 512x512 (or takes the demo's), searches it on the demo's drawn
images, kills the search in the middle and resumes it, exports the best point, verifies it, rebuilds it in a
fresh process and times it again by another loop. With `--mask` TensorRT-RTX looks like full TensorRT of that
version, and autoprec takes the same path as there.

Writes `gpu_MODEL_DATE.json` and `.md` (`full_tensorrt_...` with `--mask`) after every step, so that a run
that is cut short leaves what it has. Needs `pip install '.[tensorrt-rtx]' efficientsam onnxruntime`.
Where there is no GPU, `--backend openvino --size 256` runs the same steps on the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from facts import facts_of
from nights import Nights
from report import markdown

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path.append(str(ROOT / "scripts" / "models"))
from untrained import EXPORTERS, definition, export_command  # noqa: E402 - of another folder of scripts

REPEATS = 12
"""How often the export is timed against itself."""
MASK = ROOT / "tests" / "backends" / "tensorrt" / "mask"
MASKED = {
    "base": "bf16",  # the kernels are TensorRT-RTX's, whose INT8 products overflow FP16
    "options": {"library": "tensorrt"},
}


class Proof:
    """One model's proof: its folder, the results so far, and the time that is left."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.start = time.monotonic()
        self.folder: Path = given.work / given.model
        self.definition = self.folder / f"{given.model}.toml"
        self.results: dict[str, Any] = {
            "model": given.model, "size": given.size, "backend": given.backend,
            "date": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": {}, "errors": [],
            "mask": given.mask,
        }  # fmt: skip

    @property
    def left(self) -> float:
        """Seconds until this proof must be over."""
        return float(self.given.seconds) - (time.monotonic() - self.start)

    def step(self, name: str, work: Callable[[], Any]) -> bool:
        """Do one step, and write its result, its time or its error; returns whether it succeeded."""
        begin = time.monotonic()
        try:
            result = work()
            if result is not None:
                self.results[name] = result
        except Exception as error:  # noqa: BLE001 - what was measured so far is kept
            self.results["errors"].append(f"{name}: {type(error).__name__}: {error}")
            traceback.print_exc()
            return False
        finally:
            self.results["seconds"][name] = round(time.monotonic() - begin, 1)
            self.write()
            print(f"[{time.monotonic() - self.start:6.1f} s] {name}", flush=True)
        return True

    def write(self) -> None:
        """Write the results so far, as JSON and as Markdown."""
        self.given.out.mkdir(parents=True, exist_ok=True)
        kind = "full_tensorrt" if self.given.mask else "gpu"
        target = self.given.out / f"{kind}_{self.given.model}_{self.results['date'][:10]}"
        target.with_suffix(".json").write_text(json.dumps(self.results, indent=1) + "\n")
        target.with_suffix(".md").write_text(markdown(self.results))

    def export_network(self) -> None:
        """Export encoder and decoder as ONNX, unless they exist, and write the definition."""
        models = self.folder / "models"
        given, trained = self.given, f"{ROOT}/studies/models/demo_"
        if given.model in EXPORTERS and not (models / "decoder.onnx.done").exists():
            command = export_command(given.model, models, given.size, given.export)
            subprocess.run(command, check=True, timeout=max(self.left, 1))
            # A mark of its own: an export that was cut short leaves files, too.
            (models / "decoder.onnx.done").touch()
        seconds = 60 if given.backend == "tensorrt" else 600
        more = {
            "samples": {"evaluation_limit": given.samples},
            "blocks": {"minimum": 20},
            "quality": {"reference_limit": 0.3},
            "search": {"finalists": 2},
            "backend": {"trial_seconds": seconds, **(MASKED if given.mask else {})},
            "timing": {"seconds": 2},
        }
        text = definition(
            given.model, given.backend, "models/" if given.model in EXPORTERS else trained, more
        )
        self.definition.write_text(text)

    def search(self) -> list[dict[str, Any]]:
        """Search, kill, resume, leaving time for later steps; returns the facts of all calls so far."""
        earlier = self.folder / "nights.json"
        nights = Nights(self.definition, self.given.trials, self.folder / "search.log")
        nights_so_far: list[dict[str, Any]] = json.loads(earlier.read_text()) if earlier.exists() else []
        nights_so_far.append(
            nights.run(kill_after=self.given.kill_after, seconds=self.left - self.given.reserve)
        )
        earlier.write_text(json.dumps(nights_so_far))
        return nights_so_far

    def export(self) -> None:
        """Export the best point."""
        target = self.folder / "export"
        command = [sys.executable, "-m", "autoprec", "export", str(target), "--study", str(self.definition)]
        subprocess.run(command, check=True, timeout=max(self.left, 5), cwd=ROOT)

    def rebuild(self) -> dict[str, Any]:
        """Build and time the export in a fresh process."""
        folder = self.folder / "export"
        return self._told("rebuild.py", str(folder), str(folder / "reference.onnx"), self.given.backend)

    def verify(self) -> dict[str, Any]:
        """Exit code and checks of `autoprec verify` on the export."""
        command = [sys.executable, "-m", "autoprec", "verify", str(self.folder / "export"), "--json"]
        done = subprocess.run(
            command, check=False, timeout=max(self.left, 5), cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        return {"exit_code": done.returncode, "checks": json.loads(done.stdout or "{}").get("checks", [])}

    def repeats(self) -> dict[str, Any]:
        """Time the export against itself."""
        return self._told("repeats.py", str(self.folder / "export"), self.given.backend, str(REPEATS))

    def _told(self, script: str, *arguments: str) -> dict[str, Any]:
        """The last line that a neighbouring script prints, as JSON."""
        done = subprocess.run(
            [sys.executable, str(HERE / script), *arguments],
            check=True, timeout=max(self.left, 5), cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result


def main() -> None:
    """Go through the steps; exits with 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", choices=(*EXPORTERS, "demo"))
    parser.add_argument("--seconds", type=float, default=1800, help="all steps together")
    parser.add_argument("--reserve", type=float, default=100, help="of these, for what follows the search")
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--kill-after", type=int, default=8, help="kill the search after so many trials")
    parser.add_argument("--size", type=int, default=512, help="side of the images")
    parser.add_argument("--export", action="append", default=[], help="for the exporter: --export=--depth=6")
    parser.add_argument("--samples", type=int, default=12, help="images that masks are scored on")
    parser.add_argument("--backend", choices=("openvino", "tensorrt"), default="tensorrt")
    parser.add_argument("--mask", default="", help="present TensorRT-RTX as full TensorRT of this version")
    parser.add_argument("--work", type=Path, default=Path("build/prove_on_gpu"), help="models and study")
    parser.add_argument("--out", type=Path, default=ROOT / "studies" / "results")
    given = parser.parse_args()
    given.work = given.work.absolute()
    if given.mask:
        there = os.environ.get("PYTHONPATH")
        os.environ["MASKED_TENSORRT"] = given.mask
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(MASK), there)))
    proof = Proof(given)
    proof.folder.mkdir(parents=True, exist_ok=True)
    steps: dict[str, Callable[[], Any]] = {
        "export_network": proof.export_network,
        "search": proof.search,
        "facts": lambda: facts_of(proof.definition),
        "export": proof.export,
        "verify": proof.verify,
        "rebuild": proof.rebuild,
        "repeats": proof.repeats,
    }
    failed = [name for name, work in steps.items() if not proof.step(name, work)]
    print(markdown(proof.results))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
