"""Keeps libssh2 from agreeing on a method of key exchange that is none.

What says that a client understands an extension stands among the methods of key exchange
(RFC 8308 section 2.1), and libssh2 has it in its table of methods, without a function. A server
that names one as well, as does whatever sends back what it is sent, makes libssh2 agree on it
and call that function: the process is gone, with all its connections. So what comes from the
network is looked at on its way to libssh2, until the server has named its methods.
"""

from __future__ import annotations

import ctypes
import errno
from typing import TYPE_CHECKING

from pssh.clients.base.interrupts import pass_on
from pssh.clients.native import libssh2
from pssh.kexinit import KexInitReader

if TYPE_CHECKING:
    from collections.abc import Collection

    from ssh2.session import Session as RawSession


class KexInitGuard:
    """Looks at what a session receives, until the server's SSH_MSG_KEXINIT has come.

    :param raw: the session, before its handshake.
    :param descriptor: of its socket.
    :param none: names that are no methods.
    :ivar named: those of them that the server has named, and libssh2 has not been told of.
    """

    __slots__ = ("_descriptor", "_none", "_pointer", "_reader", "_receive", "_send", "named")

    def __init__(self, raw: RawSession, descriptor: int, none: Collection[str]) -> None:
        self._none = none
        self._reader = KexInitReader()
        self.named: list[str] = []
        self._descriptor = descriptor
        #: Where libssh2's own functions are, while others stand in for them.
        self._send: int | None = None
        self._receive: int | None = None
        pointer = libssh2.session_pointer(raw)
        if pointer is None:
            return
        self._pointer = pointer
        _guards[descriptor] = self
        # The server's version libssh2 receives byte by byte. Packets it receives only when it has
        # sent its own first one, and that is the moment to step in.
        self._send = libssh2.set_callback(pointer, libssh2.CALLBACK_SEND, _send_address)

    @property
    def passed(self) -> bool:
        """Whether libssh2 does the rest by itself."""
        return self._send is None and self._receive is None

    def remove(self) -> None:
        """Have libssh2 send and receive by itself. To be done before the session is freed."""
        self._give_back_send()
        self._give_back_receive()
        if _guards.get(self._descriptor) is self:
            del _guards[self._descriptor]

    def _give_back_send(self) -> None:
        if self._send is not None:
            libssh2.set_callback(self._pointer, libssh2.CALLBACK_SEND, self._send)
            self._send = None

    def _give_back_receive(self) -> None:
        if self._receive is not None:
            libssh2.set_callback(self._pointer, libssh2.CALLBACK_RECV, self._receive)
            self._receive = None

    # What libssh2 calls

    def sends(self, *arguments: int) -> int:
        """Stand in for libssh2's function that sends."""
        send = libssh2.io_function(self._send)
        if libssh2.has_server_version(self._pointer):
            self._receive = libssh2.set_callback(
                self._pointer, libssh2.CALLBACK_RECV, _receive_address
            )
            self._give_back_send()
        return int(send(*arguments))

    def receives(self, sock: int, buffer: int, size: int, flags: int, abstract: int) -> int:
        """Stand in for libssh2's function that receives."""
        if self.named:
            return -errno.ECONNABORTED
        receive = libssh2.io_function(self._receive)
        count = int(receive(sock, buffer, size, flags, abstract))
        if count > 0:
            self._look(ctypes.string_at(buffer, count))
        return -errno.ECONNABORTED if self.named else count

    def _look(self, data: bytes) -> None:
        self._reader.feed(data)
        methods = self._reader.methods
        if methods is None:
            return
        self.named = [name for name in self._none if name.encode("ascii") in methods]
        if not self.named:
            self._give_back_receive()


#: By the descriptors of their sockets: libssh2 says on whose behalf it calls by nothing else.
_guards: dict[int, KexInitGuard] = {}


# No exception can pass through these.


def _sends(sock: int, *arguments: int) -> int:
    try:
        return _guards[sock].sends(sock, *arguments)
    except BaseException as ex:  # noqa: BLE001
        return _failed(ex)


def _receives(sock: int, *arguments: int) -> int:
    try:
        return _guards[sock].receives(sock, *arguments)
    except BaseException as ex:  # noqa: BLE001
        return _failed(ex)


#: One for all sessions, for ever: to make some for each would cost more than all that they do.
_callbacks = libssh2.IO_CALLBACK(_sends), libssh2.IO_CALLBACK(_receives)
_send_address, _receive_address = map(libssh2.address_of, _callbacks)


def _failed(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        # What would have been returned is not known any more, but Ctrl-C itself is not lost.
        pass_on(error)
    return -errno.EIO
