"""An ssh server of our own on a loopback address, with its own keys: a target that needs no other machine."""

from __future__ import annotations

import contextlib
import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SSHD = shutil.which("sshd") or next((p for p in ("/usr/sbin/sshd",) if Path(p).exists()), "")
IS_HERE = bool(SSHD and shutil.which("ssh"))
"""Whether there is an ssh and a server: `apt-get install openssh-server` brings both."""


class Server(NamedTuple):
    """Where it listens, and the files that a client and a test need."""

    address: str
    config: Path
    known_hosts: Path
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        """Of its address."""
        return int(self.address.rpartition(":")[2])


@contextlib.contextmanager
def serving(folder: Path, more: str = "") -> Iterator[Server]:
    """A server for this user alone; it keeps its files in `folder`, and goes at the end.

    `more` are lines for the client's configuration. Raises `OSError` where none starts.
    """
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True, timeout=20
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
        "PermitRootLogin yes\nMaxStartups 100\n"
    )
    hosts_file = folder / "known_hosts"
    hosts_file.write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    config = folder / "config"
    config.write_text(
        f"Host *\n IdentityFile {folder}/user\n IdentitiesOnly yes\n UserKnownHostsFile {hosts_file}\n{more}"
    )
    Path("/run/sshd").mkdir(exist_ok=True)  # where sshd separates its privileges
    process = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port)
        yield Server(f"ssh://{getpass.getuser()}@127.0.0.1:{port}", config, hosts_file, process)
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.1)
    raise OSError("sshd does not start here")
