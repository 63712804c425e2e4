"""Signs of life from an idle server (ssh_config(5), ServerAliveInterval)."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import gevent

from pssh.exceptions import ConnectionLostError, PSSHError

if TYPE_CHECKING:
    from pssh.clients.base.connection import Connection

#: Answers to keep-alives that nobody reads pile up in the kernel on an idle connection.
#: From this many bytes on a channel is opened and closed, which reads them.
_UNREAD_MAX = 16 * 1024


class KeepAlive:
    """Asks the server for a sign of life, and ends the connection after some without one.

    Anything that comes from the server is a sign of life. The timer belongs to the loop and
    knows the connection only weakly: a connection that nobody needs goes.

    :param connection: the connection to keep.
    :param seconds: how often to ask.
    :param count_max: how many questions may stay without an answer; 0 for any number.
    """

    __slots__ = ("_connection", "_count_max", "_received", "_timer", "_unanswered", "seconds")

    def __init__(self, connection: Connection, seconds: float, count_max: int = 3) -> None:
        # libssh2 sends no more than one each two seconds.
        self.seconds = max(seconds, 2)
        self._connection = weakref.ref(connection)
        self._count_max = count_max
        self._received = -1
        self._unanswered = 0
        self._timer = gevent.get_hub().loop.timer(self.seconds, repeat=self.seconds, ref=False)
        self._timer.start(self._tick)

    def stop(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _tick(self) -> None:
        connection = self._connection()
        if connection is None or not connection.alive:
            self.stop()
            return
        received = connection.bytes_received()
        if received != self._received:
            self._received = received
            self._unanswered = 0
        if self._count_max and self._unanswered >= self._count_max:
            connection.fail(_no_answer(connection, self._unanswered * self.seconds))
            return
        self._unanswered += 1
        # A socket that takes nothing has unanswered data on its way already.
        if connection.writable():
            try:
                connection.session.send_keepalive()
            except PSSHError as ex:
                connection.fail(ex)
                return
        if not connection.busy and connection.bytes_unread() > _UNREAD_MAX:
            gevent.spawn(_read_answers, connection)


def _no_answer(connection: Connection, seconds: float) -> ConnectionLostError:
    return ConnectionLostError(
        "The connection to host %s:%s was lost: the server has not answered for %s seconds",
        connection.host,
        connection.port,
        seconds,
        host=connection.host,
        port=connection.port,
    )


def _read_answers(connection: Connection) -> None:
    try:
        channel = connection.open_session()
        connection.call(channel.close)
        connection.release(channel)
    except PSSHError as ex:
        if connection.alive and isinstance(ex, ConnectionLostError):
            connection.fail(ex)
