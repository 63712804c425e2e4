"""The end of an SFTP session: that it has come, and why."""

from __future__ import annotations

import gevent
from gevent.event import Event

from pssh.clients.base.connection import Connection
from pssh.clients.base.files.waiter import Waiter
from pssh.exceptions import ConnectionLostError, PSSHError, SFTPError
from pssh.sftp.exchange import Exchange


class SessionEnd:
    """Why an SFTP session can be used no more, once it cannot.

    :param connection: the connection that the session is on.
    :param exchange: knows who waits for replies.
    :param told: is set at the end as well: what it stands for will not come any more.

    :ivar cause: what has ended it; ``None`` as long as it can be used.
    :ivar interrupted: whether that was Ctrl-C in the middle of a packet.
    :ivar reader: the greenlet that gives the channel back.
    """

    __slots__ = (
        "_connection",
        "_exchange",
        "_over",
        "_told",
        "cause",
        "interrupted",
        "reader",
    )

    def __init__(self, connection: Connection, exchange: Exchange[Waiter], told: Event) -> None:
        self._connection = connection
        self._exchange = exchange
        self._told = told
        self._over = Event()
        self.cause: BaseException | None = None
        self.interrupted = False
        self.reader: gevent.Greenlet | None = None

    def begin(self, cause: BaseException) -> None:
        """End the session; whoever waits for a reply gets the error. The first cause counts."""
        if self.cause is None:
            self.cause = cause
        if self.reader is not None:
            # A server counts the session until it has been released.
            self._connection.ending.add(self.reader)
            self._connection.ended = True
        self._told.set()
        self._over.set()
        for waiter in self._exchange.close():
            waiter(self.error())
        self._connection.wake()

    def interrupt(self, cause: BaseException) -> None:
        """End the session because Ctrl-C came in the middle of a packet."""
        self.interrupted = True
        self.begin(cause)

    def wait(self, seconds: float) -> None:
        """Wait until somebody has found the end.

        :param seconds: how long that may take.
        """
        with gevent.Timeout(seconds, False):
            self._over.wait()

    def check(self) -> None:
        """Raise why the session cannot be used any more, where that is so.

        :raises SFTPError: when it has ended.
        :raises ConnectionLostError: when its connection has been lost.
        """
        if self.cause is not None:
            raise self.error()

    def error(self) -> PSSHError:
        """Make the error that tells why the session cannot be used any more.

        One for each who asks: the tracebacks of several greenlets must not mix.
        """
        cause, host, port = self.cause, self._connection.host, self._connection.port
        if isinstance(cause, ConnectionLostError):
            made: PSSHError = self._connection.end()
        elif isinstance(cause, SFTPError):
            made = type(cause)(*cause.args, host=host, port=port)
        else:
            why = cause if isinstance(cause, PSSHError) else "a request was interrupted"
            made = has_ended(host, port, why)
        made.__cause__ = cause
        return made


def has_ended(host: str, port: int, why: object) -> SFTPError:
    """Make the error for a session that has ended.

    :param why: the reason, as it is to be read.
    """
    message = "The SFTP session with host %s:%s has ended: %s"
    return SFTPError(message, host, port, why, host=host, port=port)
