"""libssh2's session up to the point where keys have been exchanged, and its pulse after that."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

from ssh2 import session as ssh2_session
from ssh2.error_codes import LIBSSH2_ERROR_EAGAIN
from ssh2.exceptions import (
    BannerRecvError,
    BannerSendError,
    KexFailureError,
    SocketDisconnectError,
    SSH2Error,
)

from pssh.clients.base import algorithms
from pssh.clients.base.gone import gone
from pssh.clients.base.seam import (
    READ,
    WOULD_BLOCK,
    WRITE,
    Algorithms,
    Session,
    WouldBlock,
    channel_closed,
)
from pssh.clients.native import kex_methods, libssh2
from pssh.clients.native.errors import TRANSPORT_ERRORS, describe, translate
from pssh.clients.native.kexinit_guard import KexInitGuard
from pssh.clients.native.preferences import preferences
from pssh.exceptions import ConnectionLostError, PSSHError, SSHError

# The seam's directions are libssh2's own, so that they need no translation at each call.
assert (READ, WRITE) == (
    ssh2_session.LIBSSH2_SESSION_BLOCK_INBOUND,
    ssh2_session.LIBSSH2_SESSION_BLOCK_OUTBOUND,
)


class NativeTransport(Session):
    """Speaks to a server over a socket (RFC 4253).

    :param host: the host, for messages.
    :param port: its port.
    :param offered: the algorithms to offer.
    """

    __slots__ = ("_guard", "_public_keys", "_raw", "_sock", "closed_channel", "host", "port")

    def __init__(self, host: str, port: int, offered: Algorithms) -> None:
        self.host = host
        self.port = port
        #: Takes the place of the library's channels that have been released.
        self.closed_channel: Any = gone(partial(channel_closed, host, port))
        #: libssh2's session; raises when it has been disconnected.
        self._raw = ssh2_session.Session()
        self._sock: socket.socket | None = None
        self._public_keys = offered.public_keys
        self._guard: KexInitGuard | None = None
        self._raw.set_blocking(False)
        # One question each time that it is asked for: the pace is the caller's (2 seconds is
        # the shortest that libssh2 takes).
        self._raw.keepalive_config(True, 2)
        self._offer(offered)

    def _offer(self, offered: Algorithms) -> None:
        if offered.compress:
            self._raw.flag(ssh2_session.LIBSSH2_FLAG_COMPRESS, True)
        kex, others = preferences(offered)
        kex_methods.prefer(self._raw, kex)
        for method, names in others:
            self._raw.method_pref(method, names)

    # Errors

    def error(self, error: Exception, doing: str) -> PSSHError:
        """Make one of our errors of one of libssh2's."""
        return translate(self._raw, error, self.host, self.port, doing)

    def lost(self, error: Exception) -> ConnectionLostError:
        """Make the error for a transport that stopped, whatever libssh2 calls it."""
        translated = self.error(error, "")
        if isinstance(translated, ConnectionLostError):
            return translated
        return ConnectionLostError(
            "The connection to host %s:%s was lost: %s",
            self.host,
            self.port,
            describe(self._raw, error),
            host=self.host,
            port=self.port,
        )

    # Its beginning

    def handshake(self, sock: socket.socket) -> WouldBlock | None:
        """What the server sends is looked at meanwhile, see :class:`KexInitGuard`."""
        if self._sock is None:
            self._sock = sock
            self._guard = KexInitGuard(self._raw, sock.fileno())
        try:
            code = self._raw.handshake(sock)
        except SSH2Error as ex:
            raise self._handshake_error(ex) from ex
        if self._guard is not None and self._guard.passed:
            self._drop_guard()
        if code == LIBSSH2_ERROR_EAGAIN:
            return WOULD_BLOCK
        if self._public_keys is not None:
            libssh2.prefer_signatures(self._raw, algorithms.plain(self._public_keys))
        return None

    def _drop_guard(self) -> None:
        if self._guard is not None:
            self._guard.remove()
            self._guard = None

    def _handshake_error(self, error: SSH2Error) -> PSSHError:
        if self._guard is not None and self._guard.echoed:
            return SSHError(
                "Could not agree on keys with host %s:%s: it sends back what it is sent",
                self.host,
                self.port,
                host=self.host,
                port=self.port,
            )
        # Of whatever goes wrong in the exchange libssh2 keeps the code, and one text for all.
        reason = f"{describe(self._raw, error)} ({type(error).__name__})"
        if isinstance(error, BannerRecvError | BannerSendError):
            message = "Host %s:%s is not an SSH server, or closed the connection: %s"
            return ConnectionLostError(
                message, self.host, self.port, reason, host=self.host, port=self.port
            )
        if isinstance(error, KexFailureError):
            return SSHError(
                "No common algorithm with host %s:%s (key exchange, host key, cipher or "
                "MAC; settings kex_algorithms, host_key_algorithms, ciphers, macs): %s",
                self.host,
                self.port,
                reason,
                host=self.host,
                port=self.port,
            )
        # A plain -1 is what comes of an end in the middle of the lists of algorithms.
        if type(error) is SSH2Error or isinstance(error, TRANSPORT_ERRORS) or self._hung_up():
            return self.lost(SocketDisconnectError())
        return SSHError(
            "Could not agree on keys with host %s:%s: %s",
            self.host,
            self.port,
            reason,
            host=self.host,
            port=self.port,
        )

    def _hung_up(self) -> bool:
        assert self._sock is not None
        try:
            return self._sock.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def host_key(self) -> tuple[str, bytes]:
        try:
            blob, _ = self._raw.hostkey()
        except SSH2Error as ex:
            raise self.error(ex, "read the host key") from ex
        length = int.from_bytes(blob[:4], "big")
        return blob[4 : 4 + length].decode("ascii", "replace"), blob

    def server_version(self) -> str:
        return libssh2.server_version(self._raw)

    def send_keepalive(self) -> None:
        try:
            self._raw.keepalive_send()
        except SSH2Error as ex:
            raise self.lost(ex) from ex

    def directions(self) -> int:
        return self._raw.block_directions()  # type: ignore[no-any-return]
