"""Private keys as files hold them: what can be told without decrypting. Pure but for reading."""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from pssh.exceptions import PKeyFileError

_OPENSSH_BEGIN = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_OPENSSH_END = b"-----END OPENSSH PRIVATE KEY-----"
_OPENSSH_MAGIC = b"openssh-key-v1\0"
_INDENTED = re.compile(rb"^[ \t]+-----BEGIN", re.MULTILINE)

#: What a private key has in its first line, in whichever format.
KEY_MARK = "PRIVATE KEY-----"

#: OpenSSH reads no larger files either (MAX_KEY_FILE_SIZE in its sshbuf-io.c).
_FILE_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A private key and where it came from.

    :param name: what to call it in messages.
    :param data: the content of the file.
    :param encrypted: whether a passphrase is needed.
    :param public: its public half as a line of a ``.pub`` file, where that is in the clear.
    :ivar identity: what tells it from others: its public half, or else the file.
    """

    name: str
    data: bytes = field(repr=False)
    encrypted: bool
    public: bytes | None
    identity: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Once, as it is asked for with each host.
        identity = base64.b64decode(self.public.split()[1]) if self.public else self.data
        object.__setattr__(self, "identity", identity)


def load(key: str | bytes | os.PathLike[str]) -> KeyFile:
    """Read a private key.

    :param key: a path (absolute, or from the home folder with ``~/``), or the key itself.
    :raises PKeyFileError: when the file is missing or unreadable, or is no private key.
    """
    if isinstance(key, bytes):
        return parse(key, "given as bytes")
    if isinstance(key, str) and KEY_MARK in key:
        # Nothing of it may get into a message, as a path would.
        raise PKeyFileError(
            "What was given as the path of a private key is the key itself: give that as bytes"
        )
    path = Path(os.path.expanduser(key))
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_MAX + 1)
    except FileNotFoundError as ex:
        raise PKeyFileError(
            "File %s does not exist. Please use an absolute path, or one that begins with ~/, "
            "for pkey",
            str(path),
        ) from ex
    except OSError as ex:
        raise PKeyFileError("Private key %s cannot be read: %s", str(path), ex.strerror) from ex
    except ValueError as ex:
        # A NUL in the path.
        raise PKeyFileError("Private key %r cannot be read: %s", str(path), ex) from ex
    if len(data) > _FILE_MAX:
        raise PKeyFileError("The private key %s is no private key: it is too large", str(path))
    return parse(data, str(path))


def parse(data: bytes, name: str) -> KeyFile:
    """Find out what a private key says of itself.

    :param data: the key in the OpenSSH format, or in PEM (PKCS#1, PKCS#8, SEC 1).
    :param name: what to call it in messages.
    :raises PKeyFileError: when it is no private key.
    """
    if _INDENTED.search(data):
        # As a program's source may have it. Only one of the libraries reads that.
        data = b"\n".join(line.strip() for line in data.splitlines()) + b"\n"
    if _OPENSSH_BEGIN in data:
        cipher, blob = _openssh_header(data, name)
        return KeyFile(name, data, cipher != b"none", _public_line(blob))
    if b"-----BEGIN" in data and KEY_MARK.encode() in data:
        encrypted = b"ENCRYPTED" in data
        return KeyFile(name, data, encrypted, None)
    if data.lstrip().startswith((b"ssh-", b"ecdsa-", b"sk-", b"---- BEGIN SSH2 PUBLIC")):
        raise PKeyFileError("The private key %s is a public key", name)
    raise PKeyFileError("The private key %s is no private key that is known here", name)


def _openssh_header(data: bytes, name: str) -> tuple[bytes, bytes]:
    """Return cipher and public key: they stand before the encrypted part (PROTOCOL.key)."""
    body = data.partition(_OPENSSH_BEGIN)[2].partition(_OPENSSH_END)[0]
    try:
        raw = base64.b64decode(body, validate=False)
    except binascii.Error as ex:
        raise PKeyFileError("The private key %s is damaged: %s", name, ex) from ex
    if not raw.startswith(_OPENSSH_MAGIC):
        raise PKeyFileError("The private key %s is damaged: it has no OpenSSH header", name)
    at = len(_OPENSSH_MAGIC)
    strings = []
    try:
        for skipped in (0, 0, 4, 0):  # cipher, kdf, kdf options, then the number of keys
            length = int.from_bytes(raw[at : at + 4], "big")
            if at + 4 + length > len(raw):
                raise ValueError("it ends too early")
            strings.append(raw[at + 4 : at + 4 + length])
            at += 4 + length + skipped
    except ValueError as ex:
        raise PKeyFileError("The private key %s is damaged: %s", name, ex) from ex
    return strings[0], strings[3]


def _public_line(blob: bytes) -> bytes:
    length = int.from_bytes(blob[:4], "big")
    return blob[4 : 4 + length] + b" " + base64.b64encode(blob) + b"\n"
