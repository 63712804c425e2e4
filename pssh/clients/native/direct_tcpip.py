"""Channels through which a server connects to somewhere else, several at a time on libssh2."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ssh2.error_codes import LIBSSH2_ERROR_EAGAIN
from ssh2.exceptions import SSH2Error

from pssh.clients.native import libssh2, opening
from pssh.clients.native.errors import error_for_code

if TYPE_CHECKING:
    from ssh2.channel import Channel as RawChannel
    from ssh2.session import Session as RawSession

    from pssh.clients.base.seam import Destination

_Result = TypeVar("_Result")


class DirectTCPIP:
    """Opens direct-tcpip channels of a session.

    libssh2 remembers in its session which channel it is opening, so that it can open one at a
    time. For a bastion that is not enough: each target would have to wait for a round trip of
    every other, and a target that answers nothing would hold up all the others until the
    server gives up on it. The server's answers carry the channel's number, so that nothing but
    that memory is in the way: it is put aside after each call, and put back before the next
    one for the same channel.

    Where the memory is not found (another build of libssh2) channels are opened in turn.

    :param raw: the session, after its handshake.
    """

    __slots__ = ("_begun", "_pointer", "_raw")

    def __init__(self, raw: RawSession) -> None:
        self._raw = raw
        self._pointer = libssh2.session_pointer(raw)
        #: What libssh2 remembers of each; ``None`` where that has stayed in the session.
        self._begun: dict[Destination, opening.OpeningState | None] = {}
        if self._pointer is not None:
            libssh2.wait_for_ever(self._pointer)

    @property
    def in_turn(self) -> bool:
        """Whether one of them keeps the session from opening any other channel."""
        return None in self._begun.values()

    def may_open(self, destination: Destination, *, other_begun: bool) -> bool:
        """Whether it is this one's turn.

        :param destination: where it leads.
        :param other_begun: whether a channel of another kind is being opened.
        """
        if destination in self._begun:
            return True
        return not self.in_turn and (opening.is_found() or not other_begun)

    def open(self, destination: Destination) -> RawChannel | None:
        """Begin to open a channel, or go on with it; ``None`` while that would block.

        :raises SSH2Error: when the server refuses, or the connection has ended.
        """
        pointer = self._pointer
        if pointer is None or not opening.is_found():
            return self._open_first(destination)
        # Before it is taken out: one that waits already is what can be asked for the others.
        self._receive()
        state = self._begun.pop(destination, None) or opening.NOTHING
        before = opening.swap(pointer, state)
        try:
            with libssh2.receiving_nothing(pointer):
                opened = self._call(destination)
        finally:
            after = opening.swap(pointer, before)
        if opened is None:
            self._begun[destination] = after
        return opened

    def among_others(self, open_channel: Callable[[], _Result]) -> _Result:
        """Call something that opens a channel of another kind.

        libssh2 takes the first answer to any question for a channel for the one to its own,
        and if it is not, gives up. So it reads none in such a call; what has come is read
        before, and put where the call finds its own.

        :param open_channel: what to call.
        """
        if self._pointer is None or not self._begun or self.in_turn:
            return open_channel()
        self._receive()
        with libssh2.receiving_nothing(self._pointer):
            return open_channel()

    def _receive(self) -> None:
        for state in self._begun.values():
            if state is not None:
                error = error_for_code(libssh2.receive(opening.channel_of(state)))
                if error is not None:
                    raise error
                return

    def _open_first(self, destination: Destination) -> RawChannel | None:
        pointer = self._pointer
        self._begun.pop(destination, None)
        opened = self._call(destination)
        if opened is not None:
            return opened
        if pointer is not None and opening.find(pointer, destination):
            state = opening.swap(pointer, opening.NOTHING)
            self._begun[destination] = state
        else:
            self._begun[destination] = None
        return None

    def _call(self, to: Destination) -> RawChannel | None:
        opened = self._raw.direct_tcpip_ex(to.host, to.port, to.origin_host, to.origin_port)
        return None if opened == LIBSSH2_ERROR_EAGAIN else opened

    def forget(self) -> None:
        """The connection has ended: have libssh2 give back what it has for each."""
        for destination, state in list(self._begun.items()):
            with contextlib.suppress(SSH2Error):
                if state is None or self._pointer is None:
                    self._call(destination)
                    continue
                opening.swap(self._pointer, state)
                try:
                    self._call(destination)
                finally:
                    opening.swap(self._pointer, opening.NOTHING)
        self._begun.clear()
