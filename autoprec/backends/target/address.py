"""Where a target is, and the command that starts Python there."""

from __future__ import annotations

import os
import re
import shlex
import sys
from typing import Any
from urllib.parse import SplitResult, urlsplit

from autoprec.errors import SpecError
from autoprec.records import Record

_NAME = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*")  # never an option of ssh's
_SSH = (
    "ssh", "-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=20",
    "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4",
)  # fmt: skip
"""Keys, agents, jump hosts and known hosts are ssh's own business. It never asks for a password, and an
unknown host key is an error: accept it once by hand."""


TARGET = "AUTOPREC_TARGET"
"""A worker's own target, where a study has several."""


def several(text: str) -> tuple[str, ...]:
    """The addresses of targets of one kind, which commas separate."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


class Address(Record, frozen=True, kw_only=True):
    """A target: `host` is empty for this machine."""

    text: str
    host: str = ""
    user: str = ""
    port: int | None = None
    python: str = "python3"
    folder: str = "~/.cache/autoprec-agent"
    ssh_config: str = ""
    trtexec: str = ""

    @property
    def name(self) -> str:
        """What messages call it, without the colon that `local:` ends in."""
        return self.text.removesuffix(":")

    @property
    def by_hand(self) -> str:
        """What a user types to reach it."""
        config = ["-F", self.ssh_config] if self.ssh_config else []
        port = [] if self.port is None else ["-p", str(self.port)]
        return shlex.join(["ssh", *config, *port, f"{self.user}@{self.host}" if self.user else self.host])

    @property
    def key_name(self) -> str:
        """Its name in ssh's list of known hosts."""
        return self.host if self.port in (None, 22) else f"[{self.host}]:{self.port}"

    def command(self, *words: str) -> list[str]:
        """The words that run a command on the target."""
        if not self.host:
            return list(words)
        port = [] if self.port is None else ["-p", str(self.port)]
        where = f"{self.user}@{self.host}" if self.user else self.host
        config = ["-F", self.ssh_config] if self.ssh_config else []
        # ssh joins its words by spaces for the login shell there, which
        # splits them anew: so they are quoted here.
        return [*_SSH, *config, *port, "--", where, shlex.join(words)]


def parse_address(options: dict[str, Any]) -> Address:
    """The target of a backend's options, the first of several.

    `target` is `local:`, `local:/path/to/python` or `ssh://user@host:port`; `target_python` serves there, and
    keeps things in `target_folder`; `target_ssh_config` is a configuration for ssh besides the user's own.
    With `target_trtexec`, its path there, no Python is needed.

    Raises `SpecError` for anything else.
    """
    keys = ("target", "target_python", "target_folder", "target_ssh_config", "target_trtexec")
    text, python, folder, config, trtexec = (options.get(key, "") for key in keys)
    if not all(isinstance(word, str) for word in (text, python, folder, config, trtexec)):
        raise SpecError(
            "target.address, target.python, target.folder, target.ssh_config and target.trtexec must be "
            "strings"
        )
    text = os.environ.get(TARGET) or next(iter(several(text)), "")
    folder = folder or "~/.cache/autoprec-agent"
    if text.startswith("local:"):
        return Address(
            text=text,
            python=python or text.removeprefix("local:") or sys.executable,
            folder=folder,
            trtexec=trtexec,
        )
    try:
        parts = urlsplit(text)
        host, user, port = _host(parts), parts.username or "", parts.port
    except ValueError as error:
        raise SpecError(f"target.address is {text!r}: {error}") from error
    plain = parts.scheme == "ssh" and not (parts.path.strip("/") or parts.query or parts.password)
    if not plain or not _NAME.fullmatch(host) or (user and not _NAME.fullmatch(user)):
        raise SpecError(f"target.address is {text!r}; give ssh://user@host:port (no password), or local:")
    return Address(
        text=text,
        host=host,
        user=user,
        port=port,
        python=python or "python3",
        folder=folder,
        ssh_config=config,
        trtexec=trtexec,
    )


def _host(parts: SplitResult) -> str:
    """The host as it was typed: ssh's configuration distinguishes `Orin` from `orin`."""
    lower, typed = parts.hostname or "", parts.netloc.rpartition("@")[2]
    return typed[: len(lower)] if typed[: len(lower)].lower() == lower else lower
