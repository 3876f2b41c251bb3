"""What keeps an agent from starting is told in one line with the way out, and is not waited for in vain."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoprec.backends.target.address import parse_address
from autoprec.backends.target.faults import CutError, UnreachableError, unreached
from autoprec.backends.target.package import bootstrap
from autoprec.errors import BackendError
from loopback_ssh import Server

from .test_target import local, remote
from .test_trtexec import trtexec


def script(folder: Path, text: str) -> str:
    """A Python of that text, as an address."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return f"local:{path}"


def without_numpy(folder: Path) -> str:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "bare")], check=True)
    return f"local:{folder}/bare/bin/python"


def old_python(folder: Path) -> str:
    begin = "import sys; sys.version_info = (3, 6, 15); exec(sys.argv[1])"
    return script(folder, f"exec {sys.executable} -I -c '{begin}' \"$3\"")


def refused(folder: Path, target: str, there: str = "there") -> str:
    """Why it does not start, though it would be waited for."""
    backend, said = local(folder / there, target=target), list[str]()
    with pytest.raises(BackendError) as told:
        backend.wait(30, said.append)
    assert not said
    assert "\n" not in str(told.value)
    return str(told.value)


def test_a_python_without_numpy_is_told(tmp_path: Path) -> None:
    assert "-m pip install numpy` brings it" in refused(tmp_path, without_numpy(tmp_path))


def test_a_python_that_is_too_old_is_told(tmp_path: Path) -> None:
    assert "is Python 3.6); name a Python 3.8 or later" in refused(tmp_path, old_python(tmp_path))


def test_a_folder_that_is_not_to_be_had_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "Not a directory; name a writable folder in target.folder" in refused(
        tmp_path, "local:", "file/there"
    )


def test_an_account_without_a_shell_is_told_in_its_words(tmp_path: Path) -> None:
    words = refused(tmp_path, script(tmp_path, "echo This account is not available.; exit 1"))
    assert "(This account is not available.)" in words


def test_under_trtexec_it_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for words, options in {
        "not a directory; name a writable folder in target.folder": {
            "target_folder": f"{tmp_path}/file/there"
        },
        "nothing: not found; name its trtexec in target.trtexec": {"target_trtexec": f"{tmp_path}/nothing"},
        "it does not answer as trtexec does; name its trtexec": {"target_trtexec": "/bin/echo"},
    }.items():
        with pytest.raises(BackendError, match=f"(?i){words}"):
            trtexec(tmp_path / "a", "8601", **options).fingerprint()


def test_what_is_built_from_stays_while_another_cleans(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    used, left = (tmp_path / "there" / f"model-{number}.onnx" for number in (os.getpid(), 1 << 30))
    used.touch()
    left.touch()
    local(tmp_path / "there").clean()
    assert (used.exists(), left.exists()) == (True, False)


def test_what_a_login_script_prints_is_not_heard(tmp_path: Path) -> None:
    noise = script(tmp_path, f"echo welcome; printf 'no end of line'; exec {sys.executable} \"$@\"")
    assert local(tmp_path / "there", target=noise).fingerprint().version


def test_no_login_shell_changes_the_command() -> None:
    address = parse_address({"target": "ssh://host"})
    command = address.command(address.python, "-I", "-c", bootstrap("~/it's my \n!folder", 1))[-1]
    assert not set("\n!\\$`") & set(command)
    assert command.count("'") == 2


def test_an_agent_of_another_version_is_left_alone_while_it_may_run(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    other = tmp_path / "there" / "agent-0123456789abcdef.pyz"
    other.touch()
    assert local(tmp_path / "there").fingerprint().version
    assert other.exists()


def test_an_agent_that_was_changed_there_comes_anew(tmp_path: Path) -> None:
    local(tmp_path / "there").fingerprint()
    [agent] = (tmp_path / "there").glob("agent-*.pyz")
    whole = agent.read_bytes()
    agent.write_bytes(whole[:-100])
    assert local(tmp_path / "there").fingerprint().version
    assert agent.read_bytes() == whole


def test_a_host_key_that_changed_is_told_and_not_waited_for(ssh_server: Server, tmp_path: Path) -> None:
    hosts_file, said = ssh_server.known_hosts.read_text(), list[str]()
    ssh_server.known_hosts.write_text(" ".join([hosts_file.split()[0], *_another_key(tmp_path)]))
    try:
        with pytest.raises(BackendError, match=r"key has changed; .* `ssh-keygen -R '\[127"):
            remote(ssh_server, tmp_path / "there").wait(30, said.append)
    finally:
        ssh_server.known_hosts.write_text(hosts_file)
    assert not said


def _another_key(folder: Path) -> list[str]:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "other")]
    subprocess.run(words, check=True, timeout=20)
    return (folder / "other.pub").read_text().split()[:2]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Connection to 127.0.0.1 closed by remote host.", CutError),
        ("Connection closed by 127.0.0.1 port 22", CutError),
        ("kex_exchange_identification: read: Connection reset by peer", CutError),
        ("ssh: connect to host h port 22: Connection refused", UnreachableError),
        ("Connection timed out during banner exchange", UnreachableError),
        ("root@h: Permission denied (publickey).", UnreachableError),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", BackendError),
        ("No ED25519 host key is known for h\nHost key verification failed.", BackendError),
    ],
)
def test_what_ssh_says_decides_what_is_tried_again(words: str, kind: type[BackendError]) -> None:
    assert type(unreached(parse_address({"target": "ssh://h"}), words)) is kind


@pytest.mark.parametrize(
    ("typed", "host"),
    [("me@Orin", "Orin"), ("Orin:22", "Orin"), ("[::1]:22", "::1"), ("me@[fe80::A]", "fe80::a")],
)
def test_a_host_is_named_as_it_was_typed(typed: str, host: str) -> None:
    assert parse_address({"target": f"ssh://{typed}"}).command("true")[-2].rpartition("@")[2] == host
