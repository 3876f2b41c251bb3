"""The agent as one file, and the line of Python that puts it on the target, checked by its digest."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import zipfile
from importlib.resources import files
from typing import NamedTuple

_ROOT = "autoprec/backends/target/agent"
_EPOCH = (1980, 1, 1, 0, 0, 0)

HAVE, NEED = b"autoprec have\n", b"autoprec need\n"
"""What the target says of the agent; a login script may print before."""
UNFIT, NO_FOLDER, FULL = 69, 73, 75
"""Exit codes for an unusable Python, a folder that cannot be made, and a full disk."""
_BOOTSTRAP = """
import sys, os, errno
digest, size, folder, limit = {digest!r}, {size}, os.path.expanduser({folder!r}), {limit!r}
def refuse(code, words):
    sys.stderr.write("%s\\n" % words)
    sys.stderr.flush()
    os._exit(code)
if sys.version_info < (3, 8):
    refuse({unfit}, "%s is Python %d.%d" % ((sys.executable,) + tuple(sys.version_info[:2])))
import hashlib, time
path = os.path.join(folder, "agent-" + digest[:16] + ".pyz")
def whole(data): return hashlib.sha256(data).hexdigest() == digest
def there():
    try:
        with open(path, "rb") as file: return whole(file.read())
    except OSError: return False
def remove_left(name):
    left = os.path.join(folder, name)
    try:
        if left != path and time.time() - os.stat(left).st_mtime > 3600: os.remove(left)
    except OSError: pass
try:
    os.makedirs(folder, 0o700, exist_ok=True)
    if not there():
        os.write(1, b"\\n" + {need!r})
        data = b""
        while len(data) < size:
            part = os.read(0, size - len(data))
            if not part: sys.exit("the line was cut while the agent came")
            data += part
        if not whole(data): sys.exit("the agent came damaged")
        for name in os.listdir(folder):
            if name.startswith("agent-"): remove_left(name)
        part = path + "." + str(os.getpid()) + ".part"
        try:
            with open(part, "wb") as file: file.write(data)
            os.replace(part, path)
        finally:
            if os.path.exists(part): os.remove(part)
except OSError as error:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    refuse({full} if full else {no_folder}, "%s: %s" % (folder, error.strerror))
os.write(1, b"\\n" + {have!r})
os.execv(sys.executable, [sys.executable, path, folder, limit])
"""
_START = """
import pathlib, sys
try:
    import numpy
except ImportError as error:
    words = (str(error).strip() or "no reason given").splitlines()[0]
    sys.stderr.write("%s cannot load numpy (%s); `%s -m pip install numpy` brings it\\n"
        % (sys.executable, words, sys.executable))
    sys.exit({unfit})
from autoprec.backends.target.agent.__main__ import main
main(pathlib.Path(sys.argv[1]).expanduser(), int(sys.argv[2]))
"""


def bootstrap(folder: str, limit: int) -> str:
    """A line of Python that fetches and becomes the agent; encoded, so that no login shell alters it."""
    archive, digest = agent_archive()
    text = _BOOTSTRAP.format(
        digest=digest, size=len(archive), folder=folder, limit=str(limit), need=NEED, have=HAVE,
        unfit=UNFIT, no_folder=NO_FOLDER, full=FULL,
    )  # fmt: skip
    return f'import base64; exec(base64.b64decode("{base64.b64encode(text.encode()).decode()}"))'


class AgentArchive(NamedTuple):
    """The agent as a zip file that Python runs, and its SHA-256."""

    data: bytes
    digest: str


@functools.cache
def agent_archive() -> AgentArchive:
    """The agent as an archive; the same bytes for the same code."""
    here = files("autoprec.backends.target.agent")
    texts = {entry.name: entry.read_bytes() for entry in here.iterdir() if entry.name.endswith(".py")}
    start = _START.format(unfit=UNFIT).encode()
    members = {f"{_ROOT}/{name}": text for name, text in texts.items()} | {"__main__.py": start}
    folders = ("autoprec", "autoprec/backends", "autoprec/backends/target")
    members |= {f"{folder}/__init__.py": b"" for folder in folders}
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members):
            # Without the date of writing: the digest names the agent on the
            # target, and must follow the code alone.
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), members[name])
    data = memory.getvalue()
    return AgentArchive(data, hashlib.sha256(data).hexdigest())
