"""Keys of an agent of the program's own: `agent=SSHAgent()`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pssh.agent import SSHAgent
from pssh.config import HostConfig
from pssh.exceptions import AuthenticationError
from pssh.utils import load_private_key
from tests.contract.access import access
from tests.contract.conftest import ConnectAll, Library
from tests.contract.outputs import lines
from tests.contract.ssh_agents import HangingUpAgent
from tests.contract.test_agent import failed, fingerprint
from tests.servers.keys import PASSPHRASE
from tests.servers.openssh import OpenSSHServer


def agent_with(*keys: Path | bytes, passphrase: str | None = None) -> SSHAgent:
    agent = SSHAgent()
    for key in keys:
        agent.add_key(key, passphrase)
    return agent


def test_its_keys_are_tried_in_order_and_the_system_s_agent_is_not_asked(
    library: Library,
    verbose: OpenSSHServer,
    keys: dict[str, Path],
    short_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    strangers = [keys["unauthorized_rsa"], keys["unauthorized"]]
    agent = agent_with(*strangers, load_private_key(str(keys["ed25519"])), keys["rsa"])
    with HangingUpAgent(short_folder) as systems:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(systems.path))
        settings = access(verbose, allow_agent=True, agent=agent)
        with library.SSHClient(verbose.host, **settings) as client:
            assert lines(client.run_command("echo hello")) == ["hello"]
        assert systems.accepted == 0

    assert failed(verbose) == [fingerprint(key) for key in strangers]
    assert fingerprint(keys["rsa"]) not in verbose.log()


@pytest.mark.parametrize("name", ["ed25519_encrypted", "rsa_pem_encrypted"])
def test_encrypted_keys_have_passphrases_of_their_own(
    library: Library, sshd: OpenSSHServer, keys: dict[str, Path], name: str
) -> None:
    agent = agent_with(keys["ecdsa_encrypted"], passphrase="wrong")
    agent.add_key(keys[name], PASSPHRASE)

    library.SSHClient(sshd.host, **access(sshd, allow_agent=True, agent=agent)).close()


def test_hosts_may_have_different_agents(connect_all: ConnectAll, keys: dict[str, Path]) -> None:
    client = connect_all(
        4,
        pkey=None,
        allow_agent=True,
        agent=agent_with(keys["ed25519"]),
        host_config=[
            HostConfig(),
            HostConfig(agent=agent_with(keys["unauthorized"], keys["ecdsa_encrypted"].read_bytes(),
                                        passphrase="wrong")),
            HostConfig(agent=agent_with(keys["rsa"])),
            HostConfig(allow_agent=False),
        ],
    )  # fmt: skip

    outputs = client.run_command("echo hello", stop_on_errors=False)

    assert [lines(outputs[index]) for index in (0, 2)] == [["hello"], ["hello"]]
    refused, without = outputs[1].exception, outputs[3].exception
    assert isinstance(refused, AuthenticationError)
    name = keys["unauthorized"]
    assert f"agent's key {name}: refused; agent's key given as bytes: " in str(refused)
    assert isinstance(without, AuthenticationError)
    assert "there was nothing to try" in str(without)
