"""Authentication with an SSH agent, real ones and ones that misbehave; the order of it all."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from pssh.config import HostConfig
from pssh.exceptions import AuthenticationError, Timeout
from tests.contract.access import access, wait_for_log
from tests.contract.conftest import Connect, ConnectAll, Library
from tests.contract.outputs import eventually, lines
from tests.contract.ssh_agents import (
    FakeAgent,
    HangingUpAgent,
    MuteAgent,
    NeverSigningAgent,
    NonsenseAgent,
    SSHAgent,
)
from tests.servers.keys import create_key, public_line
from tests.servers.openssh import OpenSSHServer

StartServer = Callable[..., OpenSSHServer]

ENDED = r"(?m)^(Connection (closed|reset) by|Received disconnect|Disconnect(ed|ing) )"

WRONG = "wrong-password-do-not-show"


@pytest.fixture
def agent(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SSHAgent]:
    """The user's agent, which holds no key yet."""
    with SSHAgent(short_folder) as made:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(made.path))
        yield made


@pytest.fixture
def fake_agent(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """A function that makes a fake the user's agent, and ends it after the test."""
    made: list[FakeAgent] = []

    def start(kind: type[FakeAgent], *args: Any) -> FakeAgent:
        made.append(kind(short_folder, *args))
        monkeypatch.setenv("SSH_AUTH_SOCK", str(made[-1].path))
        return made[-1]

    yield start
    for each in made:
        each.stop()


def refused(library: Library, server: OpenSSHServer, **settings: Any) -> AuthenticationError:
    """The error of a client that is not let in."""
    with pytest.raises(AuthenticationError) as caught:
        library.SSHClient(server.host, **access(server, **{"allow_agent": True, **settings}))
    return caught.value


def fingerprint(key: Path) -> str:
    """A key's fingerprint as the server logs it."""
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(key)], check=True, capture_output=True, text=True
    )
    return shown.stdout.split()[1]


def failed(server: OpenSSHServer) -> list[str]:
    """What the server has refused on a connection that has ended: fingerprints, other methods."""
    log = wait_for_log(server, ENDED)
    found = re.findall(r"(?m)^Failed ([a-z/-]+) for .* ssh2(?:: \S+ (\S+))?$", log)
    return [key or method for method, key in found]


# A real agent


@pytest.mark.parametrize("name", ["ed25519", "ecdsa", "rsa"])
def test_a_key_of_the_agent(
    connect: Connect, agent: SSHAgent, keys: dict[str, Path], name: str
) -> None:
    agent.add(keys[name])

    client = connect(pkey=None, allow_agent=True)

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_the_agent_is_used_by_default(
    library: Library, sshd: OpenSSHServer, agent: SSHAgent, keys: dict[str, Path]
) -> None:
    agent.add(keys["ed25519"])
    settings = access(sshd)
    del settings["allow_agent"]

    library.SSHClient(sshd.host, **settings).close()


def test_allow_agent_off(
    library: Library, verbose: OpenSSHServer, agent: SSHAgent, keys: dict[str, Path]
) -> None:
    agent.add(keys["ed25519"])

    refused(library, verbose, allow_agent=False)

    assert failed(verbose) == []


def test_allow_agent_of_one_host(
    connect_all: ConnectAll, agent: SSHAgent, keys: dict[str, Path]
) -> None:
    agent.add(keys["ed25519"])
    client = connect_all(
        2,
        pkey=None,
        allow_agent=True,
        host_config=[HostConfig(), HostConfig(allow_agent=False)],
    )

    outputs = client.run_command("echo hello", stop_on_errors=False)

    assert lines(outputs[0]) == ["hello"]
    assert isinstance(outputs[1].exception, AuthenticationError)


def test_rsa_keys_of_the_agent_sign_with_sha_2(
    connect: Connect, sshd_with: StartServer, agent: SSHAgent, keys: dict[str, Path]
) -> None:
    server = sshd_with({"PubkeyAcceptedAlgorithms": "rsa-sha2-512,rsa-sha2-256"})
    agent.add(keys["rsa"])

    client = connect(server, pkey=None, allow_agent=True)

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_the_agent_s_keys_get_their_turn(
    connect: Connect, verbose: OpenSSHServer, agent: SSHAgent, keys: dict[str, Path]
) -> None:
    agent.add(keys["unauthorized"], keys["unauthorized_rsa"], keys["ecdsa"])

    client = connect(verbose, pkey=None, allow_agent=True)

    assert lines(client.run_command("echo hello")) == ["hello"]
    log = wait_for_log(verbose, "Accepted publickey")
    assert f"ECDSA {fingerprint(keys['ecdsa'])}" in log
    assert log.count("Failed publickey") == 2


def test_two_keys_of_the_agent_for_one_login(
    connect: Connect, sshd_with: StartServer, agent: SSHAgent, keys: dict[str, Path]
) -> None:
    server = sshd_with({"AuthenticationMethods": "publickey,publickey"})
    agent.add(keys["ed25519"], keys["rsa"])

    client = connect(server, pkey=None, allow_agent=True)

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_a_key_of_the_agent_and_a_password(
    connect: Connect,
    library: Library,
    sshd_with: StartServer,
    agent: SSHAgent,
    keys: dict[str, Path],
) -> None:
    server = sshd_with({"AuthenticationMethods": "publickey,password"})
    agent.add(keys["unauthorized"], keys["ed25519"])

    if server.password is not None:
        client = connect(server, pkey=None, allow_agent=True, password=server.password)
        assert lines(client.run_command("echo hello")) == ["hello"]
    error = refused(library, server, password=WRONG)
    assert "offers password" in str(error)


def test_an_agent_without_keys(library: Library, verbose: OpenSSHServer, agent: SSHAgent) -> None:
    error = refused(library, verbose)

    assert failed(verbose) == []
    assert "offers publickey" in str(error)


def test_many_hosts_share_the_agent(
    connect_all: ConnectAll, agent: SSHAgent, keys: dict[str, Path]
) -> None:
    agent.add(keys["ed25519"])
    client = connect_all(40, pkey=None, allow_agent=True)

    outputs = client.run_command("echo hello")

    assert [lines(out) for out in outputs] == [["hello"]] * 40


def test_the_agent_s_keys_are_in_the_error(
    library: Library, verbose: OpenSSHServer, agent: SSHAgent, keys: dict[str, Path]
) -> None:
    agent.add(keys["unauthorized"], keys["unauthorized_rsa"])

    error = refused(library, verbose)

    assert "agent" in str(error)
    # Their comments, as ssh-add -l shows them.
    assert "id_unauthorized:" in str(error)
    assert "id_unauthorized_rsa:" in str(error)


# Agents and keys that are of no use


def test_a_key_that_the_agent_does_not_sign_with(
    connect: Connect,
    library: Library,
    sshd: OpenSSHServer,
    agent: SSHAgent,
    keys: dict[str, Path],
) -> None:
    agent.add(keys["ed25519"], confirm=True)

    error = refused(library, sshd)
    assert "agent" in str(error)
    # Other keys still have their turn.
    agent.add(keys["rsa"])
    client = connect(pkey=None, allow_agent=True)
    assert lines(client.run_command("echo hello")) == ["hello"]


def test_too_many_keys_for_the_server(
    connect: Connect,
    library: Library,
    sshd_with: StartServer,
    agent: SSHAgent,
    keys: dict[str, Path],
    tmp_path: Path,
) -> None:
    server = sshd_with({"MaxAuthTries": "3", "LogLevel": "VERBOSE"})
    agent.add(*(create_key(tmp_path / f"key{number}") for number in range(5)), keys["ed25519"])

    error = refused(library, server)

    assert isinstance(error, AuthenticationError)
    assert "MaxAuthTries" in str(error)
    assert "key0" in str(error)
    # As the documentation advises: the given key comes first.
    client = connect(server, pkey=str(keys["ed25519"]), allow_agent=True)
    assert lines(client.run_command("echo hello")) == ["hello"]


def test_no_agent_where_there_should_be_one(
    connect: Connect,
    library: Library,
    sshd: OpenSSHServer,
    keys: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    short_folder: Path,
    identities: Path,
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(short_folder / "gone"))

    error = refused(library, sshd)
    assert str(short_folder / "gone") in str(error)
    shutil.copy(keys["ed25519"], identities / "id_ed25519")
    client = connect(pkey=None, allow_agent=True, identity_auth=True)
    assert lines(client.run_command("echo hello")) == ["hello"]


@pytest.fixture
def identities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``~/.ssh`` of a home folder of the test's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".ssh"
    folder.mkdir(mode=0o700)
    return folder


@pytest.mark.parametrize("kind", [HangingUpAgent, NonsenseAgent])
def test_an_agent_that_is_of_no_use_does_not_end_it(
    connect: Connect,
    library: Library,
    sshd: OpenSSHServer,
    keys: dict[str, Path],
    fake_agent: Callable[..., FakeAgent],
    identities: Path,
    kind: type[FakeAgent],
) -> None:
    made = fake_agent(kind)

    error = refused(library, sshd)
    assert f"agent {made.path}" in str(error)
    shutil.copy(keys["ed25519"], identities / "id_ed25519")
    client = connect(pkey=None, allow_agent=True, identity_auth=True)
    assert lines(client.run_command("echo hello")) == ["hello"]


def test_an_agent_that_never_answers_has_a_time_out(
    library: Library, sshd: OpenSSHServer, fake_agent: Callable[..., FakeAgent]
) -> None:
    made = fake_agent(MuteAgent)

    with pytest.raises(Timeout) as caught:
        library.SSHClient(sshd.host, **access(sshd, allow_agent=True, timeout=0.3))

    assert caught.value.step == "authenticate"
    assert (caught.value.host, caught.value.port) == (sshd.host, sshd.port)
    assert made.accepted == 1


def test_an_agent_that_never_signs_has_a_time_out(
    connect: Connect,
    library: Library,
    sshd: OpenSSHServer,
    keys: dict[str, Path],
    fake_agent: Callable[..., FakeAgent],
) -> None:
    blob = base64.b64decode(public_line(keys["ed25519"]).split()[1])
    made = fake_agent(NeverSigningAgent, blob)

    with pytest.raises(Timeout) as caught:
        library.SSHClient(sshd.host, **access(sshd, allow_agent=True, timeout=0.3))

    assert caught.value.step == "authenticate"
    assert isinstance(made, NeverSigningAgent)
    assert made.asked_to_sign.is_set()
    assert lines(connect().run_command("echo hello")) == ["hello"]


@pytest.mark.parametrize("signs", [False, True], ids=["lists no keys", "never signs"])
def test_an_agent_that_never_answers_delays_nobody(
    connect_all: ConnectAll,
    keys: dict[str, Path],
    fake_agent: Callable[..., FakeAgent],
    signs: bool,
) -> None:
    """Twelve hosts wait for it, and as many that need no agent do not."""
    blob = base64.b64decode(public_line(keys["ed25519"]).split()[1])
    made = fake_agent(NeverSigningAgent, blob) if signs else fake_agent(MuteAgent)
    waiting, others = 12, 12
    config = [HostConfig() for _ in range(waiting)]
    config += [HostConfig(private_key=str(keys["rsa"])) for _ in range(others)]
    client = connect_all(len(config), pkey=None, allow_agent=True, timeout=None, host_config=config)

    greenlets = client.connect_auth()
    gevent.joinall(greenlets[waiting:], timeout=20, raise_error=True)

    assert all(greenlet.successful() for greenlet in greenlets[waiting:])
    eventually(lambda: made.accepted >= 1, "the first question to the agent")
    assert not any(greenlet.ready() for greenlet in greenlets[:waiting])
    started = time.monotonic()
    gevent.killall(greenlets)
    assert time.monotonic() - started < 5


def test_time_outs_of_many_hosts_that_wait_for_the_agent(
    connect_all: ConnectAll, fake_agent: Callable[..., FakeAgent]
) -> None:
    """More than the agent is asked for at the same time: their deadline holds all the same."""
    fake_agent(MuteAgent)
    # Long enough for twenty handshakes at the same time on a machine that is busy.
    client = connect_all(20, pkey=None, allow_agent=True, timeout=3)

    # Without a deadline it would not end: the agent never answers.
    for output in client.run_command("true", stop_on_errors=False):
        assert isinstance(output.exception, Timeout)
        assert output.exception.step == "authenticate"


# Order


def test_the_order(
    library: Library,
    verbose: OpenSSHServer,
    agent: SSHAgent,
    keys: dict[str, Path],
    identities: Path,
    tmp_path: Path,
) -> None:
    """Given key, agent, identity files, password."""
    given, identity = create_key(tmp_path / "given"), create_key(identities / "id_ed25519")
    agent.add(keys["unauthorized"], keys["unauthorized_rsa"])

    refused(library, verbose, pkey=str(given), identity_auth=True, password=WRONG)

    assert failed(verbose) == [
        fingerprint(given),
        fingerprint(keys["unauthorized"]),
        fingerprint(keys["unauthorized_rsa"]),
        fingerprint(identity),
        "password",
    ]


def test_the_first_that_is_accepted_ends_it(
    library: Library,
    verbose: OpenSSHServer,
    agent: SSHAgent,
    keys: dict[str, Path],
    identities: Path,
) -> None:
    agent.add(keys["rsa"])
    shutil.copy(keys["ecdsa"], identities / "id_ecdsa")

    settings = access(verbose, allow_agent=True, identity_auth=True, password=WRONG)
    library.SSHClient(verbose.host, **settings, pkey=str(keys["ed25519"])).close()
    library.SSHClient(verbose.host, **settings).close()
    settings["allow_agent"] = False
    library.SSHClient(verbose.host, **settings).close()

    log = wait_for_log(verbose, "Accepted publickey", count=3)
    accepted = re.findall(r"Accepted publickey for .* (SHA256:\S+)", log)
    assert accepted == [fingerprint(keys[name]) for name in ("ed25519", "rsa", "ecdsa")]
    assert "Failed" not in log


def test_nothing_is_tried_twice_on_one_connection(
    library: Library,
    verbose: OpenSSHServer,
    agent: SSHAgent,
    keys: dict[str, Path],
    identities: Path,
) -> None:
    """A key that is given, held by the agent, and an identity file: it is one key."""
    agent.add(keys["unauthorized"])
    shutil.copy(keys["unauthorized"], identities / "id_ed25519")

    refused(library, verbose, pkey=str(keys["unauthorized"]), identity_auth=True, password=WRONG)

    assert failed(verbose) == [fingerprint(keys["unauthorized"]), "password"]
