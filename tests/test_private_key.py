"""`pssh.private_key`: what a key file says of itself without a passphrase."""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pssh import private_key
from pssh.exceptions import PKeyFileError
from tests.servers.keys import VARIANTS, public_line


@pytest.mark.parametrize("name", ["ed25519", "ecdsa", "rsa", *VARIANTS])
def test_every_kind_of_key(keys: dict[str, Path], name: str) -> None:
    path = keys[name]
    key = private_key.load(str(path))
    assert key.name == str(path)
    assert key.data == path.read_bytes()
    assert key.encrypted == name.endswith("_encrypted")
    if "pem" in name or "pkcs8" in name:
        assert key.public is None
    else:
        assert key.public == f"{public_line(path)}\n".encode()
    assert private_key.load(path) == key


def test_a_key_as_bytes(keys: dict[str, Path]) -> None:
    data = keys["ed25519"].read_bytes()
    key = private_key.load(data)
    assert key.data == data
    assert not key.encrypted
    assert data.decode() not in repr(key)


def test_a_path_from_the_home_folder(
    keys: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "id").write_bytes(keys["ed25519"].read_bytes())
    assert private_key.load("~/id").name == str(tmp_path / "id")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PKeyFileError, match="does not exist") as caught:
        private_key.load(str(tmp_path / "no such key"))
    assert "no such key" in str(caught.value)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(PKeyFileError, match="cannot be read"):
        private_key.load(tmp_path)


def test_paths_that_are_none(keys: dict[str, Path], tmp_path: Path) -> None:
    secret = keys["ed25519"].read_text()
    with pytest.raises(PKeyFileError, match="give that as bytes") as caught:
        private_key.load(secret)
    assert secret.splitlines()[2] not in str(caught.value)
    with pytest.raises(PKeyFileError, match="cannot be read"):
        private_key.load("a\0b")
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(2 * 1024 * 1024)
    with pytest.raises(PKeyFileError, match="too large"):
        private_key.load(large)


def test_a_key_that_is_indented(keys: dict[str, Path]) -> None:
    data = keys["ed25519"].read_bytes()
    indented = b"\n" + b"".join(b"    " + line for line in data.splitlines(keepends=True))
    assert private_key.parse(indented, "it").data.strip() == data.strip()


@given(st.binary())
def test_what_is_no_key(data: bytes) -> None:
    assume(b"PRIVATE KEY-----" not in data)
    with pytest.raises(PKeyFileError, match="private key it is"):
        private_key.parse(data, "it")


def test_a_public_key_is_no_private_key(keys: dict[str, Path]) -> None:
    public = keys["ed25519"].with_suffix(".pub").read_bytes()
    with pytest.raises(PKeyFileError, match="is a public key"):
        private_key.parse(public, "it")


@given(st.binary(max_size=80), st.booleans())
def test_a_damaged_key_is_no_other_error(junk: bytes, header: bool) -> None:
    body = base64.encodebytes((b"openssh-key-v1\0" if header else b"") + junk)
    data = b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + body + b"-----END OPENSSH PRIVATE KEY-----\n"
    with contextlib.suppress(PKeyFileError):
        private_key.parse(data, "it")


@pytest.mark.parametrize("count", [1, 20, 60, 100])
def test_a_key_that_was_cut_off(keys: dict[str, Path], count: int) -> None:
    lines = keys["ed25519"].read_bytes().splitlines()
    body = b"".join(lines[1:-1])[:count]
    data = b"\n".join([lines[0], body, lines[-1]])
    with pytest.raises(PKeyFileError, match="damaged"):
        private_key.parse(data, "it")
