"""Keys that are exchanged again while a command runs (RFC 4253 section 9)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.contract.access import access
from tests.contract.conftest import Connect
from tests.contract.outputs import lines
from tests.servers.asyncssh_server import AsyncSSHServer
from tests.servers.openssh import OpenSSHServer

SIZE = 8_000_000
LINE = b"x" * 99 + b"\n"


@pytest.fixture
def rekeying(sshd_with: StartServer) -> OpenSSHServer:
    """A server that wants new keys after each MiB, a dozen times in a test."""
    return sshd_with({"RekeyLimit": "1M"})


def test_while_output_is_read(
    connect: Connect, rekeying: OpenSSHServer, keys: dict[str, Path]
) -> None:
    client = connect(rekeying, **access(rekeying, pkey=str(keys["ed25519"])))

    output = client.run_command(f"head -c {SIZE} /dev/zero | tr '\\0' x | fold -w 100")

    assert sum(len(line) for line in lines(output)) == SIZE
    assert output.exit_code == 0


def test_while_input_is_written(
    connect: Connect, rekeying: OpenSSHServer, keys: dict[str, Path]
) -> None:
    client = connect(rekeying, **access(rekeying, pkey=str(keys["ed25519"])))

    output = client.run_command("wc -c", stdin=b"x" * SIZE)

    assert lines(output) == [str(SIZE)]
    assert output.exit_code == 0


def test_while_both_go_on(connect: Connect, rekeying: OpenSSHServer, keys: dict[str, Path]) -> None:
    client = connect(rekeying, **access(rekeying, pkey=str(keys["ed25519"])))

    output = client.run_command("cat", stdin=LINE * (SIZE // 100))

    assert sum(len(line) + 1 for line in lines(output)) == SIZE
    assert output.exit_code == 0


def test_with_a_server_that_names_what_is_no_method(
    connect: Connect, asyncssh_with: Callable[..., AsyncSSHServer], keys: dict[str, Path]
) -> None:
    """What clients say of themselves among their methods (RFC 8308 section 2.1)."""
    server = asyncssh_with(kex_names=("ext-info-c", "kex-strict-c-v00@openssh.com"))
    client = connect(server, **access(server, pkey=str(keys["ed25519"])))

    output = client.run_command(f"head -c {SIZE} /dev/zero | tr '\\0' x | fold -w 100")

    assert sum(len(line) for line in lines(output)) == SIZE
    assert output.exit_code == 0
