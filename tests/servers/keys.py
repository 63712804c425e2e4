"""Fresh SSH keys: those that log in are made by ssh-keygen."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.servers.process import find_program

#: The passphrase of every encrypted key of this run, the same in all its processes.
PASSPHRASE = "phrase-" + os.environ.get("PYTEST_XDIST_TESTRUNUID", secrets.token_hex(8))

#: Name -> arguments of ssh-keygen.
KINDS = {
    "ed25519": ("-t", "ed25519"),
    "ecdsa": ("-t", "ecdsa", "-b", "256"),
    "rsa": ("-t", "rsa", "-b", "2048"),
}

#: Name -> (key to copy, format of ssh-keygen's -m or None for OpenSSH's own, encrypted?).
VARIANTS: dict[str, tuple[str, str | None, bool]] = {
    "ed25519_encrypted": ("ed25519", None, True),
    "ecdsa_encrypted": ("ecdsa", None, True),
    "rsa_encrypted": ("rsa", None, True),
    "ecdsa_pem": ("ecdsa", "PEM", False),
    "rsa_pem": ("rsa", "PEM", False),
    "ecdsa_pem_encrypted": ("ecdsa", "PEM", True),
    "rsa_pem_encrypted": ("rsa", "PEM", True),
    "rsa_pkcs8": ("rsa", "PKCS8", False),
}

#: Name -> kind.
OTHERS = {"unauthorized": "ed25519", "unauthorized_rsa": "rsa", "host_rsa": "rsa"}


def public_path(key: Path) -> Path:
    """The path of a key's public half, whichever half is given."""
    return key if key.suffix == ".pub" else key.with_name(key.name + ".pub")


def public_line(key: Path) -> str:
    """A key's public half as ``<type> <base64>``, without its comment."""
    return " ".join(public_path(key).read_text().split()[:2])


def create_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Create a key pair: ``path`` and ``path.pub``.

    :param kind: a name in :data:`KINDS`.
    :returns: ``path``.
    """
    _ssh_keygen("-f", str(path), *KINDS[kind], "-N", passphrase, "-C", path.name)
    return path


def create_host_key(path: Path, kind: str = "ed25519") -> Path:
    """Create a server's key pair: ``path`` and ``path.pub``.

    Most of the tests' servers have one of their own, for which starting a program takes longer than
    all that the program does.

    :param kind: a name in :data:`KINDS`.
    :returns: ``path``.
    """
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    if kind == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
    elif kind == "ecdsa":
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        return create_key(path, kind)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(private)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    public_path(path).write_bytes(public + b" %s\n" % path.name.encode())
    return path


def create_variant(source: Path, path: Path, key_format: str | None, passphrase: str) -> Path:
    """Write an unencrypted key once more, in another format or encrypted.

    :param key_format: an argument of ssh-keygen's ``-m``, ``None`` for OpenSSH's own.
    :returns: ``path``.
    """
    shutil.copy(source, path)
    shutil.copy(public_path(source), public_path(path))
    # One round of the key derivation is as good as many for a test, and costs a twentieth.
    arguments = ["-p", "-a", "1", "-f", str(path), "-P", "", "-N", passphrase]
    _ssh_keygen(*arguments, *(("-m", key_format) if key_format else ()))
    return path


def shared_keys(folder: Path) -> dict[str, Path]:
    """One key of each kind, each variant of them, a stranger, and one for a server.

    The first process that asks creates them, for all that share the folder: those of RSA take
    long. The variants of a kind are the same key. ``unauthorized`` (ed25519) and
    ``unauthorized_rsa`` are for a server not to know, ``host_rsa`` is a server's own.

    :param folder: an existing folder.
    :returns: name -> path of the private key.
    """
    made = folder / "keys"
    with (folder / "keys.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            unfinished = folder / "keys.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            _create_keys(unfinished)
            unfinished.rename(made)
    names = (*KINDS, *VARIANTS, *OTHERS)
    return {name: made / f"id_{name}" for name in names}


def _create_keys(folder: Path) -> None:
    for name, kind in {**{kind: kind for kind in KINDS}, **OTHERS}.items():
        create_key(folder / f"id_{name}", kind)
    for name, (source, key_format, encrypted) in VARIANTS.items():
        passphrase = PASSPHRASE if encrypted else ""
        create_variant(folder / f"id_{source}", folder / f"id_{name}", key_format, passphrase)


def authorized_lines(keys: Iterable[Path]) -> str:
    """The text of an authorized_keys file, for private or public key paths."""
    return "".join(f"{public_line(key)}\n" for key in keys)


def known_hosts_lines(addresses: Sequence[tuple[str, int]], host_keys: Iterable[str]) -> str:
    """The text of a known_hosts file.

    :param addresses: host names or addresses, each with its port.
    :param host_keys: each as ``<type> <base64>``.
    """
    names = ",".join(host if port == 22 else f"[{host}]:{port}" for host, port in addresses)
    return "".join(f"{names} {key}\n" for key in host_keys)


def _ssh_keygen(*arguments: str) -> None:
    program = find_program("ssh-keygen", "openssh-client")
    subprocess.run([program, "-q", *arguments], check=True, stdin=subprocess.DEVNULL)
