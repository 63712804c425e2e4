"""The straight way to a host."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import time
from collections.abc import Sequence

import gevent

from pssh.clients.base.deadline import Deadline
from pssh.clients.base.names import Address, resolve
from pssh.clients.base.transport import Attempt, Final, Transport, TransportSocket
from pssh.exceptions import ConnectError, ConnectRefusedError, Timeout, UnknownHostError
from pssh.utils import logger

#: No descriptor can be had, by this process or at all.
NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class TCP(Transport):
    """Connects to a host from this machine.

    :param family: ``"any"``, ``"inet"`` for IPv4 only, ``"inet6"`` for IPv6 only.
    :param bind_address: the local name or address to connect from.
    """

    def __init__(self, family: str = "any", bind_address: str | None = None) -> None:
        self._family = family
        self._bind_address = bind_address

    def open(self, to: Attempt) -> TransportSocket:
        with Deadline(to.timeout, to.host, to.port, "resolve the name"):
            addresses = resolve(
                to.hostname,
                to.port,
                family=self._family,
                attempt=to.number,
                attempts=to.attempts,
                called=to.host,
            )
        return _connect_any(to, addresses, self._bind_address)


def _connect_any(
    to: Attempt, addresses: Sequence[Address], bind_address: str | None
) -> TransportSocket:
    """Connect to the first address that answers.

    Each address may take its share of the time that is left: one that swallows packets does
    not use up the others' chances.
    """
    error: OSError | None = None
    end = time.monotonic() + to.timeout if to.timeout else None
    for index, (family, address) in enumerate(addresses):
        share = (end - time.monotonic()) / (len(addresses) - index) if end else None
        try:
            return _connect_one(to, family, address, share, bind_address)
        except OSError as ex:
            logger.debug("Connecting to %s (%s) failed: %s", to.host, address, ex)
            error = ex
            if ex.errno in NO_DESCRIPTORS:
                break
    assert error is not None
    if isinstance(error, TimeoutError) and to.timeout and error.errno is None:
        raise Deadline(to.timeout, to.host, to.port, "connect").error()
    raise connect_error(to, error) from error


def _connect_one(
    to: Attempt,
    family: socket.AddressFamily,
    address: object,
    share: float | None,
    bind_address: str | None,
) -> TransportSocket:
    sock = TransportSocket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # Packets of SSH are small and each waits for an answer: they must not wait for company.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if bind_address is not None:
            _bind(sock, family, bind_address)
        code = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            _wait_writable(sock, to, share)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


#: IP_BIND_ADDRESS_NO_PORT (linux/in.h): the kernel chooses a port when it knows the other end, so
#: that the same one may serve connections to many hosts.
_BIND_WITHOUT_PORT = 24


def _bind(sock: socket.socket, family: socket.AddressFamily, bind_address: str) -> None:
    """Have connections come from a local address."""
    name = "inet" if family == socket.AF_INET else "inet6"
    try:
        _, local = resolve(bind_address, 0, family=name)[0]
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IP, _BIND_WITHOUT_PORT, 1)
        sock.bind(local)
    except UnknownHostError as ex:
        raise OSError(errno.EADDRNOTAVAIL, f"bind_address {bind_address}: {ex}") from ex
    except OSError as ex:
        raise OSError(ex.errno, f"bind_address {bind_address}: {ex.strerror}") from ex


def _wait_writable(sock: socket.socket, to: Attempt, seconds: float | None) -> None:
    hub = gevent.get_hub()
    watcher = hub.loop.io(sock.fileno(), 2)
    try:
        # An expired share is a moment, not "for ever", which None would be.
        limit = None if seconds is None else max(seconds, 0.001)
        with Deadline(limit, to.host, to.port, "connect"):
            hub.wait(watcher)
    except Timeout:
        raise TimeoutError("timed out") from None
    finally:
        watcher.close()


def connect_error(to: Attempt, error: OSError) -> Exception:
    """Make the error for a socket that could not be had, or not be connected.

    :param to: what it was for.
    :param error: what the system said.
    """
    reason = error.strerror or str(error)
    kind = ConnectRefusedError if isinstance(error, ConnectionRefusedError) else ConnectError
    if error.errno in NO_DESCRIPTORS:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        reason = f"{reason}: this process may have {soft} open (ulimit -n, RLIMIT_NOFILE)"
    made = kind(
        "Error connecting to host '%s:%s' - %s - retry %s/%s",
        to.host,
        to.port,
        reason,
        to.number,
        to.attempts,
        host=to.host,
        port=to.port,
        errno=error.errno,
    )
    # Waiting does not bring descriptors back: the connections that hold them stay.
    return Final(made) if error.errno in NO_DESCRIPTORS else made
