"""A search over TensorRT's own bindings and a stub library that computes; then with each step refused.

python searching.py FOLDER [STEP...], the one with the library; prints what is wrong, one thing a line. With a
step refused from the beginning, a search must end in one line or do without the step. With a step refused
after a while, it must end with failed trials.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.append(str(ROOT / "tests" / "kit"))

from autoprec.errors import BLAMELESS  # noqa: E402
from autoprec.records import TrialRecord  # noqa: E402
from autoprec.store import Store  # noqa: E402
from tiny_study import write_study  # noqa: E402 - behind the path

SITE = """
import os
from pathlib import Path
from computing import begin
begin(Path(os.environ["AIR"]))
"""
BACKEND = """
[backend]
name = "tensorrt"
options = {{ library = "tensorrt", cache_folder = "{folder}/cache" }}
"""
REASON = "the very reason"
STEPS = {
    "Builder.__init__": 2, "OnnxParser.__init__": 2, "OnnxParser.parse_from_file": 2,
    "Builder.build_serialized_network": 2, "Runtime.__init__": 2, "Runtime.deserialize_cuda_engine": 2,
    "ICudaEngine.create_execution_context": 2, "IExecutionContext.set_input_shape": 9,
    "IExecutionContext.set_tensor_address": 20, "IExecutionContext.execute_async_v3": 5,
    "IExecutionContext.report_to_profiler": 0, "EngineInspector.get_engine_information": 0,
}  # fmt: skip
"""The steps to refuse, with the number of calls per process that succeed where a step is refused later:
enough for the reference, too few for three candidates. The last two are not needed for a measurement."""
_SECONDS = 300


AGENT = """
[backend]
name = "tensorrt"
options = { library = "tensorrt" }
"""
TARGET = """
[target]
address = "local:{folder}/python"
folder = "{folder}/there"
"""
WRAPPER = """#!/bin/sh
shift  # -I: what runs first is found by PYTHONPATH
exec {python} "$@"
"""


def searched(folder: Path, air: str, budget: int, step: str = "", after: int = 0) -> tuple[int, str]:
    """Run a search; returns its exit code and output.

    Args:
        folder: of the study.
        air: the folder with the stub library.
        budget: number of trials.
        step: what the library refuses; empty for nothing.
        after: the number of calls of `step` that succeed first, per process.
    """
    path = [str(folder / "site"), str(HERE), os.environ["PYTHONPATH"]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "AIR": air, "COLUMNS": "200"}
    environment |= {"AIR_REFUSES": step, "AIR_AFTER": str(after)}
    command = [sys.executable, "-m", "autoprec", "search", "--study", "tiny.toml", "--budget", str(budget)]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=_SECONDS
    )
    return done.returncode, done.stdout + done.stderr


def begun(folder: Path, *, by_agent: bool = False) -> None:
    """Write a tiny study, and the `sitecustomize` its processes run first; `by_agent` gives it a target."""
    (folder / "site").mkdir(parents=True)
    (folder / "site" / "sitecustomize.py").write_text(SITE)
    (folder / "python").write_text(WRAPPER.format(python=sys.executable))
    (folder / "python").chmod(0o755)
    backend = BACKEND.format(folder=folder)
    if by_agent:
        backend = '[backend]\nname = "tensorrt"\noptions = { library = "tensorrt" }\n' + TARGET.format(
            folder=folder
        )
    write_study(folder, backend)


def amiss(folder: Path, air: str, steps: list[str]) -> Iterator[str]:
    """Yield what goes wrong in searches by the agent and by the adapter, then with each step refused.

    Args:
        folder: takes the studies.
        air: the folder with the stub library.
        steps: the steps to refuse.
    """
    begun(folder / "agent", by_agent=True)
    code, words = searched(folder / "agent", air, 4)
    states = [trial.state for trial in _trials(folder / "agent")]
    if code or states.count("complete") < 4:
        yield f"a search by the agent ends with {code}, trials {states}: {words.strip()[-600:]}"
    begun(folder)
    code, words = searched(folder, air, 4)
    states = [trial.state for trial in _trials(folder)]
    if code or states.count("complete") < 4:
        yield f"a search ends with {code}, trials {states}: {words.strip()[-600:]}"
        return
    for number, step in enumerate(steps):
        home = folder / str(number)
        begun(home)
        code, words = searched(home, air, 4, step)
        if ending := _ended_wrongly(code, words):
            yield f"a search in which {step} refuses {ending}"
        failed = sum(trial.state == "failed" for trial in _trials(folder))
        code, words = searched(home / "..", air, 3, step, after := STEPS.get(step, 2))
        if after and not code and sum(trial.state == "failed" for trial in _trials(folder)) == failed:
            yield f"a search in which {step} refuses after a while has no failed trial"
        if ending := _ended_wrongly(code, words):
            yield f"a search in which {step} refuses after a while {ending}"
    failures = [trial.failure for trial in _trials(folder) if trial.failure]
    if strange := [one for one in failures if REASON not in one.message and one.kind not in BLAMELESS]:
        yield f"trials failed for other reasons: {strange[0]}"


def _ended_wrongly(code: int, words: str) -> str:
    """Why a search ended in an unacceptable way; empty if it did not."""
    if "Traceback" in words or code not in (0, 2):
        return f"ends with {code}: {words.strip()[-600:]}"
    last = words.strip().splitlines()[-1:]
    if code == 2 and REASON not in (last or [""])[0]:
        return f"is told as: {last}"
    return ""


def _trials(folder: Path) -> list[TrialRecord]:
    with Store.open(folder / "tiny" / "study.db", read_only=True) as store:
        return list(store.trials("tiny"))


def main() -> int:
    """Search with each step refused, and print what is wrong."""
    with tempfile.TemporaryDirectory() as scratch:
        steps = list(STEPS) if sys.argv[2:] == ["all"] else sys.argv[2:]
        for line in amiss(Path(scratch), sys.argv[1], steps):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
