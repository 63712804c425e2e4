"""Fresh SSH keys made by ssh-keygen."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.servers.process import find_program

#: The passphrase of every encrypted key of this run.
PASSPHRASE = secrets.token_hex(8)

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


def create_variant(source: Path, path: Path, key_format: str | None, passphrase: str) -> Path:
    """Write an unencrypted key once more, in another format or encrypted.

    :param key_format: an argument of ssh-keygen's ``-m``, ``None`` for OpenSSH's own.
    :returns: ``path``.
    """
    shutil.copy(source, path)
    shutil.copy(public_path(source), public_path(path))
    arguments = ["-p", "-f", str(path), "-P", "", "-N", passphrase]
    _ssh_keygen(*arguments, *(("-m", key_format) if key_format else ()))
    return path


def create_keys(folder: Path) -> dict[str, Path]:
    """Create one key of each kind, each variant of them, and a stranger.

    The variants of a kind are the same key. ``unauthorized`` (ed25519) and
    ``unauthorized_rsa`` are for a server not to know.

    :returns: name -> path of the private key.
    """
    keys = {name: create_key(folder / f"id_{name}", name) for name in KINDS}
    for name, (source, key_format, encrypted) in VARIANTS.items():
        passphrase = PASSPHRASE if encrypted else ""
        keys[name] = create_variant(keys[source], folder / f"id_{name}", key_format, passphrase)
    keys["unauthorized"] = create_key(folder / "id_unauthorized")
    keys["unauthorized_rsa"] = create_key(folder / "id_unauthorized_rsa", "rsa")
    return keys


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
