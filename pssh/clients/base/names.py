"""From a host's name to its addresses."""

from __future__ import annotations

import socket
from typing import Any

from gevent.monkey import get_original

from pssh.clients.base.threads import in_thread
from pssh.exceptions import NoIPv6AddressFoundError, UnknownHostError

# The real one, also when the program has made the standard library cooperative.
_getaddrinfo = get_original("socket", "getaddrinfo")

Address = tuple[socket.AddressFamily, Any]


#: Address families by their names in ssh_config(5), AddressFamily.
_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


def resolve(
    host: str,
    port: int,
    *,
    family: str = "any",
    attempt: int = 1,
    attempts: int = 1,
    called: str | None = None,
) -> list[Address]:
    """Return the addresses of a host, in the order in which they should be tried.

    :param host: a name, or an address as text.
    :param port: the port, which becomes part of the addresses.
    :param family: ``"any"``, ``"inet"`` for IPv4 only, ``"inet6"`` for IPv6 only.
    :param attempt: which attempt this is, for the message.
    :param attempts: of how many.
    :param called: what the user calls the host, for errors.
    :raises UnknownHostError: when the name has no address, or no name server answers.
    :raises NoIPv6AddressFoundError: when it has only IPv4 ones and they are not wanted.
    """
    address = _literal(host, port)
    if address is not None:
        addresses = [address]
    else:
        try:
            found = in_thread(
                _getaddrinfo, host, port, socket.AF_UNSPEC, socket.SOCK_STREAM, kind="names"
            )
        except (OSError, UnicodeError) as ex:
            reason = ex.strerror if isinstance(ex, socket.gaierror) else str(ex)
            raise UnknownHostError(
                "Unknown host %s - %s - retry %s/%s",
                host,
                reason,
                attempt,
                attempts,
                host=called or host,
                port=port,
            ) from ex
        addresses = [(family, address) for family, _, _, _, address in found]
    if family not in _FAMILIES:
        return addresses
    of_family = [address for address in addresses if address[0] == _FAMILIES[family]]
    if not of_family and family == "inet6":
        raise NoIPv6AddressFoundError(
            "Host %s has no IPv6 address, and no other is wanted (settings ipv6_only, "
            "address_family)",
            host,
            host=called or host,
            port=port,
        )
    if not of_family:
        raise UnknownHostError(
            "Host %s has no IPv4 address, and no other is wanted (setting address_family)",
            host,
            host=called or host,
            port=port,
        )
    return of_family


def _literal(host: str, port: int) -> Address | None:
    """Addresses need no name server, nor a thread."""
    try:
        socket.inet_pton(socket.AF_INET, host)
    except (OSError, ValueError):
        pass
    else:
        return socket.AF_INET, (host, port)
    try:
        socket.inet_pton(socket.AF_INET6, host)
    except (OSError, ValueError):
        return None
    return socket.AF_INET6, (host, port, 0, 0)
