"""The algorithms that libssh2 offers a server."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

from ssh2 import session as ssh2_session

from pssh.clients.base import algorithms
from pssh.clients.base.seam import Algorithms
from pssh.clients.native import kex_methods

_METHODS = {
    "kex_algorithms": ssh2_session.LIBSSH2_METHOD_KEX,
    "host_key_algorithms": ssh2_session.LIBSSH2_METHOD_HOSTKEY,
    "ciphers": ssh2_session.LIBSSH2_METHOD_CRYPT_CS,
    "macs": ssh2_session.LIBSSH2_METHOD_MAC_CS,
}


@cache
def supported_algorithms(setting: str) -> tuple[str, ...]:
    """Return the names that libssh2 knows for a setting such as ``"ciphers"``."""
    if setting == "public_key_algorithms":
        return algorithms.KNOWN[setting]
    names = ssh2_session.Session().supported_algs(_METHODS[setting])
    return tuple(name for name in names if name not in kex_methods.EXTENSIONS)


@lru_cache(maxsize=256)
def preferences(offered: Algorithms) -> tuple[str, list[tuple[object, str]]]:
    """Return the names to offer, comma separated: for key exchange, and for libssh2's others."""

    def names(setting: str, asked: Sequence[str] | None, preferred: Sequence[str]) -> str:
        return ",".join(algorithms.choose(asked, preferred, supported_algorithms(setting)))

    kex = names("kex_algorithms", offered.kex, algorithms.KEX)
    # libssh2 decrypts AES-GCM 16 bytes at a call: 400 MB took 2.6 s of processor time, and 1.7 s
    # in counter mode; but 1.0 s and 1.2 s where AES is done in 512 bit registers.
    preferred = algorithms.ciphers(few_bytes_at_a_time=True)
    ciphers = names("ciphers", offered.ciphers, preferred)
    macs = names("macs", offered.macs, algorithms.MACS)
    host_keys = names("host_key_algorithms", offered.host_keys, algorithms.HOST_KEYS)
    found = [
        (ssh2_session.LIBSSH2_METHOD_HOSTKEY, host_keys),
        (ssh2_session.LIBSSH2_METHOD_CRYPT_CS, ciphers),
        (ssh2_session.LIBSSH2_METHOD_CRYPT_SC, ciphers),
        (ssh2_session.LIBSSH2_METHOD_MAC_CS, macs),
        (ssh2_session.LIBSSH2_METHOD_MAC_SC, macs),
    ]
    if offered.compress:
        compression = ",".join(algorithms.COMPRESSION)
        found.append((ssh2_session.LIBSSH2_METHOD_COMP_CS, compression))
        found.append((ssh2_session.LIBSSH2_METHOD_COMP_SC, compression))
    return kex, found
