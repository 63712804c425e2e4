"""User certificates (OpenSSH's PROTOCOL.certkeys): what they say of themselves. Pure."""

from __future__ import annotations

import base64
import binascii
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pssh.exceptions import PKeyFileError

_SUFFIX = b"-cert-v01@openssh.com"
_USER, _HOST = 1, 2

#: How many strings the public key has in a certificate of its type.
_KEY_FIELDS = {
    b"ssh-ed25519": 1,
    b"ssh-rsa": 2,
    b"ecdsa-sha2-nistp256": 2,
    b"ecdsa-sha2-nistp384": 2,
    b"ecdsa-sha2-nistp521": 2,
    b"sk-ssh-ed25519@openssh.com": 2,
    b"sk-ecdsa-sha2-nistp256@openssh.com": 3,
}


@dataclass(frozen=True, slots=True)
class Certificate:
    """A public key with a signature that lets it in.

    :param name: what to call it in messages.
    :param line: its type and its base64, as in a ``-cert.pub`` file.
    :param public_key: the key that it is for (RFC 4253 section 6.6).
    :param key_id: what whoever signed it wrote down.
    :param principals: the users that it is for; a server may take an empty list for everybody.
    :param valid_after: seconds since 1970 from which on it is valid.
    :param valid_before: seconds since 1970 at which it is no longer valid.
    """

    name: str
    line: bytes = field(repr=False)
    public_key: bytes
    key_id: str
    principals: Sequence[str]
    valid_after: int
    valid_before: int

    @property
    def blob(self) -> bytes:
        """The certificate as it goes to a server."""
        return base64.b64decode(self.line.split()[1])

    def explain_refusal(self) -> str:
        """Say what may be the reason when a server does not take it."""
        now = time.time()
        reasons = []
        if now >= self.valid_before:
            reasons.append(f"expired on {_date(self.valid_before)}")
        if now < self.valid_after:
            reasons.append(f"is not valid before {_date(self.valid_after)}")
        if self.principals:
            reasons.append(f"principals: {', '.join(self.principals)}")
        return "; ".join(reasons)


def load(path: str | os.PathLike[str]) -> Certificate:
    """Read a user certificate.

    :param path: the file (absolute, or from the home folder with ``~/``).
    :raises PKeyFileError: when it is missing or unreadable, or is no user certificate.
    """
    expanded = Path(os.path.expanduser(path))
    try:
        data = expanded.read_bytes()
    except FileNotFoundError as ex:
        raise PKeyFileError(
            "File %s does not exist. Please use an absolute path, or one that begins with ~/, "
            "for cert_file",
            str(expanded),
        ) from ex
    except OSError as ex:
        raise PKeyFileError("Certificate %s cannot be read: %s", str(expanded), ex.strerror) from ex
    return parse(data, str(expanded))


def parse(data: bytes, name: str) -> Certificate:
    """Read what a certificate says of itself. Its signature is the server's business.

    :param data: the content of a ``-cert.pub`` file.
    :param name: what to call it in messages.
    :raises PKeyFileError: when it is no user certificate.
    """
    words = data.split()
    if len(words) < 2 or not words[0].endswith(_SUFFIX):
        raise PKeyFileError("%s is no certificate", name)
    try:
        blob = base64.b64decode(words[1], validate=True)
        return _read(_Reader(blob), words[0], b" ".join(words[:2]), name)
    except (binascii.Error, ValueError) as ex:
        raise PKeyFileError("%s is no certificate, or is damaged: %s", name, ex) from ex


def _read(reader: _Reader, kind: bytes, line: bytes, name: str) -> Certificate:
    plain = kind.removesuffix(_SUFFIX)
    if plain not in _KEY_FIELDS:
        raise ValueError(f"{plain.decode('ascii', 'replace')} is not a type that is known here")
    if reader.string() != kind:
        raise ValueError("its type is not what it says")
    reader.string()  # nonce
    fields = [reader.string() for _ in range(_KEY_FIELDS[plain])]
    reader.number(8)  # serial
    purpose = reader.number(4)
    key_id = reader.string().decode("utf-8", "replace")
    principals = _Reader(reader.string())
    names = []
    while principals.left:
        names.append(principals.string().decode("utf-8", "replace"))
    valid_after, valid_before = reader.number(8), reader.number(8)
    if purpose == _HOST:
        raise PKeyFileError("%s is a host certificate, and a user certificate is needed", name)
    if purpose != _USER:
        raise ValueError(f"its purpose is {purpose}")
    public_key = b"".join(len(part).to_bytes(4, "big") + part for part in (plain, *fields))
    return Certificate(name, line, public_key, key_id, names, valid_after, valid_before)


class _Reader:
    """Takes fields from a blob (RFC 4251 section 5)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def string(self) -> bytes:
        return self._take(self.number(4))

    def _take(self, size: int) -> bytes:
        if size > self.left:
            raise ValueError("it ends too early")
        self._at += size
        return self._data[self._at - size : self._at]


def _date(seconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"second {seconds}"
