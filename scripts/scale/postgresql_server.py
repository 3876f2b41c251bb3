"""A private PostgreSQL server for tests and benchmarks, on a socket in a temporary folder.

`POSTGRESQL_PROGRAMS` names the folder of its programs if they are not Debian's; those in the wheel of
`pgserver` do on a machine where nothing can be installed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROLE = "autoprec"


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, newest version first; None if it is not installed."""
    if named := os.environ.get("POSTGRESQL_PROGRAMS"):
        return Path(named)
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: -int(p.parent.name))
    on_path = shutil.which("initdb")
    candidates = [*folders, *([Path(on_path).parent] if on_path else [])]
    return next((folder for folder in candidates if (folder / "postgres").exists()), None)


class PostgresqlServer:
    """A running server.

    Args:
        folder: receives the data and the socket; the server's user must be able to reach it.
        durable: flush commits to disk, as for users.
        listen: an address of this machine on which to accept anybody as well; none by default.

    Raises `FileNotFoundError` if PostgreSQL is not installed.
    """

    def __init__(self, folder: Path, *, durable: bool = False, listen: str = "") -> None:
        there = programs()
        if there is None:
            raise FileNotFoundError("PostgreSQL is not installed: apt-get install postgresql")
        self._programs, self._folder, self._durable = there, folder, durable
        self._listen = listen
        self._user = _user()
        self._process: subprocess.Popen[bytes] | None = None
        self._count = 0
        folder.chmod(0o755)
        (folder / "data").mkdir()
        if self._user is not None:
            os.chown(folder, self._user, -1)
            os.chown(folder / "data", self._user, -1)
        self._run("initdb", "-D", str(folder / "data"), "-U", ROLE, "--auth=trust", "--no-sync", "-E", "UTF8")
        if listen:
            with (folder / "data" / "pg_hba.conf").open("a") as rules:
                rules.write("host all all all trust\n")
        self.start()

    def address(self, database: str = "postgres") -> str:
        """The SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://{ROLE}@/{database}?host={self._listen or self._folder}"

    def new_database(self) -> str:
        """The address of an empty database."""
        self._count += 1
        name = f"study_{self._count}"
        self._run("createdb", "-h", str(self._folder), "-U", ROLE, name)
        return self.address(name)

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        flush = () if self._durable else ("-c", "fsync=off", "-c", "synchronous_commit=off")
        command = [
            str(self._programs / "postgres"),
            "-D",
            str(self._folder / "data"),
            "-k",
            str(self._folder),
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-c", f"listen_addresses={self._listen}", "-c", "max_connections=400", *flush],
                user=self._user,
                stdout=log,
                stderr=log,
            )
        for _ in range(100):
            ready = [str(self._programs / "pg_isready"), "-q", "-t", "1", "-h", str(self._folder)]
            if subprocess.run(ready, check=False).returncode == 0:
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)
        raise RuntimeError((self._folder / "log").read_text(errors="replace")[-2000:])

    def stop(self, *, how: str = "fast") -> None:
        """Stop the server: "fast" closes connections, "immediate" is like a crash."""
        if self._process is not None:
            self._run("pg_ctl", "stop", "-w", "-m", how, "-D", str(self._folder / "data"))
            self._process.wait()
            self._process = None

    def _run(self, name: str, *arguments: str) -> None:
        command = [str(self._programs / name), *arguments]
        done = subprocess.run(command, user=self._user, capture_output=True, check=False, cwd="/")
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr.decode(errors='replace')}")


@contextlib.contextmanager
def postgresql_server(*, durable: bool = False, listen: str = "") -> Iterator[PostgresqlServer]:
    """A server in a temporary folder, which is removed afterwards. Raises like `PostgresqlServer`."""
    with tempfile.TemporaryDirectory(prefix="autoprec-postgresql-", dir="/tmp") as folder:
        # In /tmp, because the path of a socket may have only some hundred characters.
        server = PostgresqlServer(Path(folder), durable=durable, listen=listen)
        try:
            yield server
        finally:
            server.stop(how="immediate")


def _user() -> int | None:
    """The user that runs the server; None for the current one."""
    if os.getuid() != 0:
        return None
    # PostgreSQL refuses to run as root. `nobody` must be able to read its programs.
    names = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    return names.get("postgres", names["nobody"])
