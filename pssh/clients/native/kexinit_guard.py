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
from typing import TYPE_CHECKING, Any

from pssh.clients.base.interrupts import pass_on
from pssh.clients.native import libssh2
from pssh.kexinit import KexInitReader

if TYPE_CHECKING:
    from collections.abc import Collection

    from ssh2.session import Session as RawSession


class KexInitGuard:
    """Looks at what a session receives, until the server's SSH_MSG_KEXINIT has come.

    :param raw: the session, before its handshake.
    :param none: names that are no methods.
    :ivar named: those of them that the server has named, and libssh2 has not been told of.
    """

    __slots__ = ("_callbacks", "_none", "_pointer", "_reader", "_receive", "_send", "named")

    def __init__(self, raw: RawSession, none: Collection[str]) -> None:
        self._none = none
        self._reader = KexInitReader()
        self.named: list[str] = []
        self._callbacks: tuple[Any, ...] = (
            libssh2.IO_CALLBACK(self._sends),
            libssh2.IO_CALLBACK(self._receives),
        )
        #: libssh2's own functions, while others stand in for them.
        self._send: Any = None
        self._receive: Any = None
        pointer = libssh2.session_pointer(raw)
        if pointer is None:
            return
        self._pointer = pointer
        # The server's version libssh2 receives byte by byte. Packets it receives only when it has
        # sent its own first one, and that is the moment to step in.
        self._send = self._replace(libssh2.CALLBACK_SEND, self._callbacks[0])

    def _replace(self, kind: int, function: Any) -> Any:
        return libssh2.io_function(libssh2.set_callback(self._pointer, kind, function))

    @property
    def passed(self) -> bool:
        """Whether libssh2 does the rest by itself."""
        return self._send is None and self._receive is None

    def remove(self) -> None:
        """Have libssh2 send and receive by itself. To be done before the session is freed."""
        self._give_back_send()
        self._give_back_receive()
        # They keep this object alive, as this object does them.
        self._callbacks = ()

    def _give_back_send(self) -> None:
        if self._send is not None:
            self._replace(libssh2.CALLBACK_SEND, self._send)
            self._send = None

    def _give_back_receive(self) -> None:
        if self._receive is not None:
            self._replace(libssh2.CALLBACK_RECV, self._receive)
            self._receive = None

    # What libssh2 calls; no exception can pass through it

    def _sends(self, *arguments: int) -> int:
        try:
            send = self._send
            if libssh2.has_server_version(self._pointer):
                self._receive = self._replace(libssh2.CALLBACK_RECV, self._callbacks[1])
                self._give_back_send()
            return int(send(*arguments))
        except BaseException as ex:  # noqa: BLE001
            return _failed(ex)

    def _receives(self, sock: int, buffer: int, size: int, flags: int, abstract: int) -> int:
        try:
            if self.named:
                return -errno.ECONNABORTED
            count = int(self._receive(sock, buffer, size, flags, abstract))
            if count > 0:
                self._look(ctypes.string_at(buffer, count))
            return -errno.ECONNABORTED if self.named else count
        except BaseException as ex:  # noqa: BLE001
            return _failed(ex)

    def _look(self, data: bytes) -> None:
        self._reader.feed(data)
        methods = self._reader.methods
        if methods is None:
            return
        self.named = [name for name in self._none if name.encode("ascii") in methods]
        if not self.named:
            self._give_back_receive()


def _failed(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        # What would have been returned is not known any more, but Ctrl-C itself is not lost.
        pass_on(error)
    return -errno.EIO
