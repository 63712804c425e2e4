"""Commands through `sudo`: what is sent, and what a real one makes of it."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pssh.clients.base.command_request import CommandRequest
from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import AuthenticationError
from tests.conftest import StartServer, missing
from tests.contract.conftest import Connect, ConnectAll
from tests.contract.outputs import lines, stderr, stdin, stdout
from tests.servers.account import Account
from tests.servers.openssh import OpenSSHServer

SUDOERS = Path("/etc/sudoers.d")

Allow = Callable[..., None]


@pytest.fixture
def allow(account: Account) -> Iterator[Allow]:
    """A function that lets the account use sudo: with a tag such as ``NOPASSWD:``, for commands."""
    if os.geteuid() != 0 or not account.temporary:
        pytest.skip("Only root can let an account use sudo.")
    if shutil.which("sudo") is None or not SUDOERS.is_dir():
        missing("sudo is not installed (Debian package sudo).")
    path = SUDOERS / account.name

    def write(tag: str, commands: str = "ALL", defaults: str = "") -> None:
        rule = f"{account.name} ALL=(ALL) {tag} {commands}"
        options = ", ".join(["timestamp_timeout=0", *([defaults] if defaults else [])])
        text = f"Defaults:{account.name} {options}\n{rule}\n"
        subprocess.run(["visudo", "-cq", "-f", "-"], input=text, text=True, check=True)
        path.touch(mode=0o440)
        path.write_text(text)

    try:
        yield write
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


@pytest.fixture
def password(account: Account) -> str:
    """The account's password."""
    assert account.password is not None
    return account.password


# What is sent


def sent(client: BaseSSHClient, command: str, **options: object) -> bytes:
    """The bytes of a command that is started and not waited for."""
    output = client.run_command(command, stdin=b"", **options)  # type: ignore[arg-type]
    assert output.fully_qualified_command is not None
    return output.fully_qualified_command


def test_the_forms_of_sudo(client: BaseSSHClient) -> None:
    assert sent(client, "id") == b"$SHELL -c 'id'"
    assert sent(client, "id", sudo=True) == b"sudo -S $SHELL -c 'id'"
    assert sent(client, "id", user="nobody") == b"sudo -S -u nobody $SHELL -c 'id'"
    assert sent(client, "id", sudo=True, user="nobody") == b"sudo -S -u nobody $SHELL -c 'id'"
    assert sent(client, "id", sudo=True, shell="bash -c") == b"sudo -S bash -c 'id'"
    assert sent(client, "echo 'x'", sudo=True) == b"""sudo -S $SHELL -c 'echo '"'"'x'"'"''"""


def test_a_user_name_is_quoted(client: BaseSSHClient) -> None:
    assert sent(client, "id", user="a b") == b"sudo -S -u 'a b' $SHELL -c 'id'"


def test_the_password_is_not_in_the_command(client: BaseSSHClient) -> None:
    password = secrets.token_hex(8)
    output = client.run_command("id", sudo_password=password)
    assert output.fully_qualified_command is not None
    assert output.fully_qualified_command.startswith(b"sudo -S -p ")
    assert output.fully_qualified_command.endswith(b" $SHELL -c 'id'")
    assert password.encode() not in output.fully_qualified_command
    assert password not in repr(output)


# A real sudo


@pytest.mark.parametrize("use_pty", [False, True])
def test_without_a_password(client: BaseSSHClient, allow: Allow, use_pty: bool) -> None:
    allow("NOPASSWD:")
    output = client.run_command("id -un; echo 'it''s'; exit 3", sudo=True, use_pty=use_pty)
    assert lines(output) == ["root", "its"]
    assert output.exit_code == 3


def test_as_another_user(client: BaseSSHClient, allow: Allow) -> None:
    allow("NOPASSWD:")
    assert lines(client.run_command("id -un", user="nobody")) == ["nobody"]
    assert lines(client.run_command("id -un; echo $0", user="nobody", shell="bash -c")) == [
        "nobody",
        "bash",
    ]


def test_on_every_host(connect_all: ConnectAll, allow: Allow, password: str) -> None:
    allow("")
    outputs = connect_all(2).run_command("id -un", sudo_password=password)
    assert [lines(output) for output in outputs] == [["root"]] * 2
    outputs = connect_all(2).run_command("id -un", user="nobody", sudo_password=password)
    assert [lines(output) for output in outputs] == [["nobody"]] * 2


@pytest.mark.parametrize("use_pty", [False, True])
def test_the_right_password(
    client: BaseSSHClient, allow: Allow, password: str, use_pty: bool
) -> None:
    allow("")
    output = client.run_command(
        "id -un; echo out; echo error >&2; exit 4", sudo_password=password, use_pty=use_pty
    )
    printed = lines(output)
    errors = list(stderr(output))
    assert printed == (["root", "out", "error"] if use_pty else ["root", "out"])
    assert errors == ([] if use_pty else ["error"])
    assert output.exit_code == 4
    assert output.exception is None


@pytest.mark.parametrize("use_pty", [False, True])
def test_a_wrong_password(client: BaseSSHClient, allow: Allow, use_pty: bool) -> None:
    allow("")
    output = client.run_command("echo not reached", sudo_password="wrong", use_pty=use_pty)
    client.wait_finished(output)
    assert isinstance(output.exception, AuthenticationError)
    assert "sudo_password" in str(output.exception)
    assert output.exception.host == client.host
    assert output.exit_code is None
    read: list[object] = []
    with pytest.raises(AuthenticationError):
        for line in stdout(output):
            read.append(line)
    assert "not reached" not in read
    assert lines(client.run_command("echo next")) == ["next"]


def test_not_allowed(client: BaseSSHClient, allow: Allow, password: str) -> None:
    allow("", "/bin/true")
    output = client.run_command("echo not reached", sudo_password=password, stdin="x")
    assert lines(output) == []
    assert "not allowed" in "".join(map(str, stderr(output)))
    assert output.exit_code == 1
    assert output.exception is None


def test_a_wrong_password_of_one_try(client: BaseSSHClient, allow: Allow) -> None:
    """Sudo does not ask again, and still it is not the command that failed."""
    allow("", defaults="passwd_tries=1")
    output = client.run_command("echo not reached", user="nobody", sudo_password="wrong", stdin="x")
    client.wait_finished(output)
    assert isinstance(output.exception, AuthenticationError)
    with pytest.raises(AuthenticationError, match="sudo_password"):
        lines(output)
    assert output.exit_code == 1


def test_a_user_whom_sudo_does_not_know(client: BaseSSHClient, allow: Allow, password: str) -> None:
    output = client.run_command("echo not reached", sudo_password=password)
    assert lines(output) == []
    assert "sudoers" in "".join(map(str, stderr(output)))
    assert output.exit_code == 1


def test_a_host_without_sudo(
    sshd_with: StartServer, connect: Connect, password: str, remote_folder: Path
) -> None:
    # A folder that is there, and that the account may look into: of one that somebody has made
    # for root alone a shell says that the permission is denied.
    client = connect(sshd_with({"SetEnv": f"PATH={remote_folder}"}))
    for options in ({"sudo": True}, {"sudo_password": password}):
        output = client.run_command("echo not reached", stdin="x", **options)
        assert lines(output) == []
        assert "sudo: not found" in "".join(map(str, stderr(output)))
        assert output.exit_code == 127
        assert output.exception is None


@pytest.mark.parametrize("use_pty", [False, True])
def test_the_password_is_nowhere_to_be_seen(
    client: BaseSSHClient,
    allow: Allow,
    password: str,
    use_pty: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither among the processes of the host, nor in what this side says or logs."""
    caplog.set_level(logging.DEBUG)
    allow("")
    output = client.run_command(
        "stty -echo; cat /proc/[0-9]*/cmdline | tr '\\0' ' '; tr '\\0' '\n' < /proc/self/environ",
        sudo_password=password,
        use_pty=use_pty,
    )
    seen = "\n".join(map(str, [*lines(output), *stderr(output)]))
    assert "sudo -S" in seen
    assert password not in seen
    said = [repr(output), str(output), repr(output.command), repr(client), caplog.text]
    assert password not in "".join(said)
    request = CommandRequest("id", sudo_password=password)
    assert password not in repr(request) + repr(request.sudo_dialogue())


def test_a_lecture_is_not_output(client: BaseSSHClient, allow: Allow, password: str) -> None:
    allow("", defaults="lecture=always")
    output = client.run_command("echo out; echo error >&2", sudo_password=password)
    assert lines(output) == ["out"]
    assert list(stderr(output)) == ["error"]


@pytest.mark.parametrize("use_pty", [False, True])
def test_a_password_that_is_not_asked_for(
    client: BaseSSHClient, allow: Allow, password: str, use_pty: bool
) -> None:
    allow("NOPASSWD:")
    output = client.run_command(
        "stty -echo 2>/dev/null; echo ready; head -n 1", sudo_password=password, use_pty=use_pty
    )
    assert next(stdout(output)) == "ready"
    stdin(output).write("from us\n")
    assert lines(output) == ["from us"]
    assert output.exit_code == 0
    assert list(stderr(output)) == []


@pytest.mark.parametrize("tag", ["", "NOPASSWD:"])
def test_stdin_begins_after_the_password(
    client: BaseSSHClient, allow: Allow, password: str, tag: str
) -> None:
    allow(tag)
    output = client.run_command("cat; echo end", sudo_password=password, stdin="one\ntwo\n")
    assert lines(output) == ["one", "two", "end"]
    assert list(stderr(output)) == []
    assert output.exit_code == 0


def test_stdin_with_a_terminal(client: BaseSSHClient, allow: Allow, password: str) -> None:
    allow("")
    output = client.run_command(
        "stty -echo; head -n 2; echo end", sudo_password=password, stdin="one\ntwo\n", use_pty=True
    )
    printed = lines(output)
    # The terminal echoes what comes before the command could switch that off.
    assert printed[-3:] == ["one", "two", "end"]
    assert password not in "\n".join(map(str, printed))


def test_the_command_may_print_what_it_likes(
    client: BaseSSHClient, allow: Allow, password: str
) -> None:
    allow("")
    command = "echo '[sudo] password for x: ' >&2; echo '[pssh-sudo-' >&2; printf '[pssh-' >&2"
    output = client.run_command(command, sudo_password=password)
    assert list(stderr(output)) == ["[sudo] password for x: ", "[pssh-sudo-", "[pssh-"]
    assert lines(output) == []
    assert output.exit_code == 0


def test_sudo_with_env_and_shell(
    connect: Connect, sshd: OpenSSHServer, allow: Allow, password: str
) -> None:
    allow("")
    output = connect(sshd).run_command(
        "id -un; echo $0", sudo_password=password, shell="bash -c", env={"PSSH_ONE": "1"}
    )
    assert lines(output) == ["root", "bash"]


def test_sudo_without_a_password_by_hand(
    client: BaseSSHClient, allow: Allow, password: str
) -> None:
    """As scripts for 2.x do: they write the password to the command's standard input."""
    allow("")
    output = client.run_command("id -un", sudo=True)
    stdin(output).write(f"{password}\n")
    stdin(output).flush()
    assert lines(output) == ["root"]
    assert output.exit_code == 0
