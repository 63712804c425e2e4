"""Steps in between the first packet of a connection and what libssh2 makes of the answer.

That packet has the names of extensions among the methods of key exchange, on which libssh2 may not
agree: see :mod:`pssh.clients.native.kex_methods`. It goes from making the packet to agreeing in
one call if the server's has come, and in between is nothing but its function that sends.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pssh.clients.base.interrupts import pass_on
from pssh.clients.native import kex_methods, libssh2

if TYPE_CHECKING:
    from ssh2.session import Session as RawSession

#: How libssh2 names itself to a server (RFC 4253 section 4.2), which no server does.
_OUR_VERSION = b"SSH-2.0-libssh2_"


class KexInitGuard:
    """Stands in for the function with which a session sends, until its first packet.

    :param raw: the session, before its handshake.
    :param descriptor: of its socket.
    :ivar echoed: whether what comes from the other side is what it is sent. Nothing more is sent
        then.
    """

    __slots__ = ("_descriptor", "_pointer", "_send", "echoed")

    def __init__(self, raw: RawSession, descriptor: int) -> None:
        self.echoed = False
        self._descriptor = descriptor
        #: Where libssh2's own function is, while another stands in for it.
        self._send: int | None = None
        pointer = libssh2.session_pointer(raw)
        if pointer is None:
            return
        self._pointer = pointer
        _guards[descriptor] = self
        self._send = libssh2.set_callback(pointer, libssh2.CALLBACK_SEND, _send_address)

    @property
    def passed(self) -> bool:
        """Whether libssh2 sends by itself."""
        return self._send is None

    def remove(self) -> None:
        """Have libssh2 send by itself. To be done before the session is freed."""
        if self._send is not None:
            libssh2.set_callback(self._pointer, libssh2.CALLBACK_SEND, self._send)
            self._send = None
        if _guards.get(self._descriptor) is self:
            del _guards[self._descriptor]

    def sends(self, *arguments: int) -> int:
        """Stand in for libssh2's function that sends."""
        send = libssh2.io_function(self._send)
        version = libssh2.version_received(self._pointer)
        if version is not None and version.startswith(_OUR_VERSION):
            self.echoed = True
            return -errno.ECONNABORTED
        # Our own version goes first. It is not followed by a packet before the server's has come.
        if version is not None:
            kex_methods.forget_extensions(self._pointer)
            self.remove()
        return int(send(*arguments))


#: By the descriptors of their sockets: libssh2 says on whose behalf it calls by nothing else.
_guards: dict[int, KexInitGuard] = {}


def _sends(sock: int, *arguments: int) -> int:
    # No exception can pass through this.
    try:
        return _guards[sock].sends(sock, *arguments)
    except BaseException as ex:  # noqa: BLE001
        if isinstance(ex, KeyboardInterrupt):
            # What would have been returned is not known any more, but Ctrl-C itself is not lost.
            pass_on(ex)
        return -errno.EIO


#: One for all sessions, for ever: to make one for each would cost more than all that it does.
_callback = libssh2.IO_CALLBACK(_sends)
_send_address = libssh2.address_of(_callback)
