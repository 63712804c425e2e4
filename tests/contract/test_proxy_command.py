"""Hosts that are reached through a command."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from pssh.config import HostConfig
from pssh.exceptions import (
    ConnectionLostError,
    InvalidAPIUseError,
    ProxyConnectionLostError,
    ProxyError,
    SSHError,
    Timeout,
)
from tests.contract.conftest import Connect, ConnectAll, Library
from tests.contract.outputs import READS_NOTHING, eventually, lines, stdin, stdout
from tests.contract.test_wake_ups import ask_and_hear
from tests.servers.openssh import OpenSSHServer
from tests.servers.process_tree import child_processes

RELAY = """\
import os, socket, sys, threading

def carry(read, write, end):
    while data := read(65536):
        write(data)
    end()

host, port, user, sign, words = sys.argv[1:]
assert (user, sign, words) == (os.environ["WANTED_USER"], "100%", "two words"), sys.argv
sys.stderr.write("relaying\\n")
sys.stderr.flush()
out = open(1, "wb", buffering=0)
server = socket.create_connection((host, int(port)))
there = threading.Thread(
    target=carry,
    args=(lambda n: os.read(0, n), server.sendall, lambda: server.shutdown(socket.SHUT_WR)),
    daemon=True,
)
there.start()
carry(server.recv, lambda data: out.write(data), lambda: None)
"""


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def nothing_left(sshd: OpenSSHServer) -> Iterator[None]:
    """No process is left behind, not even a dead one that nobody has waited for."""
    before = set(child_processes(os.getpid()))
    yield
    eventually(lambda: set(child_processes(os.getpid())) <= before, "the processes to end")


@pytest.fixture
def relay(tmp_path: Path, sshd: OpenSSHServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A command that leads to a host."""
    script = tmp_path / "a relay.py"
    script.write_text(RELAY)
    monkeypatch.setenv("WANTED_USER", sshd.user)
    return f"{shlex.join([sys.executable, '-S', str(script)])} %h %p %r 100%% 'two words'"


def test_a_command_is_the_connection(connect: Connect, relay: str, tmp_path: Path) -> None:
    client = connect(proxy_command=relay, host_key_policy="strict")
    outputs = [client.run_command("cat") for _ in range(4)]
    several = [gevent.spawn(ask_and_hear, output, name) for name, output in enumerate(outputs)]
    assert sum(1 for _ in stdout(client.run_command("seq 200000"))) == 200_000
    gevent.joinall(several, raise_error=True)
    client.run_command(READS_NOTHING)
    client.close()


def test_a_command_of_openssh_s_configuration_runs_in_a_shell(
    connect: Connect, relay: str, sshd: OpenSSHServer, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    in_shell = relay.replace("%r", '"$WANTED_USER"')
    config.write_text(f"Host web1\n  HostName {sshd.host}\n  ProxyCommand {in_shell} 2>/dev/null\n")
    with connect(host="web1", ssh_config=config, host_key_policy="strict") as client:
        assert lines(client.run_command("echo x")) == ["x"]
    with pytest.raises(ProxyError, match="exit code 3"):
        config.write_text("ProxyCommand sh -c 'exit $((2 + 1))'\n")
        connect(host="web1", ssh_config=config)


def test_many_at_once_and_nothing_left(connect_all: ConnectAll, relay: str) -> None:
    client = connect_all(2, proxy_command=relay)
    client.run_command("true")
    client.close()
    eventually(lambda: not client._clients[0]._connection, "the end")  # type: ignore[union-attr]
    none = len(child_processes(os.getpid()))
    gevent.sleep(0)
    eventually(lambda: len(child_processes(os.getpid())) <= none, "the processes to end")
    before = descriptors()
    client = connect_all(6, proxy_command=relay)
    assert [lines(output) for output in client.run_command("echo x")] == [["x"]] * 6
    assert descriptors() > before
    client.close()
    eventually(lambda: descriptors() <= before, "the descriptors to be closed")


def test_one_for_each_host(connect_all: ConnectAll, relay: str, sshd: OpenSSHServer) -> None:
    config = [HostConfig(), HostConfig(proxy_command="none"), HostConfig(proxy_command="false")]
    client = connect_all(3, host_config=config, proxy_command=relay)
    outputs = client.run_command("echo x", stop_on_errors=False)
    assert [lines(output) for output in outputs[:2]] == [["x"]] * 2
    assert isinstance(outputs[2].exception, ProxyError)
    assert "the proxy command false ended with exit code 1, and said nothing" in str(
        outputs[2].exception
    )


@pytest.mark.parametrize(
    ("command", "kind", "reason"),
    [
        ("sh -c 'echo no route >&2; exit 3'", ProxyConnectionLostError, "exit code 3: no route"),
        ("sh -c 'kill -9 $$'", ProxyConnectionLostError, "was killed by signal 9"),
        ("sh -c 'exec >&-; echo gone >&2; exec sleep 60'", ProxyConnectionLostError, "9: gone"),
        ("/no/such/program %h", ProxyError, "could not be started: No such file"),
        ("/etc/passwd", ProxyError, "could not be started: Permission denied"),
        ("sleep 60", Timeout, "took longer than 0.5 seconds to handshake"),
        # It sends back what it is sent, and libssh2 crashes when a server does.
        ("cat", SSHError, "Could not agree on keys"),
    ],
)
def test_commands_that_lead_nowhere(
    connect: Connect, command: str, kind: type[Exception], reason: str
) -> None:
    with pytest.raises(kind) as error:
        connect(proxy_command=command, timeout=0.5 if kind is Timeout else 20)
    assert reason in str(error.value)


def test_one_that_ends_by_itself_is_tried_again(connect: Connect, tmp_path: Path) -> None:
    command = f"sh -c 'echo x >>{tmp_path}/runs; exit 1'"
    with pytest.raises(ProxyConnectionLostError):
        connect(proxy_command=command, num_retries=3, retry_delay=0)
    assert (tmp_path / "runs").read_text() == "x\n" * 3


def test_one_that_is_killed_in_the_middle(connect: Connect, relay: str) -> None:
    before = set(child_processes(os.getpid()))
    client = connect(proxy_command=relay)
    output = client.run_command("echo x; cat")
    assert next(stdout(output)) == "x"
    (started,) = set(child_processes(os.getpid())) - before
    os.kill(started, signal.SIGTERM)
    client.wait_finished(output)
    assert isinstance(output.exception, ProxyConnectionLostError)
    assert isinstance(output.exception, ConnectionLostError)
    assert "was killed by signal 15: relaying" in str(output.exception)
    assert output.exit_code is None
    output = client.run_command("cat")
    stdin(output).write("again\n")
    assert next(stdout(output)) == "again"


@pytest.mark.parametrize("command", ["nc %q", "nc 'x", "%", " "])
def test_what_is_no_command(library: Library, command: str) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: library.ParallelSSHClient(["h"], proxy_command=command),
        lambda: library.ParallelSSHClient(["h"], host_config=[HostConfig(proxy_command=command)]),
        lambda: library.SSHClient("h", proxy_command=command),
    ]
    for call in calls:
        with pytest.raises(InvalidAPIUseError, match="proxy_command"):
            call()


def test_a_name_that_is_an_option(library: Library) -> None:
    with pytest.raises(InvalidAPIUseError, match="-oProxyCommand=x"):
        library.SSHClient("-oProxyCommand=x", proxy_command="nc %h %p")
