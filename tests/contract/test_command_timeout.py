"""`command_timeout`: a command that runs too long is ended, and says so."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pssh.clients.base.limit import limit
from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import InvalidAPIUseError, Timeout
from pssh.output import HostOutput
from tests.contract.conftest import Connect, ConnectAll
from tests.contract.outputs import eventually, lines, stdout
from tests.servers.server import Server

#: Ignores every signal but KILL.
STUBBORN = "trap '' TERM HUP; echo $$; while :; do sleep 0.05; done"


def started(
    client: BaseSSHClient, command: str, kill_after: float, **options: Any
) -> tuple[HostOutput, str]:
    """Run a command, and let it be too long as soon as it has printed a line.

    The server starts the command itself, as it does with ``command_timeout``.
    """
    output = client.run_command(command, shell="exec sh -c", **options)
    line = str(next(stdout(output)))
    assert output.command is not None
    limit(output.command, 0.01, kill_after)
    return output, line


def is_running(pid: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def check(output: HostOutput, *said: str) -> None:
    """Check that an output says that its command ran too long."""
    error = output.exception
    assert isinstance(error, Timeout)
    assert (error.host, error.step) == (output.host, "run the command")
    for words in said:
        assert words in str(error)
    with pytest.raises(Timeout):
        lines(output)


def test_it_is_ended_by_a_signal(server: Server, connect: Connect) -> None:
    client = connect(server)
    output = client.run_command("exec sleep 3600", command_timeout=0.3, kill_after=25)
    assert output.fully_qualified_command == b"exec $SHELL -c 'exec sleep 3600'"
    client.wait_finished(output)
    check(output, "0.3 seconds", "TERM")
    assert (output.exit_code, output.exit_signal) == (-15, "TERM")
    assert lines(client.run_command("echo next")) == ["next"]


def test_it_may_end_by_itself_when_it_is_asked_to(client: BaseSSHClient) -> None:
    command = "trap 'echo bye; exit 7' TERM; echo begun; while :; do sleep 0.05; done"
    output, _ = started(client, command, kill_after=25)
    assert next(stdout(output)) == "bye"
    client.wait_finished(output)
    check(output)
    assert (output.exit_code, output.exit_signal) == (7, None)


def test_it_is_killed_when_it_does_not_listen(client: BaseSSHClient) -> None:
    output, pid = started(client, STUBBORN, kill_after=2)
    client.wait_finished(output)
    check(output, "was sent signal KILL")
    assert output.exit_signal == "KILL"
    eventually(lambda: not is_running(int(pid)), "the end of the process")


def test_a_server_that_passes_no_signal_on(
    client: BaseSSHClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal the command is hung up on when its channel is closed."""
    channel = type(client.open_session())
    sent: list[str] = []
    monkeypatch.setattr(channel, "request_signal", lambda _, name: sent.append(name))
    output, pid = started(client, "echo $$; exec sleep 3600", kill_after=1, use_pty=True)
    client.wait_finished(output)
    assert sent == ["TERM", "KILL"]
    check(output, "its channel was closed", "may still run")
    # OpenSSH even tells how it ended.
    assert output.exit_signal == "HUP"
    eventually(lambda: not is_running(int(pid)), "the end of the process")


def test_a_server_that_hangs(client: BaseSSHClient) -> None:
    output = client.run_command("ps -o ppid= -p $$; exec sleep 3600", shell="exec sh -c")
    server = int(next(stdout(output)))
    os.kill(server, signal.SIGSTOP)
    try:
        assert output.command is not None
        limit(output.command, 0.01, 0.1)
        client.wait_finished(output)
        check(output, "may still run")
        assert output.exit_code is None
    finally:
        os.kill(server, signal.SIGCONT)
    assert lines(client.run_command("echo next")) == ["next"]


def test_in_time(connect_all: ConnectAll) -> None:
    client = connect_all(2)
    outputs = client.run_command(
        "%s", host_args=["echo done", "exec sleep 3600"], command_timeout=2, kill_after=25
    )
    assert list(client.as_completed()) == outputs
    check(outputs[1])
    assert lines(outputs[0]) == ["done"]
    assert (outputs[0].exit_code, outputs[0].exception) == (0, None)


def test_what_cannot_work(client: BaseSSHClient) -> None:
    with pytest.raises(InvalidAPIUseError, match="command_timeout"):
        client.run_command("true", kill_after=1)
    for seconds in (0, -1):
        with pytest.raises(ValueError, match="command_timeout"):
            client.run_command("true", command_timeout=seconds)
    with pytest.raises(ValueError, match="kill_after"):
        client.run_command("true", command_timeout=1, kill_after=0)
