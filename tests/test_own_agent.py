"""`pssh.agent.SSHAgent` and `pssh.utils.load_private_key`: what they take, without a network."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pssh.agent import SSHAgent
from pssh.config import HostConfig
from pssh.exceptions import PKeyFileError
from pssh.utils import load_private_key
from tests.servers.keys import PASSPHRASE


def test_keys_stay_in_the_order_in_which_they_were_added(keys: dict[str, Path]) -> None:
    agent = SSHAgent()
    agent.add_key(str(keys["rsa"]))
    agent.add_key(keys["ed25519"].read_bytes(), "a passphrase that is not needed")
    agent.add_key(keys["ecdsa_encrypted"], passphrase=PASSPHRASE)

    added = agent.get_keys()

    assert [key.file.data for key in added] == [
        keys[name].read_bytes() for name in ("rsa", "ed25519", "ecdsa_encrypted")
    ]
    assert [key.passphrase for key in added] == [None, None, PASSPHRASE]
    assert PASSPHRASE not in repr(added)
    assert repr(HostConfig(agent=agent)) == "HostConfig(agent=<SSHAgent with 3 keys>)"


def test_what_cannot_be_added(keys: dict[str, Path], tmp_path: Path) -> None:
    agent = SSHAgent()
    with pytest.raises(PKeyFileError, match="missing"):
        agent.add_key(tmp_path / "missing")
    with pytest.raises(PKeyFileError, match="is a public key"):
        agent.add_key(keys["ed25519"].with_suffix(".pub").read_bytes())
    with pytest.raises(PKeyFileError, match=r"id_rsa_encrypted is encrypted, and needs"):
        agent.add_key(keys["rsa_encrypted"])
    assert agent.get_keys() == ()


def test_load_private_key(keys: dict[str, Path], tmp_path: Path) -> None:
    path = keys["ed25519"]
    data = path.read_bytes()

    assert load_private_key(str(path)) == load_private_key(path) == data
    with path.open() as text, path.open("rb") as binary:
        assert load_private_key(text) == load_private_key(binary) == data
    assert load_private_key(io.StringIO(data.decode())) == data
    with pytest.raises(PKeyFileError, match="missing"):
        load_private_key(str(tmp_path / "missing"))
    with pytest.raises(PKeyFileError, match="in the open file is no private key"):
        load_private_key(io.BytesIO(b"something else"))
