"""libssh's session behind the seam: its channels, and its end."""

from __future__ import annotations

import contextlib
import re
import socket
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial

from ssh.channel import Channel as RawChannel
from ssh.error_codes import SSH_AGAIN
from ssh.exceptions import BaseSSHError

from pssh.clients.base.gone import gone
from pssh.clients.base.seam import (
    WOULD_BLOCK,
    Algorithms,
    Channel,
    Destination,
    WouldBlock,
    connection_closed,
)
from pssh.clients.ssh import agent_channels, libssh
from pssh.clients.ssh.authentication import LibsshAuthentication
from pssh.clients.ssh.channel import LibsshChannel
from pssh.exceptions import ConnectionLostError, PSSHError, SessionError

#: What libssh reports of a channel that the server did not open: its number here, the reason's
#: code and the server's words.
_OPEN_FAILURE = re.compile(r"channel (\d+) error \((\d+)\) ?(.*)", re.DOTALL)
#: Several answers came at once, and libssh keeps the last one's.
_REASON_LOST = "the server refused it, like another at the same time"
#: RFC 4254 section 5.1.
_OPEN_FAILURES = {
    1: "administratively prohibited",
    2: "connect failed",
    3: "unknown channel type",
    4: "resource shortage",
}


class LibsshSession(LibsshAuthentication):
    """A session of libssh.

    :param host: the host, for messages.
    :param port: its port.
    :param offered: the algorithms to offer.
    """

    __slots__ = ("_agent_channels", "_agent_opened", "_channels", "_forwards", "_opening")

    def __init__(self, host: str, port: int, offered: Algorithms) -> None:
        super().__init__(host, port, offered)
        #: Channels that the server has opened to the agent, and what is told of each.
        self._agent_channels: deque[LibsshChannel] = deque()
        self._agent_opened: Callable[[], None] | None = None
        self._opening: RawChannel | None = None
        #: Channels to elsewhere that are being opened.
        self._forwards: dict[Destination, tuple[RawChannel, LibsshChannel]] = {}
        #: Kept until they are released: freeing one may send, and only we look what came of it.
        self._channels: set[LibsshChannel] = set()

    # Channels

    def open_session(self) -> Channel | WouldBlock:
        raw = self._raw
        self.check()
        try:
            if self._opening is None:
                self._opening = raw.channel_new()
            code = self._opening.open_session()
        except BaseSSHError as ex:
            self._opening = None
            raise self.error("open a session", SessionError) from ex
        self.flush()
        if code == SSH_AGAIN:
            return WOULD_BLOCK
        opened, self._opening = self._opening, None
        channel = LibsshChannel(self, opened)
        self._channels.add(channel)
        return channel

    def open_direct_tcpip(self, destination: Destination) -> Channel | WouldBlock:
        raw = self._raw
        self.check()
        to, origin = destination, destination.origin_host
        opening: RawChannel | None = None
        channel: LibsshChannel | None = None
        try:
            if to not in self._forwards:
                opening = raw.channel_new()
                # It has to be told from the start: with the answer may come what the other end
                # says first, and whoever reads both has libssh keep what it tells nobody.
                channel = LibsshChannel(self, opening)
                self._channels.add(channel)
                self._forwards[to] = opening, channel
            opening, channel = self._forwards[to]
            code = opening.open_forward(to.host, to.port, origin, to.origin_port)
        except BaseSSHError as ex:
            self._forwards.pop(to, None)
            error = self._refused_forward(to, opening)
            if channel is not None:
                channel.release()
            raise error from ex
        self.flush()
        if code == SSH_AGAIN:
            return WOULD_BLOCK
        del self._forwards[to]
        return channel

    def _refused_forward(self, to: Destination, opening: RawChannel | None) -> PSSHError:
        error = self.error(f"open a tunnel to {to.host}:{to.port}", SessionError)
        if isinstance(error, ConnectionLostError) or opening is None:
            return error
        # What libssh reported last may be about another channel.
        number = libssh.channel_number(opening, self._pointer)
        *said, reason = error.args
        found = _OPEN_FAILURE.search(reason)
        if found is not None:
            about_this = number is not None and int(found[1]) == number
            reason = _refusal(int(found[2]), found[3]) if about_this else _REASON_LOST
        return SessionError(*said, reason, host=self.host, port=self.port)

    def take_agent_channels(self, opened: Callable[[], None]) -> None:
        self._agent_opened = opened
        # The session goes when nobody has it any more, whatever libssh could call.
        reference = weakref.ref(self)

        def make() -> int:
            session = reference()
            assert session is not None
            return session._make_agent_channel()

        agent_channels.take(self._pointer, make)

    def _make_agent_channel(self) -> int:
        """Make a channel that the server opens. Runs inside libssh."""
        channel = LibsshChannel(self, self._raw.channel_new())
        self._channels.add(channel)
        self._agent_channels.append(channel)
        assert self._agent_opened is not None
        self._agent_opened()
        return channel.pointer

    def next_agent_channel(self) -> Channel | None:
        # libssh's answer to the server may wait to be sent.
        self.flush()
        return self._agent_channels.popleft() if self._agent_channels else None

    def released(self, channel: LibsshChannel) -> None:
        """A channel has been freed; libssh may have sent something then, and failed."""
        self._channels.discard(channel)
        if self._opened is not None:
            self.flush()

    # The end

    def disconnect(self) -> None:
        if self._opened is None:
            return
        sock = self._sock
        assert sock is not None
        agent_channels.forget(self._pointer)
        self._agent_channels.clear()
        for channel in list(self._channels):
            channel.release()
        self._opening = None
        self._forwards.clear()
        if not self.lost_descriptor():
            # To libssh what follows looks as if the other side had gone: it sends no more.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            # Freeing its session libssh closes the descriptor, which is no longer ours then.
            sock.detach()
        self._key = self._queried = self._agent = None
        self._opened = None
        self._raw = gone(partial(connection_closed, self.host, self.port))


def _refusal(code: int, words: str) -> str:
    reason = _OPEN_FAILURES.get(code, f"reason {code}")
    return f"{reason}: {words.strip()}" if words.strip() else reason
