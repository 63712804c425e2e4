"""The packets of an SFTP session that come from the server."""

from __future__ import annotations

import gevent

from pssh.clients.base.connection import Connection
from pssh.clients.base.files.session_end import SessionEnd, has_ended
from pssh.clients.base.files.waiter import Waiter
from pssh.clients.base.interrupts import pass_on
from pssh.clients.base.seam import STDERR, STDOUT, WOULD_BLOCK, Channel
from pssh.exceptions import PSSHError, SFTPError
from pssh.sftp.exchange import Exchange
from pssh.sftp.names import printable

#: From 128 KiB on, the C library would ask the system for the memory of each read.
_READ_SIZE = 128 * 1024 - 64

#: Bytes that may be read before others have their turn, however fast the server is.
_TURN = 1024 * 1024

#: Seconds that a server's program has to end by itself.
_ENDING_MAX = 10.0

#: How much of what the server says on its standard error is kept, in bytes.
_SAID_MAX = 1024


class PacketReader:
    """Reads for everybody who waits for a reply, to the end of the session and of its channel.

    :param connection: the connection.
    :param channel: the channel.
    :param exchange: knows who waits for what.
    :param end: tells that the session has ended, and is told.
    """

    __slots__ = ("_channel", "_connection", "_end", "_exchange", "_said")

    def __init__(
        self,
        connection: Connection,
        channel: Channel,
        exchange: Exchange[Waiter],
        end: SessionEnd,
    ) -> None:
        self._connection = connection
        self._channel = channel
        self._exchange = exchange
        self._end = end
        self._said = b""

    def run(self) -> None:
        """Read until the session ends, and give the channel back."""
        try:
            self._read()
        except PSSHError as ex:
            self._end.begin(ex)
        except KeyboardInterrupt as ex:
            # Whoever it is meant for gets it before the end of this session, which comes of it:
            # a reply may be lost.
            pass_on(ex)
            gevent.sleep(0)
            self._end.interrupt(ex)
        except BaseException as ex:
            self._end.begin(ex)
            raise
        finally:
            self._release()

    def _read(self) -> None:
        connection, channel, exchange, end = (
            self._connection,
            self._channel,
            self._exchange,
            self._end,
        )
        turn = 0
        looked_at = -1
        while end.cause is None:
            pieces = connection.attempt(channel.read_pieces, STDOUT, _READ_SIZE)
            if pieces is WOULD_BLOCK:
                # While keys are exchanged libssh2 may hand out nothing of what has arrived:
                # only when more has come from the network it is worth another look.
                taken = connection.bytes_taken()
                if channel.has_arrived() and taken != looked_at:
                    looked_at = taken
                    self._read_stderr()
                elif not channel.at_eof():
                    turn = 0
                    connection.wait()
                continue
            if not pieces:
                self._read_stderr()
                end.begin(self._ended())
                return
            turn += sum(map(len, pieces))
            for waiter, reply in exchange.receive(*pieces):
                waiter(reply)
            if turn > _TURN:
                turn = 0
                gevent.sleep(0)

    def _read_stderr(self) -> None:
        data = self._connection.attempt(self._channel.read, STDERR, _READ_SIZE)
        if data is not WOULD_BLOCK:
            self._said = (self._said + data)[-_SAID_MAX:]

    def _ended(self) -> SFTPError:
        said = printable(self._said.decode("utf-8", "replace").strip())
        why = f"the server said {said!r}" if said else "the server closed it"
        return has_ended(self._connection.host, self._connection.port, why)

    def _release(self) -> None:
        """Bring the channel to its end, in the greenlet that has read from it.

        A server counts a session until its program has ended (sshd_config: MaxSessions).
        """
        connection, channel = self._connection, self._channel
        try:
            with gevent.Timeout(_ENDING_MAX, False):
                if connection.alive:
                    connection.call(channel.send_eof)
                while connection.alive and not channel.at_eof():
                    if all(
                        connection.attempt(channel.read, stream, _READ_SIZE) is WOULD_BLOCK
                        for stream in (STDOUT, STDERR)
                    ):
                        connection.wait()
                if connection.alive:
                    connection.call(channel.wait_closed)
            if connection.alive:
                connection.attempt(channel.close)
        except PSSHError:
            pass
        finally:
            connection.release(channel)
