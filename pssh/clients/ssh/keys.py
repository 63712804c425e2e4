"""Private keys as libssh's objects."""

from __future__ import annotations

import weakref

from gevent.monkey import get_original
from ssh.exceptions import KeyImportError
from ssh.key import SSHKey, import_cert_base64, import_privkey_base64
from ssh.key import import_pubkey_base64 as _import_pubkey_base64
from ssh.keytypes import key_type_from_name

from pssh.clients.base.seam import PrivateKey
from pssh.clients.ssh import libssh
from pssh.exceptions import PKeyFileError

# The real one: it is held in threads only.
_Lock = get_original("_thread", "allocate_lock")
_decrypting = _Lock()


class LoadedKey:
    """A private key that is ready to sign, for as long as somebody authenticates with it."""

    __slots__ = ("__weakref__", "raw")

    def __init__(self, raw: SSHKey) -> None:
        self.raw = raw


_loaded: weakref.WeakValueDictionary[PrivateKey, LoadedKey] = weakref.WeakValueDictionary()


def load(key: PrivateKey) -> LoadedKey:
    """Return a key for signing. Hosts that need it at the same time share it.

    Decrypting takes a tenth of a second: call this in a thread for an encrypted key.

    :raises PKeyFileError: when it is no key, the passphrase is wrong, or the certificate is
        not for it.
    """
    found = _loaded.get(key)
    if found is not None:
        return found
    if not key.encrypted:
        return _remember(key)
    with _decrypting:
        return _loaded.get(key) or _remember(key)


def _remember(key: PrivateKey) -> LoadedKey:
    made = LoadedKey(_import(key))
    _loaded[key] = made
    return made


def _import(key: PrivateKey) -> SSHKey:
    try:
        raw = import_privkey_base64(key.data, key.passphrase.encode())
    except KeyImportError as ex:
        raise PKeyFileError(
            "libssh cannot read it (is it a private key, and is password its passphrase?)"
        ) from ex
    if key.certificate is not None:
        try:
            libssh.copy_certificate(public(key.certificate), raw)
        except KeyImportError as ex:
            raise PKeyFileError("the certificate does not belong to the private key") from ex
    return raw


def public(line: bytes) -> SSHKey:
    """Return a public key or a certificate.

    :param line: as in a ``.pub`` file: its type and its base64.
    :raises PKeyFileError: when libssh cannot read it.
    """
    name, encoded = line.split()[:2]
    is_certificate = b"-cert-" in name
    try:
        kind = key_type_from_name(name)
        return (
            import_cert_base64(encoded, kind)
            if is_certificate
            else _import_pubkey_base64(encoded, kind)
        )
    except KeyImportError as ex:
        raise PKeyFileError("libssh cannot read the %s", name.decode()) from ex
