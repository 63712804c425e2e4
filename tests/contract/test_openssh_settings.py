"""Settings that OpenSSH's client has too: where to connect, with which keys, for how long."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pssh.agent import SSHAgent as OwnAgent
from pssh.clients.base import keepalive
from pssh.exceptions import (
    AuthenticationError,
    ConnectError,
    InvalidAPIUseError,
    NoIPv6AddressFoundError,
    SessionError,
    Timeout,
    UnknownHostError,
    UnknownHostKeyError,
)
from tests.contract.access import access, said_by_the_library, wait_for_log
from tests.contract.conftest import Connect, Library
from tests.contract.outputs import lines
from tests.contract.ssh_agents import SSHAgent
from tests.contract.test_agent import fingerprint
from tests.contract.test_keepalive import FakeConnection
from tests.servers.account import Account
from tests.servers.certificates import CertificateAuthority
from tests.servers.fakes import Silent
from tests.servers.keys import PASSPHRASE, public_path
from tests.servers.openssh import OpenSSHServer


@pytest.fixture
def agent(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SSHAgent]:
    """The user's agent, which holds no key yet."""
    with SSHAgent(short_folder) as made:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(made.path))
        yield made


# Where to connect


def test_hostname_and_host_key_alias(connect: Connect, sshd: OpenSSHServer, tmp_path: Path) -> None:
    """The key is on record for the real name and the port, or for the alias alone."""
    named = {"host": "web1.invalid", "hostname": sshd.host, "host_key_policy": "strict"}
    client = connect(**named)
    assert client.host == client.run_command("true").host == "web1.invalid"

    with pytest.raises(UnknownHostKeyError, match=r"web1\.invalid") as caught:
        connect(**named, host_key_alias="fleet")
    assert caught.value.host == "web1.invalid"

    known_hosts = tmp_path / "known_hosts"
    connect(host=sshd.host, host_key_alias="fleet", known_hosts=known_hosts)
    assert {line.split()[0] for line in known_hosts.read_text().splitlines()} == {"fleet"}
    connect(**named, host_key_alias="fleet", known_hosts=known_hosts)


def test_address_family(library: Library, sshd: OpenSSHServer, connect: Connect) -> None:
    with pytest.raises(NoIPv6AddressFoundError, match="address_family"):
        library.SSHClient(sshd.host, port=sshd.port, address_family="inet6")
    with pytest.raises(UnknownHostError, match=r"no IPv4 address.*address_family"):
        library.SSHClient("::1", port=sshd.port, address_family="inet", num_retries=1)
    connect(address_family="inet")


def test_bind_address(connect: Connect) -> None:
    client = connect(bind_address="127.0.0.2")
    assert lines(client.run_command("echo ${SSH_CONNECTION%% *}")) == ["127.0.0.2"]
    # Of no interface of this machine (RFC 5737), and of another family.
    for address in ("192.0.2.1", "::1"):
        with pytest.raises(ConnectError, match=f"bind_address {address}"):
            connect(bind_address=address)


def test_connect_timeout_ends_before_authentication(library: Library, connect: Connect) -> None:
    with Silent() as server, pytest.raises(Timeout, match=r"0\.2 seconds to handshake"):
        library.SSHClient(
            server.host, port=server.port, connect_timeout=0.2, timeout=60, num_retries=1
        )
    client = connect(connect_timeout=20, timeout=None)
    assert lines(client.run_command("echo hello")) == ["hello"]


def test_keepalive_count_max(connect: Connect) -> None:
    connection = FakeConnection()
    tick = keepalive.KeepAlive(connection, 1000, 1)._tick  # type: ignore[arg-type]
    tick()
    assert connection.failure is None
    tick()
    assert connection.failure is not None

    client = connect(keepalive_count_max=7)
    assert client._connection is not None
    assert client._connection.keepalive is not None
    assert client._connection.keepalive._count_max == 7


# With which keys


def test_identity_files(connect: Connect, keys: dict[str, Path]) -> None:
    files = [str(keys["unauthorized"]), keys["ecdsa"]]
    client = connect(pkey=None, identity_auth=True, identity_files=files)
    assert lines(client.run_command("echo hello")) == ["hello"]
    with pytest.raises(AuthenticationError, match="nothing to try"):
        connect(pkey=None, identity_auth=False, identity_files=files)


@pytest.mark.parametrize("half", ["private", "public", "public half of an encrypted one"])
def test_identities_only(
    library: Library,
    verbose: OpenSSHServer,
    keys: dict[str, Path],
    agent: SSHAgent,
    tmp_path: Path,
    half: str,
) -> None:
    """Of the agent's keys the one that an identity file names, by whichever half."""
    agent.add(keys["unauthorized"], keys["unauthorized_rsa"], keys["ed25519"])
    path = tmp_path / "id"
    shutil.copy(public_path(keys["ed25519"]), public_path(path))
    if half == "private":
        shutil.copy(keys["ed25519"], path)
    elif half != "public":
        shutil.copy(keys["ed25519_encrypted"], path)
    settings = access(verbose, allow_agent=True, identity_auth=True, identities_only=True)

    name = public_path(path) if half == "public" else path
    library.SSHClient(verbose.host, **settings, identity_files=[name]).close()

    log = wait_for_log(verbose, "Accepted publickey")
    assert fingerprint(keys["ed25519"]) in log
    assert "Failed" not in log
    with pytest.raises(AuthenticationError):
        library.SSHClient(verbose.host, **settings, identity_files=[keys["rsa_encrypted"]])
    assert "Failed publickey" not in verbose.log()


def test_identity_agent(
    connect: Connect,
    library: Library,
    sshd: OpenSSHServer,
    keys: dict[str, Path],
    agent: SSHAgent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent.add(keys["ed25519"])
    with pytest.raises(AuthenticationError, match="nothing to try"):
        connect(pkey=None, allow_agent=True, identity_agent="none")
    monkeypatch.delenv("SSH_AUTH_SOCK")
    client = connect(pkey=None, allow_agent=True, identity_agent=agent.path)
    assert lines(client.run_command("echo hello")) == ["hello"]


@pytest.mark.parametrize("name", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("holder", ["beside", "identity", "pkey", "agent"])
def test_certificates_for_whatever_holds_the_key(
    connect: Connect,
    certificate_sshd: OpenSSHServer,
    user_authority: CertificateAuthority,
    account: Account,
    keys: dict[str, Path],
    agent: SSHAgent,
    tmp_path: Path,
    name: str,
    holder: str,
) -> None:
    path = tmp_path / "id"
    shutil.copy(keys[name], path)
    certificate = user_authority.certify(keys[name], principals=[account.name], identity=holder)
    settings: dict[str, Any] = {"pkey": None, "allow_agent": False, "identity_auth": True}
    if holder == "beside":
        shutil.copy(certificate, f"{path}-cert.pub")
        settings["identity_files"] = [path]
    else:
        settings["certificate_files"] = [tmp_path / "missing", certificate]
    if holder == "identity":
        settings["identity_files"] = [path]
    elif holder == "pkey":
        settings["pkey"] = str(path)
    elif holder == "agent":
        agent.add(keys["unauthorized"], keys[name])
        settings["allow_agent"] = True

    client = connect(certificate_sshd, **settings)

    assert lines(client.run_command("echo hello")) == ["hello"]
    wait_for_log(certificate_sshd, rf"Accepted publickey .*-CERT .*ID {holder} ")


def test_a_certificate_for_which_nobody_has_the_key(
    connect: Connect,
    certificate_sshd: OpenSSHServer,
    user_authority: CertificateAuthority,
    keys: dict[str, Path],
) -> None:
    certificate = user_authority.certify(keys["rsa"], principals=["somebody"])
    with pytest.raises(AuthenticationError, match=r"nobody has the key that it is for"):
        connect(certificate_sshd, certificate_files=[certificate])


def test_public_key_algorithms(
    connect: Connect, library: Library, verbose: OpenSSHServer, keys: dict[str, Path]
) -> None:
    own = OwnAgent()
    for key in (keys["ed25519"].read_bytes(), keys["ecdsa"].read_bytes()):
        own.add_key(key)
    settings = access(verbose, allow_agent=True, agent=own, pkey=str(keys["rsa"]))
    with pytest.raises(AuthenticationError) as caught:
        allowed = ["ssh-ed25519-cert-v01@openssh.com"]
        library.SSHClient(verbose.host, **settings, public_key_algorithms=allowed)
    for kind in ("ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256"):
        assert f"public_key_algorithms leaves {kind} out" in str(caught.value)
    assert "Failed publickey" not in verbose.log()

    for asked in (["-ssh-ed25519", "rsa-*"], ["^ecdsa-sha2-nistp256"], ["ecdsa-sha2-nistp256"]):
        del settings["pkey"]
        settings = {**settings, "pkey": str(keys["ecdsa"])}
        library.SSHClient(verbose.host, **settings, public_key_algorithms=asked).close()


def test_public_key_algorithms_choose_how_an_rsa_key_signs(
    library: Library,
    sshd_with: Callable[..., OpenSSHServer],
    keys: dict[str, Path],
    agent: SSHAgent,
) -> None:
    server = sshd_with({"LogLevel": "DEBUG2", "PubkeyAcceptedAlgorithms": "+ssh-rsa"})
    agent.add(keys["rsa"])
    holders: list[dict[str, Any]] = [
        {"allow_agent": True},
        {"pkey": str(keys["rsa"])},
        {"pkey": str(keys["rsa_pem_encrypted"]), "password": PASSPHRASE},
    ]
    for holder in holders:
        for name in ("rsa-sha2-256", "rsa-sha2-512", "ssh-rsa"):
            since = len(server.log())
            settings = access(server, **holder, public_key_algorithms=[name])
            library.SSHClient(server.host, **settings).close()
            log = wait_for_log(server, "Accepted publickey", since)
            used = set(re.findall(r"(?:attempting|querying) public key (\S+) ", log))
            assert used == {name}, holder


def test_algorithms_that_change_what_is_offered(
    connect: Connect, sshd_with: Callable[..., OpenSSHServer], keys: dict[str, Path]
) -> None:
    options = {"LogLevel": "DEBUG2", "Ciphers": "+aes128-cbc"}
    server = sshd_with(options, host_keys=(keys["host_rsa"], "ecdsa"))
    ours = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr")

    connect(server, ciphers=["+aes128-cbc"], host_key_algorithms=["-ecdsa-*"]).close()
    log = wait_for_log(server, r"server->client cipher:")
    offered = next(line for line in reversed(log.splitlines()) if "ciphers ctos: " in line)
    assert offered.endswith(",aes128-cbc [preauth]")
    assert all(name in offered for name in ours)
    assert "host key algorithm: rsa-sha2-512" in log

    since = len(server.log())
    connect(server, ciphers=["^aes128-cbc", "aes192-ctr"], macs=["-*-etm@openssh.com"]).close()
    log = wait_for_log(server, r"server->client cipher: aes128-cbc MAC: hmac-sha2-256 ", since)
    with pytest.raises(InvalidAPIUseError, match=r"-\*.* leaves no algorithm"):
        connect(server, ciphers=["-*"])
    with pytest.raises(InvalidAPIUseError, match=r"rot13 unknown to"):
        connect(server, ciphers=["+rot13"])


# For every command


def test_set_env_sends_what_the_server_takes(connect: Connect) -> None:
    client = connect(set_env={"PSSH_ONE": "1", "NOT_TAKEN": "x", "PSSH_TWO": "of all"})
    said: list[None] = []
    with said_by_the_library("environment variable NOT_TAKEN", lambda: said.append(None)):
        for _ in range(2):
            output = client.run_command(
                'echo "$PSSH_ONE, $PSSH_TWO, ${NOT_TAKEN:-}"', env={"PSSH_TWO": "of this one"}
            )
            assert lines(output) == ["1, of this one, "]
    assert len(said) == 1
    with pytest.raises(SessionError, match="NOT_TAKEN"):
        client.run_command("true", env={"NOT_TAKEN": "x"})


def test_use_pty_of_all_commands(connect: Connect) -> None:
    assert lines(connect(use_pty=True).run_command("test -t 0 && echo terminal")) == ["terminal"]
