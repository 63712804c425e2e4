"""The packets of an SFTP session on their way to the server."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable

import gevent
from gevent.lock import BoundedSemaphore

from pssh.clients.base.connection import Connection
from pssh.clients.base.deadline import Deadline
from pssh.clients.base.files.session_end import SessionEnd
from pssh.clients.base.seam import WOULD_BLOCK, Channel, WouldBlock
from pssh.exceptions import PSSHError, SessionError

#: What the library is given at once.
_WRITE_SIZE = 256 * 1024

#: A payload up to this is sent together with what stands before it.
_JOIN_MAX = 48 * 1024

#: Seconds that whoever reads has to find the end of a session, where there is no other limit.
_ENDING_MAX = 10.0


class PacketWriter:
    """Sends the packets of several greenlets: each whole, and one after the other.

    :param connection: the connection.
    :param channel: the channel.
    :param end: is told where a packet cannot be sent whole.
    """

    __slots__ = ("_channel", "_connection", "_end", "_turn", "_unsent", "_writing")

    def __init__(self, connection: Connection, channel: Channel, end: SessionEnd) -> None:
        self._connection = connection
        self._channel = channel
        self._end = end
        self._turn = BoundedSemaphore(1)
        #: What is to be sent of the packet whose turn it is.
        self._unsent: deque[memoryview] = deque()
        self._writing = False

    def send(
        self, make: Callable[[], bytes], timeout: float | None, payload: memoryview | None = None
    ) -> None:
        """Send a packet.

        :param make: makes the packet as soon as its turn has come.
        :param timeout: seconds that each step may take; ``None`` for no limit.
        :param payload: the data that follows it.
        :raises SFTPError: when the session has ended.
        """
        self._turn.acquire()
        try:
            packet = make()
            if payload is None:
                self._unsent.append(memoryview(packet))
            elif len(payload) <= _JOIN_MAX:
                self._unsent.append(memoryview(packet + payload))
            else:
                self._unsent += (memoryview(packet), payload)
            self._send(timeout)
        except PSSHError:
            self._turn.release()
            raise
        except BaseException as ex:
            if self._writing:
                # Ctrl-C: nobody knows how much of the packet has been sent.
                self._turn.release()
                self._end.interrupt(ex)
                raise
            # Whoever gave up, in the middle of a packet: the others go on behind the rest of it.
            gevent.spawn(self._send_the_rest, timeout)
            raise
        else:
            self._turn.release()

    def _send(self, timeout: float | None) -> None:
        """Send what is to be sent, by whose turn it is."""
        connection = self._connection
        try:
            while self._unsent:
                with Deadline(timeout, connection.host, connection.port, "send an SFTP request"):
                    connection.call_promptly(self._send_some)
        except SessionError as ex:
            # The channel takes no more because the session ends, and whoever reads knows why.
            self._end.wait(timeout or _ENDING_MAX)
            self._end.begin(ex)
            raise self._end.error() from ex
        except PSSHError as ex:
            # Half a request cannot be taken back.
            self._end.begin(ex)
            raise

    def _send_some(self) -> int | WouldBlock:
        """Send what the channel takes at once: each step that takes time has a time limit."""
        # A connection may call this once more for who gave up, so this keeps count itself.
        unsent, sent = self._unsent, 0
        while unsent:
            part = unsent[0][:_WRITE_SIZE]
            self._writing = True
            taken = self._channel.write(part)
            if taken is not WOULD_BLOCK:
                rest = unsent.popleft()[taken:]
                if rest:
                    unsent.appendleft(rest)
            self._writing = False
            if taken is WOULD_BLOCK:
                return WOULD_BLOCK
            sent += taken
            if taken < len(part):
                break
        return sent

    def _send_the_rest(self, timeout: float | None) -> None:
        with contextlib.suppress(PSSHError):
            try:
                self._send(timeout)
            finally:
                self._turn.release()
