"""Identity files: private keys with what lies beside them (ssh_config(5), IdentityFile)."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pssh import certificate, private_key
from pssh.certificate import Certificate
from pssh.exceptions import PKeyFileError
from pssh.private_key import KeyFile


@dataclass(frozen=True, slots=True)
class IdentityFile:
    """What there is of an identity.

    :param path: as it was given.
    :param key: the private key; ``None`` where there is none, or only an agent has it.
    :param public: the public key (RFC 4253 section 6.6), where that is in the clear.
    :param certificate: the one that lies beside it.
    :param problem: why there is no private key, unless it is just not there.
    """

    path: str
    key: KeyFile | None = None
    public: bytes | None = None
    certificate: Certificate | None = None
    problem: str | None = None


def load(path: str) -> IdentityFile:
    """Read an identity. In a thread: a home folder may be far away.

    :param path: the private key's or the public key's file.
    """
    key, problem = None, None
    public = _public_key(path) if path.endswith(".pub") else None
    if public is None:
        try:
            key = private_key.load(path)
        except PKeyFileError as ex:
            if not isinstance(ex.__cause__, FileNotFoundError):
                problem = str(ex)
    if key is not None and key.public is not None:
        public = key.identity
    elif public is None:
        public = _public_key(f"{path}.pub")
    beside = f"{path.removesuffix('.pub')}-cert.pub"
    return IdentityFile(path, key, public, _certificate(beside), problem)


def load_certificates(paths: Sequence[str]) -> list[Certificate | PKeyFileError]:
    """Read certificates, or what is wrong with them. In a thread."""
    found: list[Certificate | PKeyFileError] = []
    for path in paths:
        try:
            found.append(certificate.load(path))
        except PKeyFileError as ex:
            found.append(ex)
    return found


def key_type(blob: bytes) -> str:
    """Return the type that a public key or a certificate begins with."""
    length = int.from_bytes(blob[:4], "big")
    return blob[4 : 4 + length].decode("ascii", "replace")


def _public_key(path: str) -> bytes | None:
    try:
        words = Path(os.path.expanduser(path)).read_bytes().split()
        return base64.b64decode(words[1], validate=True)
    except (OSError, IndexError, binascii.Error):
        return None


def _certificate(path: str) -> Certificate | None:
    if not os.path.exists(os.path.expanduser(path)):
        return None
    try:
        return certificate.load(path)
    except PKeyFileError:
        return None
