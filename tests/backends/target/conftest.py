"""A target of the tests' own, over ssh."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loopback_ssh import IS_HERE, Server, serving


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not IS_HERE:
        pytest.skip("needs openssh-server: apt-get install openssh-server")
    with serving(tmp_path_factory.mktemp("ssh")) as server:
        yield server
