"""Agent forwarding: programs on a host that use the agent of the user, or of this program."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from pssh.agent import SSHAgent as OwnAgent
from pssh.clients import native
from pssh.clients.native import agent_channels
from pssh.config import HostConfig
from pssh.exceptions import ConnectionLostError, InvalidAPIUseError
from tests.contract.access import said_by_the_library
from tests.contract.conftest import Connect, ConnectAll, Library, SettingsFor
from tests.contract.outputs import eventually, lines
from tests.contract.programs import RunProgram
from tests.contract.ssh_agents import HangingUpAgent, MuteAgent, SSHAgent
from tests.contract.test_agent import fingerprint
from tests.servers.asyncssh_server import AsyncSSHServer
from tests.servers.keys import PASSPHRASE
from tests.servers.openssh import OpenSSHServer
from tests.servers.server import Server

#: Lists the agent's keys, as the remote side sees them, by their fingerprints.
LIST = "ssh-add -l | while read bits fingerprint rest; do echo $fingerprint; done"


@pytest.fixture
def agent(
    short_folder: Path, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[SSHAgent]:
    """The user's agent, with a key that the servers let in and one that they do not."""
    with SSHAgent(short_folder) as made:
        made.add(keys["unauthorized"], keys["ed25519"])
        monkeypatch.setenv("SSH_AUTH_SOCK", str(made.path))
        yield made


def second_hop(server: Server, *options: str) -> str:
    """A command that logs in to a server from the remote side, with nothing but an agent."""
    given = (
        *("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"),
        *("IdentityFile=none", "PasswordAuthentication=no", "BatchMode=yes", *options),
    )
    words = " ".join(f"-o {option}" for option in given)
    return f"ssh -F none {words} -p {server.port} {server.user}@{server.host} echo second hop"


@pytest.mark.parametrize("server", ["sshd", "dropbear"], indirect=True)
def test_the_remote_side_lists_the_agent_s_keys(
    connect: Connect, server: Server, agent: SSHAgent, keys: dict[str, Path]
) -> None:
    """Again and again on one connection, and at the same time where the server can do that."""
    client = connect(server, forward_ssh_agent=True)
    expected = [fingerprint(keys["unauthorized"]), fingerprint(keys["ed25519"])]

    for _ in range(3):
        assert lines(client.run_command(LIST)) == expected
    if isinstance(server, OpenSSHServer):
        # Dropbear closes a session when it opens a channel to the agent for another one.
        outputs = [client.run_command(LIST) for _ in range(8)]
        assert [lines(output) for output in outputs] == [expected] * 8


def test_a_second_hop(
    connect: Connect, sshd_with: Callable[..., OpenSSHServer], agent: SSHAgent
) -> None:
    inner = sshd_with()
    client = connect(forward_ssh_agent=True)

    assert lines(client.run_command(second_hop(inner))) == ["second hop"]
    shell = client.open_shell()
    shell.run(second_hop(inner))
    shell.close()
    assert lines(shell.output) == ["second hop"]
    without = connect().run_command(f"{second_hop(inner)}; echo ${{SSH_AUTH_SOCK:-no agent}}")
    assert lines(without) == ["no agent"]


@pytest.mark.parametrize(
    "name", ["ed25519", "ecdsa", "rsa", "rsa_encrypted", "ecdsa_pem_encrypted", "rsa_pkcs8"]
)
def test_an_agent_of_the_program_s_own(
    connect: Connect,
    sshd_with: Callable[..., OpenSSHServer],
    keys: dict[str, Path],
    name: str,
) -> None:
    inner = sshd_with({"PubkeyAcceptedAlgorithms": "+ssh-rsa"})
    own = OwnAgent()
    own.add_key(keys["unauthorized"])
    own.add_key(keys["ed25519_encrypted"], "a wrong passphrase")
    own.add_key(keys[name], PASSPHRASE)
    client = connect(pkey=str(keys["ecdsa"]), agent=own, forward_ssh_agent=True)

    listed = lines(client.run_command(LIST))
    assert listed == [fingerprint(keys["unauthorized"]), fingerprint(keys[name])]
    signatures = ["rsa-sha2-256", "rsa-sha2-512", "ssh-rsa"] if "rsa" in name else [""]
    for algorithm in signatures:
        options = [f"PubkeyAcceptedAlgorithms={algorithm}"] if algorithm else []
        assert lines(client.run_command(second_hop(inner, *options))) == ["second hop"]
    # What it cannot do, it says.
    assert lines(client.run_command("ssh-add -q -D 2>/dev/null; echo $?")) == ["1"]


def test_hosts_have_agents_of_their_own(
    connect_all: ConnectAll, agent: SSHAgent, keys: dict[str, Path], short_folder: Path
) -> None:
    """Those that ask for one; and the path of another one's socket."""
    own = OwnAgent()
    own.add_key(keys["rsa"])
    other = short_folder / "other"
    other.mkdir()
    with SSHAgent(other) as second:
        second.add(keys["ecdsa"])
        client = connect_all(
            4,
            host_config=[
                HostConfig(forward_ssh_agent=True),
                HostConfig(forward_ssh_agent=True, agent=own),
                HostConfig(forward_ssh_agent=second.path),
                HostConfig(agent=own),
            ],
        )
        outputs = client.run_command(f"{LIST}; echo ${{SSH_AUTH_SOCK:-no agent}} | grep ^no")
        seen = [lines(output) for output in outputs]
    mine = [fingerprint(keys["unauthorized"]), fingerprint(keys["ed25519"])]
    assert seen == [mine, [fingerprint(keys["rsa"])], [fingerprint(keys["ecdsa"])], ["no agent"]]


def test_without_an_agent(
    connect: Connect, connect_all: ConnectAll, sshd: OpenSSHServer, tmp_path: Path
) -> None:
    with pytest.raises(InvalidAPIUseError, match=r"none for host 127\.0\.0\.1: SSH_AUTH_SOCK"):
        connect(forward_ssh_agent=True)
    output = connect_all(1, forward_ssh_agent=True).run_command("true", stop_on_errors=False)[0]
    assert isinstance(output.exception, InvalidAPIUseError)
    assert output.exception.host == sshd.host
    # OpenSSH's configuration asks for it where there is one.
    config = tmp_path / "config"
    config.write_text("ForwardAgent yes\n")
    assert lines(connect(ssh_config=config).run_command("echo hello")) == ["hello"]


def test_openssh_s_configuration_asks_for_it(
    connect: Connect, agent: SSHAgent, keys: dict[str, Path], tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("ForwardAgent yes\n")
    client = connect(ssh_config=config)
    assert lines(client.run_command(LIST))[1] == fingerprint(keys["ed25519"])


def test_a_server_that_does_not_allow_it(
    connect: Connect, sshd_with: Callable[..., OpenSSHServer], agent: SSHAgent
) -> None:
    server = sshd_with({"AllowAgentForwarding": "no"})
    said: list[None] = []
    with said_by_the_library("AllowAgentForwarding", lambda: said.append(None)):
        client = connect(server, forward_ssh_agent=True)
        for _ in range(2):
            output = client.run_command("echo ${SSH_AUTH_SOCK:-no agent}")
            assert lines(output) == ["no agent"]
    # libssh does not ask for an answer.
    assert len(said) <= 1


@pytest.mark.parametrize("kind", [MuteAgent, HangingUpAgent, None])
def test_an_agent_that_does_not_answer_holds_nothing_up(
    connect: Connect,
    short_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[MuteAgent] | type[HangingUpAgent] | None,
) -> None:
    path = short_folder / "agent"
    fake = kind(short_folder) if kind is not None else None
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    client = connect(forward_ssh_agent=True)
    listing = client.run_command("ssh-add -l >/dev/null 2>&1; echo status $?")
    assert lines(client.run_command("echo hello")) == ["hello"]
    if kind is not MuteAgent:
        # Of the signal PIPE, where the end of the channel came before the question.
        assert lines(listing) in (["status 1"], ["status 141"])
    client.close()
    if fake is not None:
        fake.stop()


def test_nothing_is_left_behind(connect: Connect, agent: SSHAgent, keys: dict[str, Path]) -> None:
    """After many channels there are as many descriptors and greenlets as before."""
    client = connect(forward_ssh_agent=True)
    connection = client.connect()

    def use() -> None:
        last = lines(client.run_command(f"for i in 1 2 3 4 5; do {LIST}; done"))[-1]
        assert last == fingerprint(keys["ed25519"])
        # The server says that a program has ended before it says so of its agent's channel.
        eventually(lambda: connection.pumps is None or connection.pumps.idle, "the channels to end")

    def counts() -> tuple[int, int]:
        gc.collect()
        greenlets = sum(isinstance(each, gevent.Greenlet) for each in gc.get_objects())
        return len(os.listdir("/proc/self/fd")), greenlets

    use()
    before = counts()
    for _ in range(4):
        use()
    after = counts()
    assert after[0] <= before[0]
    assert after[1] <= before[1]


def test_the_interpreter_ends_with_channels_open(
    run_program: RunProgram, agent: SSHAgent, keys: dict[str, Path]
) -> None:
    """In the middle of it all, and with an agent's channel that nobody has closed."""
    run_program(
        """
        gc.unfreeze()
        client = library.SSHClient(host, forward_ssh_agent=True, **settings)
        list(client.run_command("ssh-add -l").stdout)
        output = client.run_command("exec 3<>/dev/null; ssh-add -l; sleep 1000 & ssh-add -l; cat")
        next(output.stdout)
        """
    )


def test_a_build_of_the_native_client_s_binding_that_is_not_known(
    sshd: OpenSSHServer,
    settings_for: SettingsFor,
    agent: SSHAgent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agent_channels, "_make_channel", None)
    with pytest.raises(InvalidAPIUseError, match=r"build of ssh2-python.*pssh\.clients\.ssh"):
        native.SSHClient(sshd.host, **settings_for(sshd, forward_ssh_agent=True))


def test_a_server_that_opens_a_channel_unasked_gets_no_agent(
    library: Library,
    connect: Connect,
    asyncssh_server: AsyncSSHServer,
    agent: SSHAgent,
    short_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = connect(asyncssh_server, forward_ssh_agent=True)
    assert lines(asked.run_command("__ask_agent__")) == ["2"]
    other = short_folder / "other"
    other.mkdir()
    with HangingUpAgent(other) as never_asked:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(never_asked.path))
        output = connect(asyncssh_server, allow_agent=True).run_command("__ask_agent__")
        if library.name == "ssh":
            assert lines(output) == ["refused"]
        else:
            # libssh2 has no word for it but the end of the connection.
            with pytest.raises(ConnectionLostError):
                lines(output)
        assert never_asked.accepted == 0
