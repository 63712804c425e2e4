"""Exit codes, signals, and ends that are none: none of them may look like success."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import ConnectionLostError, SessionError, Timeout
from tests.contract.conftest import Connect
from tests.contract.outputs import (
    WAITS,
    answer,
    eventually,
    lines,
    stderr,
    stdin,
    stdout,
)
from tests.servers.asyncssh_server import AsyncSSHServer
from tests.servers.server import Server

StartAsyncSSH = Callable[..., AsyncSSHServer]


@pytest.fixture
def verbatim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send commands as they are, without a shell: the asyncssh server has special ones."""

    def unchanged(command: str, **_options: object) -> bytes:
        return command.encode()

    monkeypatch.setattr("pssh.clients.base.command_request.fully_qualified_command", unchanged)


# Signals


@pytest.mark.parametrize("name", ["KILL", "TERM", "HUP", "USR1", "SEGV"])
def test_killed_by_a_signal(client: BaseSSHClient, name: str) -> None:
    output = client.run_command(f"echo x; kill -{name} $$", shell="exec sh -c")
    assert lines(output) == ["x"]
    assert output.exit_signal == name
    assert output.exit_code == -signal.Signals[f"SIG{name}"]
    assert output.exception is None


def test_exit_signal_is_unset_otherwise(client: BaseSSHClient) -> None:
    output = client.run_command(f"{WAITS}; exit 137")
    assert output.exit_signal is None
    stdin(output).close()
    client.wait_finished(output)
    assert output.exit_signal is None
    assert output.exit_code == 137


@pytest.mark.usefixtures("verbatim")
@pytest.mark.parametrize(("name", "code"), [("TERM", -15), ("QUIT", -3)])
def test_reported_signal(
    connect: Connect, asyncssh_server: AsyncSSHServer, name: str, code: int
) -> None:
    output = connect(asyncssh_server).run_command(f"__exit_signal__ {name}")
    assert lines(output) == ["some output"]
    assert (output.exit_signal, output.exit_code) == (name, code)
    assert output.exception is None


@pytest.mark.usefixtures("verbatim")
def test_a_signal_that_is_none_of_ours(connect: Connect, asyncssh_server: AsyncSSHServer) -> None:
    output = connect(asyncssh_server).run_command("__exit_signal__ odd@example.com")
    assert lines(output) == ["some output"]
    assert output.exit_signal == "odd@example.com"
    assert output.exit_code not in (None, 0)


@pytest.mark.parametrize("name", ["TERM", "SIGTERM"])
def test_send_signal(client: BaseSSHClient, name: str) -> None:
    output = client.run_command(f"echo runs; exec {WAITS}", shell="exec sh -c")
    assert next(stdout(output)) == "runs"
    output.send_signal(name)
    client.wait_finished(output)
    assert (output.exit_signal, output.exit_code) == ("TERM", -15)


def test_send_signal_that_is_handled(client: BaseSSHClient) -> None:
    output = client.run_command(
        "trap 'echo caught; exit 3' USR1; echo runs; while :; do sleep 0.02; done",
        shell="exec sh -c",
    )
    assert next(stdout(output)) == "runs"
    output.send_signal("USR1")
    assert lines(output) == ["caught"]
    assert output.exit_code == 3


def test_send_signal_to_the_asyncssh_server(
    connect: Connect, asyncssh_server: AsyncSSHServer
) -> None:
    output = connect(asyncssh_server).run_command(f"echo runs; exec {WAITS}", shell="exec sh -c")
    assert next(stdout(output)) == "runs"
    output.send_signal("KILL")
    assert lines(output) == []
    assert (output.exit_signal, output.exit_code) == ("KILL", -9)


def test_send_signal_to_what_has_finished(client: BaseSSHClient) -> None:
    output = client.run_command("exit 1")
    client.wait_finished(output)
    output.send_signal("TERM")
    output.terminate()
    assert output.exit_code == 1
    assert output.exit_signal is None


def test_terminate(client: BaseSSHClient) -> None:
    output = client.run_command(f"echo runs; exec {WAITS}", shell="exec sh -c")
    assert next(stdout(output)) == "runs"
    output.terminate(timeout=25)
    client.wait_finished(output)
    assert (output.exit_signal, output.exit_code) == ("TERM", -15)


def test_terminate_what_ignores_it(client: BaseSSHClient) -> None:
    output = client.run_command(f"trap '' TERM; echo runs; {WAITS}; echo not reached", use_pty=True)
    assert next(stdout(output)) == "runs"
    output.terminate(timeout=0.1)
    client.wait_finished(output)
    assert "not reached" not in lines(output)
    assert output.exit_code != 0
    assert lines(client.run_command("echo next")) == ["next"]


# Ends that are none


@pytest.mark.usefixtures("verbatim")
@pytest.mark.parametrize("status", [256, 0x7FFFFFFF, 0xC0000005, 0xFFFFFFDB, 0xFFFFFFFF])
def test_large_exit_statuses(
    connect: Connect, asyncssh_server: AsyncSSHServer, status: int
) -> None:
    """As servers on Windows have them. Some are errors of libssh2's as signed numbers."""
    client = connect(asyncssh_server)
    output = client.run_command(f"__exit_status__ {status}")
    assert lines(output) == ["some output"]
    assert output.exit_code == status
    assert output.exit_signal is None
    assert output.exception is None
    assert lines(client.run_command("echo next")) == ["next"]


@pytest.mark.usefixtures("verbatim")
def test_a_loss_between_exit_status_and_end(
    connect: Connect, asyncssh_server: AsyncSSHServer
) -> None:
    """There may have been more output."""
    output = connect(asyncssh_server).run_command("__exit_status_and_reset__ 0")
    with pytest.raises(ConnectionLostError):
        lines(output)
    assert isinstance(output.exception, ConnectionLostError)
    assert output.exit_code is None


@pytest.mark.usefixtures("verbatim")
def test_no_exit_status(connect: Connect, asyncssh_server: AsyncSSHServer) -> None:
    client = connect(asyncssh_server)
    output = client.run_command("__no_exit_status__")
    reader = stdout(output)
    assert next(reader) == "some output"
    with pytest.raises(SessionError, match="without saying how"):
        next(reader)
    assert output.exit_code is None
    assert output.exit_signal is None
    assert isinstance(output.exception, SessionError)
    assert output.exception.host == client.host
    assert not isinstance(output.exception, ConnectionLostError)
    assert lines(client.run_command("echo next")) == ["next"]


def test_closed_streams_of_a_running_command(server: Server, connect: Connect) -> None:
    if isinstance(server, AsyncSSHServer):
        pytest.skip("The asyncssh server sends no end of file before the command has ended.")
    client = connect(server)
    output = client.run_command("echo x; exec >&- 2>&-; read answer; exit 3", shell="exec sh -c")
    assert next(stdout(output)) == "x"
    output.read_timeout = 0.1
    with pytest.raises(Timeout):
        next(stdout(output))
    assert output.exit_code is None
    with pytest.raises(Timeout):
        client.wait_finished(output, timeout=0.05)
    output.read_timeout = None
    answer(output)
    assert lines(output) == []
    assert output.exit_code == 3


def test_a_daemon_that_holds_stdout(client: BaseSSHClient, remote_folder: Path) -> None:
    fifo = remote_folder / "fifo"
    lines(client.run_command(f"mkfifo {fifo}"))
    output = client.run_command(f"(read x <{fifo}; echo late) & echo early; exit 4")
    assert next(stdout(output)) == "early"
    output.read_timeout = 0.1
    with pytest.raises(Timeout):
        next(stdout(output))
    with pytest.raises(Timeout):
        client.wait_finished(output, timeout=0.05)
    assert output.exit_code is None
    output.read_timeout = None
    lines(client.run_command(f"echo go on >{fifo}"))
    assert lines(output) == ["late"]
    assert output.exit_code == 4


def test_only_stderr_is_closed(client: BaseSSHClient) -> None:
    output = client.run_command("echo e >&2; exec 2>&-; read answer; echo x; exit 3")
    answer(output)
    assert list(stderr(output)) == ["e"]
    assert lines(output) == ["x"]
    assert output.exit_code == 3


# Steps that take for ever


def test_a_channel_that_never_opens(connect: Connect, asyncssh_with: StartAsyncSSH) -> None:
    client = connect(asyncssh_with(hang=("open",)))
    with pytest.raises(Timeout, match=r"took longer than 0\.2 seconds to open a channel") as caught:
        client.run_command("true", timeout=0.2)
    assert caught.value.step == "open a channel"
    assert (caught.value.host, caught.value.port) == (client.host, client.port)
    with pytest.raises(Timeout, match=r"0\.2 seconds to open a channel"):
        client.open_shell(timeout=0.2)


def test_the_clients_timeout_holds_for_channels(
    connect: Connect, asyncssh_with: StartAsyncSSH
) -> None:
    client = connect(asyncssh_with(hang=("open",)), timeout=1)
    with pytest.raises(Timeout, match="open a channel"):
        client.run_command("true")


def test_a_command_that_never_starts(connect: Connect, asyncssh_with: StartAsyncSSH) -> None:
    client = connect(asyncssh_with(hang=("exec",)))
    with pytest.raises(Timeout, match="start the command") as caught:
        client.run_command("true", timeout=0.2)
    assert caught.value.step == "start the command"
    client.close()


def test_nothing_of_a_timed_out_command_is_left(client: BaseSSHClient) -> None:
    for _ in range(3):
        output = client.run_command(WAITS, timeout=20)
        with pytest.raises(Timeout):
            client.wait_finished(output, timeout=0.01)
        stdin(output).close()
        eventually(lambda output=output: output.exit_code == 0, "its end")  # type: ignore[misc]
