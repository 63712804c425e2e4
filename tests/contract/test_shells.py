"""Interactive shells: one after the other command in one login shell, on one host and on many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gevent
import pytest

from pssh.clients.base.single import BaseSSHClient, InteractiveShell
from pssh.exceptions import (
    ConnectionLostError,
    InvalidAPIUseError,
    SessionError,
    ShellError,
    Timeout,
    UnknownHostError,
)
from pssh.output import HostOutput
from tests.contract.conftest import Connect, ConnectAll
from tests.contract.outputs import WAITS, eventually
from tests.servers.cut_proxy import CutProxy
from tests.servers.server import Server


def out(shell: InteractiveShell) -> list[object]:
    """What is left of a shell's standard output."""
    assert shell.stdout is not None
    return list(shell.stdout)


def read_until(shell: InteractiveShell, line: str) -> list[object]:
    """Read a shell's output to a line."""
    assert shell.stdout is not None
    read: list[object] = []
    while line not in read:
        read.append(next(shell.stdout))
    return read


def give(shell: InteractiveShell, text: str) -> None:
    """Write to a shell's standard input."""
    assert shell.stdin is not None
    shell.stdin.write(text)


def silence(shell: InteractiveShell) -> None:
    """Have a shell on a terminal neither prompt nor echo, and read what it has said so far."""
    shell.run("stty -echo; PS1=; PS2=; echo be''gin")
    assert shell.stdout is not None
    # A prompt may stand before it.
    while not str(next(shell.stdout)).endswith("begin"):
        pass


# One host


def test_commands_share_a_shell(server: Server, connect: Connect) -> None:
    with connect(server).open_shell() as shell:
        shell.run("cd /; name=kept")
        shell.run("pwd\necho $name é")
        shell.run("echo error >&2; (exit 5)")
        assert shell.exit_code is None
    assert out(shell) == ["/", "kept é"]
    assert shell.stderr is not None
    assert list(shell.stderr) == ["error"]
    assert shell.exit_code == 5
    assert shell.closed
    assert shell.exception is None


def test_what_a_shell_is(connect: Connect) -> None:
    client = connect(alias="web")
    shell = client.open_shell(read_timeout=25)
    assert isinstance(shell.output, HostOutput)
    assert (shell.host, shell.alias, shell.client) == (client.host, "web", client)
    assert shell.channel is shell.output.channel
    assert (shell.stdout, shell.stdin) == (shell.output.stdout, shell.output.stdin)
    assert shell.output.read_timeout == 25
    assert not shell.closed
    assert not shell.finished
    assert client.host in repr(shell)
    shell.close()
    shell.close()
    assert shell.finished
    assert (shell.exit_code, shell.exit_signal) == (0, None)
    assert out(shell) == []


def test_output_comes_while_it_runs(client: BaseSSHClient) -> None:
    shell = client.open_shell(read_timeout=0.05)
    shell.run("echo one")
    shell.output.read_timeout = 25
    assert read_until(shell, "one") == ["one"]
    shell.output.read_timeout = 0.05
    with pytest.raises(Timeout):
        out(shell)
    shell.output.read_timeout = 25
    shell.run("echo two; read answer; echo $answer; cat")
    assert read_until(shell, "two") == ["two"]
    give(shell, "yes\n")
    assert read_until(shell, "yes") == ["yes"]
    give(shell, "by hand\n")
    assert read_until(shell, "by hand") == ["by hand"]
    shell.close()
    assert out(shell) == []


def test_bytes_and_other_encodings(client: BaseSSHClient) -> None:
    with client.open_shell(encoding=None) as shell:
        shell.run(b"printf '\xff\\n'")
        shell.run("echo é")
    assert out(shell) == [b"\xff", "é".encode()]
    with client.open_shell(encoding="latin-1") as shell:
        shell.run("printf é | wc -c; echo é")
    assert out(shell) == ["1", "é"]
    with client.open_shell(encoding="utf-16", env={"PSSH_ONE": "é"}) as shell:
        shell.run("printf $PSSH_ONE | iconv -f utf-8 -t utf-16")
    assert out(shell) == ["é"]
    with client.open_shell(encoding_errors="replace") as shell:
        shell.run(b"echo \xff")
    assert out(shell) == ["\ufffd"]


def test_what_cannot_work_opens_nothing(client: BaseSSHClient, connect_all: ConnectAll) -> None:
    many = connect_all(2)
    options: tuple[dict[str, Any], ...]
    options = ({"encoding": "no such codec"}, {"term": "a\0"}, {"env": {"": "1"}}, {"unknown": 1})
    for wrong in options:
        with pytest.raises((LookupError, ValueError, TypeError)):
            many.open_shell(stop_on_errors=False, **wrong)
    # That is known before any host is asked.
    assert many._clients == [None, None]
    with pytest.raises(LookupError):
        client.open_shell(encoding="no such codec")
    with pytest.raises(ValueError, match="terminal"):
        client.open_shell(pty_size=(0, 24))
    with pytest.raises(SessionError, match="REFUSED"):
        client.open_shell(env={"REFUSED": "1"})


def test_a_closed_shell_runs_nothing(client: BaseSSHClient) -> None:
    shell = client.open_shell()
    shell.close()
    with pytest.raises(ShellError, match="has been closed") as caught:
        shell.run("echo x")
    assert (caught.value.host, caught.value.port) == (client.host, client.port)


@pytest.mark.parametrize(
    ("command", "said"), [("exit 4", "exit code 4"), ("kill -KILL $$", "signal KILL")]
)
def test_a_shell_that_ended_says_so(client: BaseSSHClient, command: str, said: str) -> None:
    shell = client.open_shell()
    shell.run(command)
    eventually(lambda: shell.finished, "the end of the shell")
    with pytest.raises(ShellError, match=said):
        shell.run("echo x")
    shell.close()
    assert shell.exit_code == (4 if shell.exit_signal is None else -9)


def test_a_shell_that_ends_while_it_is_written_to(client: BaseSSHClient) -> None:
    shell = client.open_shell()
    shell.run("exec head -c 1000000 > /dev/null")
    with pytest.raises(ShellError, match="exit code 0"):
        shell.run("#" * 64 * 1024 * 1024)


def test_the_standard_input_can_be_closed_by_hand(client: BaseSSHClient) -> None:
    shell = client.open_shell()
    shell.run("sleep 0.2; echo x")
    assert shell.stdin is not None
    shell.stdin.close()
    with pytest.raises(ShellError, match="standard input has been closed"):
        shell.run("echo y")
    shell.close()
    assert out(shell) == ["x"]


def test_a_shell_whose_connection_is_lost(connect: Connect, proxy: CutProxy) -> None:
    client = connect(port=proxy.port, host_key_policy="ignore")
    with client.open_shell() as shell:
        shell.run(f"echo one; {WAITS}")
        read_until(shell, "one")
        proxy.cut()
        assert shell.stdout is not None
        with pytest.raises(ConnectionLostError):
            next(shell.stdout)
        with pytest.raises(ShellError, match="lost") as caught:
            shell.run("echo two")
        assert isinstance(caught.value.__cause__, ConnectionLostError)
    assert isinstance(shell.exception, ConnectionLostError)
    assert shell.exit_code is None
    # The client connects again.
    with client.open_shell() as shell:
        shell.run("echo three")
    assert out(shell) == ["three"]


def test_closing_takes_too_long(client: BaseSSHClient) -> None:
    shell = client.open_shell()
    shell.run("trap 'echo hung up; exit 3' HUP; echo ready; while :; do sleep 0.05; done")
    read_until(shell, "ready")
    with pytest.raises(Timeout, match=r"0\.05") as caught:
        shell.close(timeout=0.05)
    assert caught.value.host == client.host
    with pytest.raises(ShellError, match="closed"):
        shell.run("echo x")
    shell.terminate(timeout=25)
    shell.close()
    assert out(shell) == ["hung up"]
    assert shell.exit_code == 3


def test_closing_waits_for_a_command_that_is_being_sent(
    client: BaseSSHClient, remote_folder: Path
) -> None:
    shell = client.open_shell()
    go_on = remote_folder / "go on"
    shell.run(f"until [ -e '{go_on}' ]; do sleep 0.05; done; cat > /dev/null; echo end")
    # More than the server takes before it is read.
    sending = gevent.spawn(shell.run, "#" * 8 * 1024 * 1024)
    gevent.sleep(0)
    with pytest.raises(Timeout):
        shell.close(timeout=0.01)
    go_on.touch()
    shell.close()
    sending.get()
    assert out(shell) == ["end"]


def test_an_error_in_the_block_ends_the_shell(client: BaseSSHClient) -> None:
    with pytest.raises(KeyError, match="mine"), client.open_shell() as shell:
        shell.run("echo ready; exec cat < /dev/zero > /dev/null")
        read_until(shell, "ready")
        raise KeyError("mine")
    eventually(lambda: shell.finished, "the end of the shell")


def test_what_a_shell_prints_may_be_more_than_memory(connect: Connect) -> None:
    client = connect(buffer_size=64 * 1024)
    with client.open_shell() as shell:
        shell.run("seq 1 200000")
    assert out(shell) == [str(number) for number in range(1, 200_001)]


# Terminals


def test_a_shell_on_a_terminal(connect: Connect, sshd: Server) -> None:
    client = connect(sshd)
    with client.open_shell(pty_size=(90, 33), term="xterm") as shell:
        silence(shell)
        shell.run("stty size; echo $TERM; tty > /dev/null && echo error >&2")
        assert read_until(shell, "error") == ["33 90", "xterm", "error"]
        shell.resize(132, 50)
        shell.run("stty size; (exit 7)")
        assert read_until(shell, "50 132") == ["50 132"]
    assert shell.exit_code == 7


def test_closing_ends_what_reads_the_terminal(client: BaseSSHClient, remote_folder: Path) -> None:
    with client.open_shell(use_pty=True) as shell:
        silence(shell)
        shell.run(f"echo ready; cat > {remote_folder}/typed; echo $? end")
        read_until(shell, "ready")
        give(shell, "a line\nhalf a line")
    assert "0 end" in out(shell)
    assert (remote_folder / "typed").read_text() == "a line\nhalf a line"


def test_resizing(client: BaseSSHClient) -> None:
    command = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done"
    output = client.run_command(command, use_pty=True)
    assert output.stdout is not None
    assert next(output.stdout) == "ready"
    for size in ((0, 24), (80, 65536)):
        with pytest.raises(ValueError, match="terminal"):
            output.resize(*size)
    output.resize(columns=100, rows=40)
    assert list(output.stdout) == ["40 100"]
    output.resize(columns=80, rows=24)
    without = client.run_command("true")
    with pytest.raises(InvalidAPIUseError, match="use_pty"):
        without.resize(80, 24)
    with pytest.raises(InvalidAPIUseError, match="use_pty"):
        client.open_shell().resize(80, 24)
    with pytest.raises(SessionError, match="No command"):
        HostOutput("host").resize(80, 24)


# Many hosts


def test_many_shells(connect_all: ConnectAll) -> None:
    client = connect_all(3)
    shells = client.open_shell(read_timeout=0.01)
    with pytest.raises(Timeout):
        out(shells[1])
    client.run_shell_commands(shells, "name=kept")
    client.run_shell_commands(shells, ["echo $name", "echo two", "(exit 2)"])
    client.run_shell_commands(shells[0], "(exit 3)")
    client.join_shells(shells)
    assert [out(shell) for shell in shells] == [["kept", "two"]] * 3
    assert [shell.exit_code for shell in shells] == [3, 2, 2]
    result = client.last_result
    assert result is not None
    assert [host.exit_code for host in result.failed] == [3, 2, 2]
    with pytest.raises(ShellError, match="closed"):
        client.run_shell_commands(shells, "echo x")
    client.join_shells(shells)
    with pytest.raises(ValueError, match="shells"):
        client.join_shells(["wrong"])  # type: ignore[list-item]


def test_joining_takes_too_long(connect_all: ConnectAll, remote_folder: Path) -> None:
    client = connect_all(2)
    shells = client.open_shell()
    client.run_shell_commands(shells, "echo ready")
    go_on = remote_folder / "go on"
    shells[1].run(f"until [ -e '{go_on}' ]; do sleep 0.05; done; echo end")
    client.join_shells(shells[0])
    with pytest.raises(Timeout) as caught:
        client.join_shells(shells, timeout=0.05)
    assert (caught.value.args[2], caught.value.args[3]) == ([shells[0]], [shells[1]])
    assert (caught.value.finished, caught.value.unfinished) == ([shells[0]], [shells[1]])
    assert "1 shells" in str(caught.value)
    go_on.touch()
    client.join_shells(shells)
    assert [out(shell) for shell in shells] == [["ready"], ["ready", "end"]]


def test_a_host_without_a_shell(connect_all: ConnectAll) -> None:
    client = connect_all(["127.0.0.1", "no-such-host.invalid"])
    with pytest.raises(UnknownHostError):
        client.open_shell()
    opened = client._client_of(0).connection
    assert opened is not None
    eventually(lambda: not opened.commands, "the end of the other host's shell")
    shells = client.open_shell(stop_on_errors=False)
    assert [shell.host for shell in shells] == ["127.0.0.1", "no-such-host.invalid"]
    assert isinstance(shells[1].exception, UnknownHostError)
    assert shells[1].closed
    assert shells[1].stdout is None
    with pytest.raises(ShellError, match="no-such-host") as caught:
        client.run_shell_commands(shells, "echo x")
    assert caught.value.host == "no-such-host.invalid"
    client.join_shells(shells)
    assert out(shells[0]) == ["x"]


def test_one_of_many_dies(connect_all: ConnectAll) -> None:
    client = connect_all(3)
    shells = client.open_shell()
    shells[1].run("exit 9")
    eventually(lambda: shells[1].finished, "the end of the shell")
    with pytest.raises(ShellError, match="exit code 9"):
        client.run_shell_commands(shells, "echo x")
    client.join_shells(shells)
    assert [out(shell) for shell in shells] == [["x"], [], ["x"]]
    assert [shell.exit_code for shell in shells] == [0, 9, 0]
