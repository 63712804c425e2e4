"""`SSHClient.run_command`: what is sent, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

import pssh.clients.native
from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import InvalidAPIUseError, SessionError, SSHError
from tests.contract.conftest import Connect
from tests.contract.outputs import lines, stderr, stdin, stdout
from tests.servers.asyncssh_server import AsyncSSHServer
from tests.servers.dropbear import DropbearServer
from tests.servers.openssh import OpenSSHServer
from tests.servers.server import Server


def test_every_server_runs_a_command(server: Server, connect: Connect) -> None:
    client = connect(server)
    output = client.run_command("echo 'out put'; echo error >&2; exit 3")
    assert lines(output) == ["out put"]
    assert list(stderr(output)) == ["error"]
    assert output.exit_code == 3
    assert output.exit_signal is None
    assert output.exception is None


def test_every_server_takes_input(server: Server, connect: Connect) -> None:
    output = connect(server).run_command("cat; echo end", stdin="one\ntwo\n")
    assert lines(output) == ["one", "two", "end"]
    assert output.exit_code == 0


def test_every_server_tells_the_signal(server: Server, connect: Connect) -> None:
    output = connect(server).run_command("echo out; kill -KILL $$", shell="exec sh -c")
    assert lines(output) == ["out"]
    assert output.exit_signal == "KILL"
    assert output.exit_code == -9
    assert output.exception is None


def test_every_server_gives_a_terminal(connect: Connect, server: Server) -> None:
    if isinstance(server, AsyncSSHServer):
        pytest.skip("The asyncssh server gives its commands pipes also with a terminal.")
    output = connect(server).run_command(
        "test -t 0 && test -t 1 && stty size && echo $TERM; echo error >&2",
        pty_size=(132, 43),
        term="xterm",
    )
    assert lines(output) == ["43 132", "xterm", "error"]
    assert list(stderr(output)) == []


def test_every_server_runs_several_commands_at_once(server: Server, connect: Connect) -> None:
    client = connect(server)
    outputs = [client.run_command("cat") for _ in range(5)]
    for number, output in enumerate(outputs):
        stdin(output).write(f"{number}\n")
        stdin(output).close()
    assert [lines(output) for output in outputs] == [[str(number)] for number in range(5)]
    assert [output.exit_code for output in outputs] == [0] * 5


def test_many_bytes_from_every_server(server: Server, connect: Connect) -> None:
    output = connect(server).run_command("seq 1 300000")
    assert lines(output) == [str(number) for number in range(1, 300001)]
    assert output.exit_code == 0


def test_output_says_where_it_comes_from(connect: Connect, sshd: OpenSSHServer) -> None:
    client = connect(alias="the alias")
    output = client.run_command("true")
    assert output.host == sshd.host
    assert output.alias == "the alias"
    assert output.client is client
    assert output.channel is not None
    assert output.encoding == "utf-8"
    assert output.read_timeout is None
    assert f"host={sshd.host}" in str(output)


def test_no_output(client: BaseSSHClient) -> None:
    output = client.run_command("true")
    assert lines(output) == []
    assert list(stderr(output)) == []
    assert output.exit_code == 0


@pytest.mark.parametrize("code", [0, 1, 127, 255])
def test_exit_code(client: BaseSSHClient, code: int) -> None:
    output = client.run_command(f"exit {code}")
    client.wait_finished(output)
    assert output.exit_code == code


def test_what_was_read_is_gone(client: BaseSSHClient) -> None:
    output = client.run_command("echo line")
    assert lines(output) == ["line"]
    assert lines(output) == []


def test_lines_one_at_a_time(client: BaseSSHClient) -> None:
    output = client.run_command("seq 1 4")
    assert next(stdout(output)) == "1"
    for line in stdout(output):
        assert line == "2"
        break
    assert lines(output) == ["3", "4"]
    with pytest.raises(StopIteration):
        next(stdout(output))


def test_lines_come_while_the_command_runs(client: BaseSSHClient) -> None:
    output = client.run_command("echo first; read answer; echo $answer")
    assert next(stdout(output)) == "first"
    assert output.exit_code is None
    stdin(output).write("second\n")
    assert lines(output) == ["second"]


# The command line


def test_command_runs_in_the_login_shell(client: BaseSSHClient) -> None:
    output = client.run_command("echo $0")
    assert output.fully_qualified_command == b"$SHELL -c 'echo $0'"
    assert lines(output) == ["/bin/sh"]


def test_shell(client: BaseSSHClient) -> None:
    output = client.run_command("echo $0 $-", shell="exec bash -u -c")
    assert output.fully_qualified_command == b"exec bash -u -c 'echo $0 $-'"
    (line,) = lines(output)
    assert isinstance(line, str)
    name, flags = line.split()
    assert name == "bash"
    assert "u" in flags


@pytest.mark.parametrize(
    "text",
    ["it's", "''", "'", '"', "$HOME", "a  b", "\\", "`id`", "é€😀", "!", "*", "a\nb", "#", "-n"],
)
def test_commands_are_quoted(client: BaseSSHClient, text: str) -> None:
    quoted = text.replace("'", "'\"'\"'")
    output = client.run_command(f"printf '%s\\n' '{quoted}'")
    assert "\n".join(str(line) for line in lines(output)) == text


def test_quote_in_the_bytes_that_were_sent(client: BaseSSHClient) -> None:
    output = client.run_command("echo 'x'")
    assert output.fully_qualified_command == b"""$SHELL -c 'echo '"'"'x'"'"''"""
    assert lines(output) == ["x"]


def test_a_long_command(client: BaseSSHClient) -> None:
    text = "x" * 30_000
    assert lines(client.run_command(f"echo {text}")) == [text]


def test_a_command_that_is_too_long_for_a_packet(client: BaseSSHClient) -> None:
    with pytest.raises(SSHError, match="long") as caught:
        client.run_command(f"echo {'x' * 300_000}")
    assert caught.value.host == client.host
    assert lines(client.run_command("echo next")) == ["next"]


def test_a_nul_is_refused_before_anything_starts(client: BaseSSHClient) -> None:
    with pytest.raises(InvalidAPIUseError, match="NUL"):
        client.run_command("echo \0")


# Terminal


def test_no_terminal_by_default(client: BaseSSHClient) -> None:
    output = client.run_command("test -t 0 || test -t 1 || test -t 2 || echo none")
    assert lines(output) == ["none"]


def test_use_pty(client: BaseSSHClient) -> None:
    output = client.run_command(
        "test -t 0 && test -t 1 && test -t 2 && stty size; echo $TERM; echo error >&2",
        use_pty=True,
    )
    assert lines(output) == ["24 80", "vt100", "error"]
    assert list(stderr(output)) == []


@pytest.mark.parametrize("option", [{"term": "dumb"}, {"pty_size": (100, 50)}])
def test_terminal_settings_imply_a_terminal(
    client: BaseSSHClient, option: dict[str, object]
) -> None:
    output = client.run_command("stty size; echo $TERM", **option)  # type: ignore[arg-type]
    size = "50 100" if "pty_size" in option else "24 80"
    assert lines(output) == [size, str(option.get("term", "vt100"))]


# Environment


def test_env(client: BaseSSHClient) -> None:
    env = {"PSSH_ONE": "with 'quotes' and ü", "PSSH_TWO": ""}
    output = client.run_command('echo "$PSSH_ONE"; echo "[${PSSH_TWO-unset}]"', env=env)
    assert lines(output) == ["with 'quotes' and ü", "[]"]


def test_env_of_one_command_is_not_the_next_ones(client: BaseSSHClient) -> None:
    assert lines(client.run_command("echo $PSSH_ONE", env={"PSSH_ONE": "1"})) == ["1"]
    assert lines(client.run_command("echo ${PSSH_ONE-unset}")) == ["unset"]


def test_env_of_the_asyncssh_server(connect: Connect, asyncssh_server: AsyncSSHServer) -> None:
    output = connect(asyncssh_server).run_command("echo $ANY_NAME", env={"ANY_NAME": "value"})
    assert lines(output) == ["value"]


def test_refused_env(client: BaseSSHClient) -> None:
    with pytest.raises(SessionError, match="OTHER") as caught:
        client.run_command("echo started", env={"PSSH_ONE": "1", "OTHER": "1"})
    assert caught.value.host == client.host
    assert lines(client.run_command("echo next")) == ["next"]


def test_what_can_be_no_variable_starts_nothing(client: BaseSSHClient) -> None:
    secret = "se\0cret"
    for env in ({"": "1"}, {"PSSH_A=B": "1"}, {"PSSH_\0A": "1"}, {"PSSH_A": secret}):
        with pytest.raises(ValueError, match="environment variable") as caught:
            client.run_command("true", env=env)
        assert "cret" not in str(caught.value)
    for value in (None, b"1"):
        with pytest.raises(ValueError, match="PSSH_A"):
            client.run_command("true", env={"PSSH_A": value})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="environment variable"):
        client.open_shell(env={"PSSH_A": secret})


def test_a_variable_that_is_too_long_harms_nobody_else(client: BaseSSHClient) -> None:
    output = client.run_command("cat", env={"PSSH_ONE": "1" * 30_000})
    long = {"PSSH_ONE": "1" * 50_000}
    if isinstance(client, pssh.clients.native.SSHClient):
        # libssh2 cannot put so much into a packet.
        with pytest.raises(SessionError, match="PSSH_ONE") as caught:
            client.run_command("true", env=long)
        assert caught.value.host == client.host
    else:
        assert lines(client.run_command("printf %s $PSSH_ONE | wc -c", env=long)) == ["50000"]
    stdin(output).write("still there\n")
    stdin(output).close()
    assert lines(output) == ["still there"]


@pytest.mark.parametrize(
    "options",
    [
        {"command": None}, {"command": b"true"}, {"term": 5}, {"term": "xterm\0"},
        {"pty_size": ("80", "24")}, {"pty_size": (80.5, 24)}, {"sudo_password": "secret\n"},
        {"sudo_password": "sec\0ret"},
    ],
)  # fmt: skip
def test_options_that_make_no_sense(client: BaseSSHClient, options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        client.run_command(**{"command": "true", **options})
    assert "sec" not in str(caught.value)


def test_refused_env_of_dropbear(connect: Connect, dropbear: DropbearServer) -> None:
    with pytest.raises(SessionError, match="PSSH_ONE"):
        connect(dropbear).run_command("true", env={"PSSH_ONE": "1"})
