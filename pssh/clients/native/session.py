"""libssh2's session behind the seam: its channels, and its end."""

from __future__ import annotations

import contextlib
import os
import socket
import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ssh2.error_codes import LIBSSH2_ERROR_EAGAIN
from ssh2.exceptions import SSH2Error

from pssh.clients.base.gone import Gone, gone
from pssh.clients.base.seam import (
    WOULD_BLOCK,
    Algorithms,
    Channel,
    Destination,
    WouldBlock,
    connection_closed,
)
from pssh.clients.native import opening
from pssh.clients.native.agent_channels import AgentChannels
from pssh.clients.native.authentication import NativeAuthentication
from pssh.clients.native.channel import NativeChannel
from pssh.clients.native.direct_tcpip import DirectTCPIP

if TYPE_CHECKING:
    from ssh2.channel import Channel as RawChannel

_FEW_CHANNELS = 8


class NativeSession(NativeAuthentication):
    """A session of libssh2.

    :param host: the host, for messages.
    :param port: its port.
    :param offered: the algorithms to offer.
    """

    __slots__ = (
        "_agent_channels",
        "_channels",
        "_channels_many",
        "_direct",
        "_opening",
        "_silence",
    )

    def __init__(self, host: str, port: int, offered: Algorithms) -> None:
        super().__init__(host, port, offered)
        self._channels: list[weakref.ref[NativeChannel]] = []
        #: At so many it is time to forget those that are gone.
        self._channels_many = _FEW_CHANNELS
        self._agent_channels: AgentChannels | None = None
        #: Whether a session channel is being opened.
        self._opening = False
        self._direct: DirectTCPIP | None = None
        self._silence: socket.socket | None = None

    # Channels

    def open_session(self) -> Channel | WouldBlock:
        if self._direct is not None and self._direct.in_turn:
            return WOULD_BLOCK
        raw_session = self._raw
        try:
            if self._direct is None:
                raw = raw_session.open_session()
            else:
                raw = self._direct.among_others(raw_session.open_session)
        except SSH2Error as ex:
            raise self.error(ex, "open a session") from ex
        self._opening = raw == LIBSSH2_ERROR_EAGAIN
        return WOULD_BLOCK if self._opening else self._new_channel(raw)

    def open_direct_tcpip(self, destination: Destination) -> Channel | WouldBlock:
        if self._direct is None:
            self._direct = DirectTCPIP(self._raw)
        if not self._direct.may_open(destination, other_begun=self._opening):
            return WOULD_BLOCK
        try:
            raw = self._direct.open(destination)
        except SSH2Error as ex:
            raise self.error(ex, f"open a tunnel to {destination.host}:{destination.port}") from ex
        return WOULD_BLOCK if raw is None else self._new_channel(raw)

    @property
    def opens_in_turn(self) -> bool:  # type: ignore[override]
        """Whether a channel can only be opened when the one before has been."""
        return not opening.is_found()

    def _new_channel(self, raw: RawChannel) -> NativeChannel:
        channel = NativeChannel(self, raw)
        if len(self._channels) >= self._channels_many:
            self._channels = [ref for ref in self._channels if ref() is not None]
            self._channels_many = 2 * len(self._channels) + _FEW_CHANNELS
        self._channels.append(weakref.ref(channel))
        return channel

    def take_agent_channels(self, opened: Callable[[], None]) -> None:
        if self._agent_channels is None:
            self._agent_channels = AgentChannels(self._raw, opened)

    def next_agent_channel(self) -> Channel | None:
        raw = self._agent_channels.take() if self._agent_channels is not None else None
        return self._new_channel(raw) if raw is not None else None

    # The end

    def silence_socket(self) -> None:
        """After a loss: let the library read what it has, and nothing from the network.

        libssh2 asks the socket before it hands out what it has queued, and a socket that is
        at its end makes it keep that back.
        """
        if self._silence is not None or self._sock is None:
            return
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        os.dup2(ours.fileno(), self._sock.fileno(), inheritable=False)
        ours.close()
        # The other end stays open: without it reads would find an end here too.
        self._silence = theirs

    def disconnect(self) -> None:
        if isinstance(self._raw, Gone):
            return
        self._drop_guard()
        with contextlib.suppress(SSH2Error):
            self._raw.disconnect()
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
        if self._direct is not None:
            self._direct.forget()
            self._direct = None
        if self._agent_channels is not None:
            self._agent_channels.forget()
            self._agent_channels = None
        # libssh2 tries to send when it frees channels, also those whose opening has only
        # begun. All of it goes now, while the descriptor is still ours: later it may belong
        # to somebody else's connection.
        for ref in self._channels:
            channel = ref()
            if channel is not None:
                channel.release()
        self._channels.clear()
        self._raw = gone(partial(connection_closed, self.host, self.port))
        self._callback = None
        if self._silence is not None:
            self._silence.close()
