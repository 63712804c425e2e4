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


def resolve(host: str, port: int, *, ipv6_only: bool, attempt: int, attempts: int) -> list[Address]:
    """Return the addresses of a host, in the order in which they should be tried.

    :param host: a name, or an address as text.
    :param port: the port, which becomes part of the addresses.
    :param ipv6_only: leave out IPv4.
    :param attempt: which attempt this is, for the message.
    :param attempts: of how many.
    :raises UnknownHostError: when the name has no address, or no name server answers.
    :raises NoIPv6AddressFoundError: when it has only IPv4 ones and they are left out.
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
                host=host,
                port=port,
            ) from ex
        addresses = [(family, address) for family, _, _, _, address in found]
    if ipv6_only:
        addresses = [address for address in addresses if address[0] == socket.AF_INET6]
        if not addresses:
            raise NoIPv6AddressFoundError(
                "Host %s has no IPv6 address, and ipv6_only is set", host, host=host, port=port
            )
    return addresses


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
