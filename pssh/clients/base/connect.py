"""The life of a connection up to the point where it can be used.

``resolve → connect → handshake → host key → authenticate → ready``, in one loop around
what may be tried again.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import gevent

from pssh.clients.base import algorithms
from pssh.clients.base.auth import Authentication, Credentials, Refused
from pssh.clients.base.connection import Connection
from pssh.clients.base.deadline import Deadline
from pssh.clients.base.host_keys import KnownHosts
from pssh.clients.base.keepalive import KeepAlive
from pssh.clients.base.seam import WOULD_BLOCK, Algorithms, Session
from pssh.clients.base.transport import Attempt, Final, Transport
from pssh.exceptions import (
    AuthenticationError,
    ConnectError,
    ConnectionLostError,
    NoIPv6AddressFoundError,
    ProxyError,
    SSHError,
    Timeout,
    UnknownHostError,
)
from pssh.utils import logger

#: What OpenSSH says in place of its version when it is only busy (sshd_config: MaxStartups,
#: PerSourcePenalties).
_PASSING_REASONS = ("Exceeded MaxStartups", "Not allowed at this time")

SessionFactory = Callable[[str, int, Algorithms], Session]


@dataclass(slots=True)
class Target:
    """Where to connect to, and how.

    :param host: the host as the user names it, for messages.
    :param hostname: its real name or address.
    :param key_name: host and port under which its key is on record.
    """

    host: str
    port: int
    hostname: str
    key_name: tuple[str, int]
    credentials: Credentials
    algorithms: Algorithms
    host_key_algorithms: Sequence[str]
    known_hosts: KnownHosts | None
    host_key_policy: str
    timeout: float | None
    attempts: int
    retry_delay: float
    keepalive: float
    keepalive_count_max: int
    connect_timeout: float | None = None

    @property
    def connect_seconds(self) -> float | None:
        """How long each step may take up to the point where keys have been exchanged."""
        return self.connect_timeout or self.timeout


def connect(
    target: Target,
    new_session: SessionFactory,
    transport: Transport,
    before_retry: Callable[[], object] | None = None,
) -> Connection:
    """Return a connection that is ready for use.

    :param target: where to connect to.
    :param new_session: makes the library's session for host, port and algorithms.
    :param transport: the way there.
    :param before_retry: called before each attempt but the first one; may wait.
    :raises PSSHError: what the last attempt failed with.
    """
    attempt = 0
    with transport:
        while True:
            attempt += 1
            try:
                return _attempt(target, new_session, transport, attempt)
            except Final as ex:
                raise ex.error from ex.error.__cause__
            except (
                UnknownHostError,
                ConnectError,
                ConnectionLostError,
                Timeout,
                AuthenticationError,
                ProxyError,
            ) as ex:
                if attempt >= target.attempts or isinstance(ex, NoIPv6AddressFoundError):
                    raise
                logger.info("%s. Trying again in %s seconds", ex, target.retry_delay)
            gevent.sleep(target.retry_delay)
            if before_retry is not None:
                before_retry()


def _attempt(
    target: Target, new_session: SessionFactory, transport: Transport, attempt: int
) -> Connection:
    host, port = target.host, target.port
    sock = transport.open(
        Attempt(host, port, target.connect_seconds, attempt, target.attempts, target.hostname)
    )
    try:
        session = new_session(host, port, _algorithms(target))
        connection = Connection(session, sock, host, port)
    except BaseException:
        sock.close()
        raise
    try:
        with Deadline(target.connect_seconds, host, port, "handshake"):
            _handshake(connection)
        if target.known_hosts is not None:
            key_type, blob = session.host_key()
            target.known_hosts.verify(
                host, port, key_type, blob, target.host_key_policy, target.key_name, target.timeout
            )
        _authenticate(connection, target, attempt)
    except BaseException:
        connection.close()
        raise
    if target.keepalive:
        connection.keepalive = KeepAlive(connection, target.keepalive, target.keepalive_count_max)
    return connection


def _algorithms(target: Target) -> Algorithms:
    """Offer the kinds of host keys that are on record for the host first."""
    offered = target.algorithms
    if offered.host_keys is not None or target.known_hosts is None:
        return offered
    recorded = target.known_hosts.key_types(
        target.host, target.port, target.key_name, target.timeout
    )
    return _with_host_keys(offered, tuple(recorded), tuple(target.host_key_algorithms))


@lru_cache(maxsize=256)
def _with_host_keys(
    offered: Algorithms, recorded: tuple[str, ...], host_keys: tuple[str, ...]
) -> Algorithms:
    """Most hosts of a client have the same kinds of keys on record."""
    ordered = algorithms.host_keys_for(recorded, host_keys)
    return offered._replace(host_keys=tuple(ordered))


# SSH


def _handshake(connection: Connection) -> None:
    said = _peek(connection.sock)
    try:
        while connection.attempt(connection.session.handshake, connection.sock) is WOULD_BLOCK:
            connection.wait()
            # What comes after the first words were read is something else.
            if not said and connection.sock.nothing_read():
                said = _peek(connection.sock)
    except (ConnectionLostError, SSHError) as ex:
        why = connection.sock.why_ended()
        if why is not None:
            raise why from ex
        # A server may say something before its version, but not what a web server says.
        if b"SSH-" not in said and not b"SSH-".startswith(said):
            raise _not_ssh(connection, said) from ex
        raise


def _not_ssh(connection: Connection, said: bytes) -> Exception:
    host, port = connection.host, connection.port
    text = said.decode("ascii", "replace").rstrip()
    if any(text.startswith(reason) for reason in _PASSING_REASONS):
        message = "Host %s:%s closed the connection at once: it said %r"
        return ConnectionLostError(message, host, port, text, host=host, port=port)
    message = "Host %s:%s is not an SSH server: it said %r"
    return Final(SSHError(message, host, port, text, host=host, port=port))


def _peek(sock: socket.socket) -> bytes:
    """Look at what the server said first, and leave it for the library."""
    try:
        return sock.recv(64, socket.MSG_PEEK)
    except OSError:
        return b""


def _authenticate(connection: Connection, target: Target, attempt: int) -> None:
    with Deadline(target.timeout, target.host, target.port, "authenticate"):
        authentication = Authentication(connection, target.credentials)
        try:
            authentication.run()
        except Refused as ex:
            error = AuthenticationError(
                "Authentication error while connecting to %s:%s - %s - retry %s/%s",
                target.host,
                target.port,
                f"user {target.credentials.user}: {ex}",
                attempt,
                target.attempts,
                host=target.host,
                port=target.port,
            )
            # What the server has refused once may lock the account the next time.
            raise Final(error) if ex.secret_sent else error from ex
