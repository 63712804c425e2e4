"""libssh's session up to the point where keys have been exchanged, and its bytes after that."""

from __future__ import annotations

import binascii
import os
import socket
from functools import partial
from itertools import repeat
from typing import Any

from ssh import options
from ssh import session as ssh_session
from ssh.error_codes import SSH_AGAIN
from ssh.exceptions import BaseSSHError

from pssh.clients.base.arrivals import bytes_unread, is_cut
from pssh.clients.base.gone import gone
from pssh.clients.base.seam import (
    READ,
    WOULD_BLOCK,
    WRITE,
    Algorithms,
    Session,
    WouldBlock,
    channel_closed,
    connection_closed,
)
from pssh.clients.ssh import errors, libssh
from pssh.clients.ssh.preferences import preferences
from pssh.exceptions import ConnectionLostError, PSSHError, SSHError

#: What libssh reads from a socket at once (MAX_BUF_SIZE in its priv.h).
_PIECE = 4096
#: How much of that is read before others have their turn.
_PIECES_MAX = 64


class LibsshTransport(Session):
    """Speaks to a server over a socket (RFC 4253).

    The socket belongs to libssh from the handshake on: it closes it when it cannot send, and
    when its session is freed. Our own object for it is detached then, so that nobody uses a
    descriptor that may be somebody else's.

    :param host: the host, for messages.
    :param port: its port.
    :param offered: the algorithms to offer.
    """

    __slots__ = (
        "_much",
        "_offered",
        "_opened",
        "_pointer",
        "_raw",
        "_sock",
        "_unsent",
        "closed_channel",
        "host",
        "port",
    )

    keeps_unsent = True

    def __init__(self, host: str, port: int, offered: Algorithms) -> None:
        self.host = host
        self.port = port
        #: Takes the place of the library's channels that have been released.
        self.closed_channel: Any = gone(partial(channel_closed, host, port))
        self._offered = offered
        self._opened: ssh_session.Session | None = None
        #: The same; raises when there is none.
        self._raw: ssh_session.Session = gone(partial(connection_closed, self.host, self.port))
        self._pointer = 0
        self._sock: socket.socket | None = None
        self._unsent = False
        self._much = False

    # Errors

    def error(self, doing: str, kind: type[PSSHError] = SSHError) -> PSSHError:
        """Make one of our errors of what libssh reported last."""
        self.lost_descriptor()
        return errors.translate(self._raw, self.host, self.port, doing, kind)

    def check(self) -> None:
        """Raise when the transport has ended.

        :raises ConnectionLostError: then.
        """
        if self._raw.get_status() & errors.ENDED:
            self.lost_descriptor()
            raise errors.lost(self._raw, self.host, self.port)

    def lost_descriptor(self) -> bool:
        """Whether libssh has closed the socket; our object for it is detached then."""
        if self._opened is None or self._opened.get_fd() >= 0:
            return False
        if self._sock is not None and self._sock.fileno() >= 0:
            self._sock.detach()
        return True

    # Its beginning

    def handshake(self, sock: socket.socket) -> WouldBlock | None:
        """The socket is libssh's from the first call on, see :class:`LibsshTransport`."""
        if self._opened is None:
            self._begin(sock)
        raw = self._raw
        try:
            code = raw.connect()
        except BaseSSHError as ex:
            raise self._handshake_error() from ex
        # libssh makes the socket block as soon as it is connected, and would then send to a
        # slow server for as long as that takes.
        os.set_blocking(sock.fileno(), False)
        if code == SSH_AGAIN:
            self.flush()
            return WOULD_BLOCK
        return None

    def _begin(self, sock: socket.socket) -> None:
        raw = ssh_session.Session()
        # Both clients behave alike: nothing is read from the user's OpenSSH configuration.
        raw.options_set_int_val(options.PROCESS_CONFIG, 0)
        for option in (options.SSH_DIR, options.KNOWNHOSTS, options.GLOBAL_KNOWNHOSTS):
            raw.options_set(option, os.devnull)
        raw.options_set(options.USER, "unknown")
        for option, names in preferences(self._offered):
            raw.options_set(option, names)
        raw.set_socket(sock)
        raw.set_blocking(0)
        self._opened = self._raw = raw
        self._sock = sock
        self._pointer = libssh.session_pointer(raw)

    def _handshake_error(self) -> PSSHError:
        self.lost_descriptor()
        reason = errors.describe(self._raw)
        host, port = self.host, self.port
        if "no match for method" in reason:
            return SSHError(
                "No common algorithm with host %s:%s (settings kex_algorithms, "
                "host_key_algorithms, ciphers, macs): %s",
                host,
                port,
                reason,
                host=host,
                port=port,
            )
        if "banner" in reason.lower() or "version" in reason.lower():
            return ConnectionLostError(
                "Host %s:%s is not an SSH server, or closed the connection: %s",
                host,
                port,
                reason,
                host=host,
                port=port,
            )
        if "Socket error" in reason or "DISCONNECT" in reason or self._is_cut():
            return errors.lost(self._raw, host, port)
        return SSHError(
            "Could not agree on keys with host %s:%s: %s", host, port, reason, host=host, port=port
        )

    def _is_cut(self) -> bool:
        """Whether the socket has ended, whatever libssh says of it."""
        assert self._sock is not None
        return self._sock.fileno() < 0 or is_cut(self._sock)

    def host_key(self) -> tuple[str, bytes]:
        try:
            encoded = self._raw.get_server_publickey().export_pubkey_base64()
        except BaseSSHError as ex:
            raise self.error("read the host key") from ex
        blob = binascii.a2b_base64(encoded)
        length = int.from_bytes(blob[:4], "big")
        return blob[4 : 4 + length].decode("ascii", "replace"), blob

    def server_version(self) -> str:
        banner: bytes | None = self._raw.get_serverbanner()
        return (banner or b"").decode("utf-8", "replace")

    def exchange(self) -> None:
        """Read what has come, and send what waits to be sent, as far as that goes at once."""
        assert self._sock is not None
        libssh.exchange_packets(self._pointer)
        if self._much and not self.lost_descriptor():
            # As long as there is much, each loop of ours takes more than one of libssh's pieces.
            pieces = bytes_unread(self._sock) // _PIECE
            self._much = pieces > 0
            any(map(libssh.exchange_packets, repeat(self._pointer, min(pieces, _PIECES_MAX))))
        # What came may have asked for an answer, such as new keys.
        self.flush()

    def expect_more(self) -> None:
        """Somebody has just received a lot."""
        self._much = True

    def flush(self) -> bool:
        """Send what waits to be sent, as far as that goes at once; whether that was all."""
        try:
            self._unsent = self._raw.blocking_flush(0) == SSH_AGAIN
        except BaseSSHError:
            # Whoever reads next learns of it, after what has arrived before.
            self._unsent = False
        return not self._unsent

    def send_keepalive(self) -> None:
        # libssh waits for each answer before it asks again, and the call that takes note of
        # the answer asks nothing: the second one does.
        for _ in range(2):
            libssh.keepalive(self._pointer)
        self.flush()
        self.check()

    def directions(self) -> int:
        return READ | WRITE if self._unsent else READ
