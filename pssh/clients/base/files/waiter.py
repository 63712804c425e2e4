"""Who waits for the reply to an SFTP request."""

from __future__ import annotations

from collections.abc import Callable

from gevent.event import AsyncResult

from pssh.sftp.replies import DataPart, Reply

#: Is told of a reply, or of the error that there is in its place. Runs in the greenlet that
#: reads for everybody: it must not wait.
Waiter = Callable[[Reply | BaseException], object]


def setter(result: AsyncResult) -> Waiter:
    """Return a waiter that sets a result as soon as the reply is complete."""

    def tell(reply: Reply | BaseException) -> None:
        if isinstance(reply, BaseException):
            result.set_exception(reply)
        elif not isinstance(reply, DataPart) or not reply.remaining:
            result.set(reply)

    return tell
