"""Check what autoprec uses of TensorRT's Python API against the bindings themselves.

    python scripts/proofs/check_tensorrt_api [VERSION...] [--package tensorrt-cu13-bindings] [--keep DUMPS]
    python scripts/proofs/check_tensorrt_api VERSION --search [STEP...]

Downloads the bindings of each version from the package index (by default those that are supported, and the
newest there is), makes them importable over a library of air, reads off what they have, and says what is
missing or fits no more. Where the tests keep a dump of a version, its classes must be those of the wheel.
Then the adapter builds, loads, runs, profiles and inspects an engine over the bindings, and is refused at
each step. `--search` has a whole study searched over them instead, by the adapter and by an agent, and then
with each STEP refused (`all` for all of them): see `searching.py`. The exit code is 1 if anything is amiss.
Needs gcc and binutils.
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
"""Versions that the agent alone serves, and the package of their bindings."""
NEWEST = ""
_LONGEST_SECONDS = 3600
"""For a search in which each step is refused, on a busy machine."""


def main() -> int:
    """Parse, check each version, and tell; 1 if anything is amiss."""
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
    """What the bindings of a version have, and what is amiss; with `steps`, in a search in which they are
    refused. Raises `subprocess.CalledProcessError`."""
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
    """What is amiss where the adapter works over the bindings and a library of air.

    Args:
        program: what drives it.
        environment: in which the bindings can be imported.
        folder: where it runs.
        words: its parameters.
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
    """Whether the adapter serves that version; older ones are the agent's alone."""
    major, minor = (int(part) for part in str(told["version"]).split(".")[:2])
    return (major, minor) >= (10, 13)


def problems(told: Mapping[str, Any]) -> Iterator[str]:
    """What autoprec uses, and this version lacks or takes otherwise."""
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
    """What is used and is of another kind, or gives something else, than in all versions with a dump."""
    dumps = sorted((TESTS / "api").glob("*.json.gz"))
    kept = [json.loads(gzip.decompress(path.read_bytes())) for path in dumps]
    for name in (name.removesuffix("=") for name in used(told)):
        kinds = {kind(member) for one in kept if (member := lookup(one, name)) is not None}
        member = lookup(told, name)
        if member is not None and kinds and kind(member) not in kinds:
            yield f"{name} is {kind(member)}, and was {' or '.join(sorted(kinds))}"


def kind(member: Any) -> str:
    """A property, or a function with the classes that it gives, as pybind11 writes them."""
    if not isinstance(member, list):
        return "a property"
    given = (re.search(r"-> (?:\w+\.|\w+::)*(\w+)", signature) for signature in member)
    return (
        f"a function that gives {' or '.join(sorted({match[1] if match else 'nothing' for match in given}))}"
    )


def used(told: Mapping[str, Any]) -> dict[str, str]:
    """What is used of a version: by the agent, and from 10.13 on by the adapter too."""
    if "STRONGLY_TYPED" not in told["classes"]["NetworkDefinitionCreationFlag"]["enum"]:
        return {**uses.AGENT, **uses.WEAK, **uses.PROBED}
    if not is_for_adapter(told):
        return {**uses.AGENT, **uses.PROBED}
    return {**uses.AGENT, **uses.ADAPTER, **uses.POLYGRAPHY, **uses.PROBED}


def lookup(told: Mapping[str, Any], name: str) -> Any:
    """The signatures of a method, or what is told of a property, class or member; None if it is not there."""
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
    """Whether a call with these parameters, by place or by name, is what a signature takes."""
    parsed = signatures().signature_of(signature)
    if parsed is None:
        return True
    given = [name.strip() for name in parameters.split(",") if name.strip()]
    taken = [p for p in parsed.parameters.values() if p.name != "self"]
    needed = [p for p in taken if p.default is p.empty]
    return [p.name for p in taken[: len(given)]] == given and len(needed) <= len(given)


def stale(told: Mapping[str, Any]) -> Iterator[str]:
    """Whether the dump that the tests use differs."""
    kept = TESTS / "api" / f"api-{told['version']}.json.gz"
    if kept.exists() and json.loads(gzip.decompress(kept.read_bytes()))["classes"] != told["classes"]:
        yield f"{kept.relative_to(ROOT)} is not what the wheel has: write it again with --keep"


def signatures() -> Any:
    """The tests' parser of signatures, which the masks use as well."""
    if str(TESTS / "mask") not in sys.path:
        sys.path.append(str(TESTS / "mask"))
    return importlib.import_module("signatures")


if __name__ == "__main__":
    for tool in ("gcc", "nm", "readelf"):
        if not shutil.which(tool):
            sys.exit(f"check_tensorrt_api: {tool} is not installed: apt-get install gcc binutils")
    sys.exit(main())
