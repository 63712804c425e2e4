"""How long a connection can be used, in which thread, and why not any more."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

from gevent.monkey import get_original

from pssh.exceptions import ConnectionLostError, InvalidAPIUseError

# The real one, also when the program has made the standard library cooperative.
get_ident: Callable[[], int] = get_original("_thread", "get_ident")


class Lifetime:
    """Begins with the connection, in the thread that makes it; is lost, or closed, once.

    :param host: the host's name, for messages.
    :param port: its port.
    :ivar usable_in: the number of the thread that can use the connection; 0, which no thread has,
        from the end on. One comparison tells all that each call of the library has to know.
    :ivar lost: why the connection was lost, if it was.
    :ivar closed: whether this side has closed it.
    """

    __slots__ = ("_host", "_port", "_thread", "closed", "lost", "usable_in")

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._thread = self.usable_in = get_ident()
        self.lost: BaseException | None = None
        self.closed = False

    @property
    def is_here(self) -> bool:
        """Whether this is the thread that the connection belongs to, used or not.

        The garbage collector may run in any other.
        """
        return get_ident() == self._thread

    def lose(self, why: BaseException) -> None:
        """The connection cannot be used any more.

        :param why: the reason.
        """
        self.lost = why
        self.usable_in = 0

    def close(self) -> None:
        """This side has done with the connection."""
        self.closed = True
        self.usable_in = 0

    def check(self) -> None:
        """Raise unless the connection can be used here.

        :raises InvalidAPIUseError: in any other thread than its own.
        :raises ConnectionLostError: when it has ended.
        """
        if not self.is_here:
            raise InvalidAPIUseError(
                "The connection to host %s belongs to the thread that opened it. "
                "Use one client for each thread",
                self._host,
                host=self._host,
            )
        if not self.usable_in:
            raise self.error() from self.lost

    def error(self) -> ConnectionLostError:
        """Make the error that tells why the connection cannot be used any more.

        One for each who asks: the tracebacks of several greenlets must not mix.
        """
        if isinstance(self.lost, ConnectionLostError):
            made = copy(self.lost)
            made.host, made.port = self._host, self._port
            return made
        message, *reason = (
            ("The connection to host %s:%s has been closed by this client",)
            if self.lost is None
            else ("The connection to host %s:%s was lost: %s", self.lost)
        )
        return ConnectionLostError(
            message, self._host, self._port, *reason, host=self._host, port=self._port
        )
