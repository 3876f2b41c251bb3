"""Check what autoprec uses of TensorRT's Python API against the bindings themselves.

    python scripts/proofs/check_tensorrt_api [VERSION...] [--package tensorrt-cu13-bindings] [--keep DUMPS]
    python scripts/proofs/check_tensorrt_api VERSION --search [STEP...]

Downloads the bindings of each version from the package index (by default the supported ones and the newest),
makes them importable over a stub library ("of air"), reads off their classes and signatures, and reports what
autoprec uses that is missing or no longer fits. Where the tests keep a dump of a version, the wheel must have
the same classes. Then the adapter builds, loads, runs, profiles and inspects an engine over the bindings, and
again with each step refused. `--search` searches a whole study over them instead, by the adapter and by an
agent, and then with each STEP refused (`all` for all steps): see `searching.py`. The exit code is 1 on
faults. Needs gcc and binutils.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import uses
from stub import download, importable

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
TESTS = ROOT / "tests" / "backends" / "tensorrt"
SUPPORTED = ("10.13.3.9", "10.16.1.11", "11.0.0.114", "11.4.0.106")
ON_TARGETS = {"8.6.1": "tensorrt-bindings", "10.3.0": "tensorrt-cu12-bindings"}
"""Versions that only the agent on a target serves, and the packages of their bindings."""
NEWEST = ""
_LONGEST_SECONDS = 3600
"""Timeout of a driven program: enough for a search with each step refused, on a busy machine."""


def main() -> int:
    """Check each version and print what is wrong with it; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("versions", nargs="*", default=[*ON_TARGETS, *SUPPORTED, NEWEST])
    parser.add_argument("--package", default="tensorrt-cu13-bindings")
    parser.add_argument("--keep", type=Path, help="write the dumps into this folder")
    parser.add_argument("--search", nargs="*", metavar="STEP", help="search a study, with steps refused")
    given = parser.parse_args()
    is_amiss = False
    for version in given.versions:
        try:
            told, faults = examined(ON_TARGETS.get(version, given.package), version, given.search)
        except subprocess.CalledProcessError as error:
            print(f"{version or 'newest'}: {' '.join(error.cmd[:4])} ... ended with {error.returncode}")
            is_amiss = True
            continue
        is_amiss |= bool(faults)
        print(f"TensorRT {told['version']}: {'; '.join(faults) or 'all that is used is there and fits'}")
        if given.keep:
            given.keep.mkdir(parents=True, exist_ok=True)
            text = json.dumps(told, indent=1, sort_keys=True)
            (given.keep / f"api-{told['version']}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    return int(is_amiss)


def examined(
    package: str, version: str, steps: Sequence[str] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Examine the bindings of a version.

    Args:
        package: of the bindings in the package index.
        version: of the package; empty for the newest.
        steps: search a study with these steps refused; None checks the API and drives the adapter instead.

    Returns:
        The dump of the bindings, and what is wrong, a line each.

    Raises:
        subprocess.CalledProcessError: the wheel cannot be downloaded or imported.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "wheel").mkdir()
        environment = importable(download(package, version, folder / "wheel"), folder / "unpacked")
        out = folder / "dump.json.gz"
        command = [sys.executable, str(HERE / "dump.py"), "tensorrt", str(out)]
        subprocess.run(command, check=True, env=environment, cwd=folder)
        told: dict[str, Any] = json.loads(gzip.decompress(out.read_bytes()))
        if steps is not None:
            return told, driven("searching.py", environment, folder, steps)
        faults = [*problems(told), *changes(told), *stale(told)]
        return told, faults + (driven("drive.py", environment, folder) if is_for_adapter(told) else [])


def driven(
    program: str, environment: Mapping[str, str], folder: Path, words: Sequence[str] = ()
) -> list[str]:
    """Drive the adapter over the bindings and the stub library; returns what is wrong, a line each.

    Args:
        program: name of the driving script in this folder.
        environment: variables with which the bindings can be imported.
        folder: the working directory.
        words: further parameters of the program.
    """
    environment = {**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}:{ROOT}"}
    command = [sys.executable, str(HERE / program), environment["LD_LIBRARY_PATH"], *words]
    done = subprocess.run(
        command,
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONGEST_SECONDS,
    )
    if done.returncode:
        return [f"the adapter over the bindings ended with {done.returncode}: {done.stderr.strip()[-300:]}"]
    return done.stdout.splitlines()


def is_for_adapter(told: Mapping[str, Any]) -> bool:
    """Whether the adapter serves this version; older ones are served by the agent only."""
    major, minor = (int(part) for part in str(told["version"]).split(".")[:2])
    return (major, minor) >= (10, 13)


def problems(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield what autoprec uses and this version lacks, or takes with other parameters."""
    for name, parameters in used(told).items():
        member = lookup(told, name.removesuffix("="))
        if member is None:
            if name not in uses.PROBED:
                yield f"has no {name.removesuffix('=')}"
        elif isinstance(member, list):
            if not any(fits(signature, parameters) for signature in member):
                yield f"{name} takes other parameters than ({parameters}): {' or '.join(member)}"
        elif name.endswith("=") and member.get("ro"):
            yield f"{name.removesuffix('=')} cannot be set"


def changes(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield what autoprec uses whose kind or result differs from that in every version with a dump."""
    dumps = sorted((TESTS / "api").glob("*.json.gz"))
    kept = [json.loads(gzip.decompress(path.read_bytes())) for path in dumps]
    for name in (name.removesuffix("=") for name in used(told)):
        kinds = {kind(member) for one in kept if (member := lookup(one, name)) is not None}
        member = lookup(told, name)
        if member is not None and kinds and kind(member) not in kinds:
            yield f"{name} is {kind(member)}, and was {' or '.join(sorted(kinds))}"


def kind(member: Any) -> str:
    """A member's kind in words: a property, or a function with the classes that pybind11 says it returns."""
    if not isinstance(member, list):
        return "a property"
    given = (re.search(r"-> (?:\w+\.|\w+::)*(\w+)", signature) for signature in member)
    return (
        f"a function that gives {' or '.join(sorted({match[1] if match else 'nothing' for match in given}))}"
    )


def used(told: Mapping[str, Any]) -> dict[str, str]:
    """The members autoprec uses of a version, with parameters: the agent's, and from 10.13 the adapter's."""
    if "STRONGLY_TYPED" not in told["classes"]["NetworkDefinitionCreationFlag"]["enum"]:
        return {**uses.AGENT, **uses.WEAK, **uses.PROBED}
    if not is_for_adapter(told):
        return {**uses.AGENT, **uses.PROBED}
    return {**uses.AGENT, **uses.ADAPTER, **uses.POLYGRAPHY, **uses.PROBED}


def lookup(told: Mapping[str, Any], name: str) -> Any:
    """The signatures of a method, or the entry of a property, class or enum member; None if it is missing."""
    first, *rest = name.split(".")
    where: Any = told["classes"].get(first)
    for part in rest[:-1]:
        where = (where or {}).get("nested", {}).get(part)
    if where is None:
        return None
    last = rest[-1]
    for kind in ("methods", "properties"):
        if last in where.get(kind, {}):
            return where[kind][last]
    return {} if last in where.get("enum", {}) else None


def fits(signature: str, parameters: str) -> bool:
    """Whether a signature takes a call with these parameters, by position as well as by name."""
    parsed = signatures().signature_of(signature)
    if parsed is None:
        return True
    given = [name.strip() for name in parameters.split(",") if name.strip()]
    taken = [p for p in parsed.parameters.values() if p.name != "self"]
    needed = [p for p in taken if p.default is p.empty]
    return [p.name for p in taken[: len(given)]] == given and len(needed) <= len(given)


def stale(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line if the tests' dump of this version differs from the wheel."""
    kept = TESTS / "api" / f"api-{told['version']}.json.gz"
    if kept.exists() and json.loads(gzip.decompress(kept.read_bytes()))["classes"] != told["classes"]:
        yield f"{kept.relative_to(ROOT)} is not what the wheel has: write it again with --keep"


def signatures() -> Any:
    """The tests' parser of signatures, which their masks of TensorRT use as well."""
    if str(TESTS / "mask") not in sys.path:
        sys.path.append(str(TESTS / "mask"))
    return importlib.import_module("signatures")


if __name__ == "__main__":
    for tool in ("gcc", "nm", "readelf"):
        if not shutil.which(tool):
            sys.exit(f"check_tensorrt_api: {tool} is not installed: apt-get install gcc binutils")
    sys.exit(main())
