"""TensorRT's bindings without TensorRT's libraries: the wheel, and a stub of the libraries it links to.

The bindings' wheels are on PyPI; the libraries come from NVIDIA only. The stub has the few functions that the
bindings import from them. They return NULL, so that everything works up to the first native object, until
`hollow.py` answers for them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

SYMBOLS = re.compile(
    r"\bU ((?:createInfer|createNv|getBuilder|getPlugin|getNv|getInfer|initLib|_ZN\d+nv)\w+)"
)
LIBRARIES = re.compile(r"NEEDED.*\[(libnv[^\]]*)\]")
HOLLOW = Path(__file__).with_name("hollow.c")
FRONT = "from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n"
"""The stand-in for NVIDIA's `tensorrt` package, which does no more than this."""


def download(package: str, version: str, folder: Path) -> Path:
    """Download the bindings' wheel from the package index.

    Args:
        package: name of the package.
        version: empty for the newest.
        folder: an empty folder for the wheel.

    Raises:
        subprocess.CalledProcessError: there is no such wheel for this Python.
    """
    wanted = f"{package}=={version}" if version else package
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder), wanted]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def importable(wheel: Path, folder: Path) -> dict[str, str]:
    """Unpack a wheel and build its stub; returns the environment in which `import tensorrt` finds it.

    Needs `gcc`, and `nm` and `readelf` of binutils.
    """
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    binary = folder / "tensorrt_bindings" / "tensorrt.so"
    stub, front = folder / "stub", folder / "front" / "tensorrt"
    stub.mkdir()
    front.mkdir(parents=True)
    (front / "__init__.py").write_text(FRONT)
    symbols = sorted(set(SYMBOLS.findall(_told("nm", "-D", "--undefined-only", str(binary)))))
    factories = "".join(f"FACTORY({symbol})\n" for symbol in symbols)
    (stub / "hollow.c").write_text(HOLLOW.read_text() + factories)
    (stub / "empty.c").touch()
    # The loader wants every library that the bindings name, but one of them suffices to hold all functions.
    for number, library in enumerate(LIBRARIES.findall(_told("readelf", "-d", str(binary)))):
        source = stub / ("empty.c" if number else "hollow.c")
        command = ["gcc", "-shared", "-fPIC", "-w", f"-Wl,-soname,{library}", "-o", str(stub / library)]
        subprocess.run([*command, str(source)], check=True)
    paths = [str(front.parent), str(folder)]
    return dict(os.environ) | {"LD_LIBRARY_PATH": str(stub), "PYTHONPATH": os.pathsep.join(paths)}


def _told(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
