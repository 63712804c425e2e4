"""The straight way to a host."""

from __future__ import annotations

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
from pssh.exceptions import ConnectError, ConnectRefusedError
from pssh.utils import logger

#: No descriptor can be had, by this process or at all.
NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class TCP(Transport):
    """Connects to a host from this machine.

    :param ipv6_only: leave out IPv4.
    """

    def __init__(self, *, ipv6_only: bool) -> None:
        self._ipv6_only = ipv6_only

    def open(self, to: Attempt) -> TransportSocket:
        with Deadline(to.timeout, to.host, to.port, "resolve the name"):
            addresses = resolve(
                to.host,
                to.port,
                ipv6_only=self._ipv6_only,
                attempt=to.number,
                attempts=to.attempts,
            )
        return _connect_any(to, addresses)


def _connect_any(to: Attempt, addresses: Sequence[Address]) -> TransportSocket:
    """Connect to the first address that answers.

    Each address may take its share of the time that is left: one that swallows packets does
    not use up the others' chances.
    """
    error: OSError | None = None
    end = time.monotonic() + to.timeout if to.timeout else None
    for index, (family, address) in enumerate(addresses):
        share = (end - time.monotonic()) / (len(addresses) - index) if end else None
        try:
            return _connect_one(family, address, share)
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
    family: socket.AddressFamily, address: object, share: float | None
) -> TransportSocket:
    sock = TransportSocket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # Packets of SSH are small and each waits for an answer: they must not wait for company.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        code = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            _wait_writable(sock, share)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


def _wait_writable(sock: socket.socket, seconds: float | None) -> None:
    hub = gevent.get_hub()
    watcher = hub.loop.io(sock.fileno(), 2)
    try:
        # An expired share is a moment, not "for ever", which None would be.
        limit = None if seconds is None else max(seconds, 0.001)
        with gevent.Timeout(limit, TimeoutError("timed out")):
            hub.wait(watcher)
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
