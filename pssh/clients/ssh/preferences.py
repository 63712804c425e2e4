"""The algorithms that libssh offers a server."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

from ssh import options
from ssh.exceptions import BaseSSHError
from ssh.session import Session

from pssh.clients.base import algorithms
from pssh.clients.base.seam import Algorithms

_OPTIONS = {
    "kex_algorithms": (options.KEY_EXCHANGE,),
    "host_key_algorithms": (options.HOSTKEYS,),
    "ciphers": (options.CIPHERS_C_S, options.CIPHERS_S_C),
    "macs": (options.HMAC_C_S, options.HMAC_S_C),
}


@cache
def supported_algorithms(setting: str) -> tuple[str, ...]:
    """Return the names that libssh knows for a setting such as ``"ciphers"``."""
    if setting == "public_key_algorithms":
        return algorithms.KNOWN[setting]
    option = _OPTIONS[setting][0]

    def is_known(name: str) -> bool:
        try:
            Session().options_set(option, name)
        except BaseSSHError:
            return False
        return True

    return tuple(name for name in algorithms.KNOWN[setting] if is_known(name))


@lru_cache(maxsize=256)
def preferences(offered: Algorithms) -> list[tuple[options.Option, str]]:
    """Return libssh's options with the names to offer for each, comma separated."""
    lists: list[tuple[str, Sequence[str] | None, Sequence[str]]] = [
        ("kex_algorithms", offered.kex, algorithms.KEX),
        ("host_key_algorithms", offered.host_keys, algorithms.HOST_KEYS),
        ("ciphers", offered.ciphers, algorithms.ciphers()),
        ("macs", offered.macs, algorithms.MACS),
    ]
    found = []
    for setting, asked, preferred in lists:
        names = ",".join(algorithms.choose(asked, preferred, supported_algorithms(setting)))
        found += [(option, names) for option in _OPTIONS[setting]]
    if offered.public_keys is not None:
        found.append((options.PUBLICKEY_ACCEPTED_TYPES, ",".join(offered.public_keys)))
    compression = ",".join(algorithms.COMPRESSION) if offered.compress else "none"
    found += [
        (options.COMPRESSION_C_S, compression),
        (options.COMPRESSION_S_C, compression),
    ]
    return found
