"""A file or directory that an SFTP server has opened for us."""

from __future__ import annotations

import contextlib
import copy
import sys
import time
from collections.abc import Callable
from types import TracebackType

import gevent
from gevent.event import AsyncResult

from pssh.clients.base.files.session import SFTPSession
from pssh.exceptions import PSSHError, SFTPError
from pssh.sftp import requests
from pssh.sftp.names import printable
from pssh.sftp.replies import Handle, Reply, Status
from pssh.sftp.requests import Request


class OpenHandle:
    """A file or directory that a server has opened for us, and that it has to close again.

    :param session: the SFTP session.
    :param value: the server's name for it.
    :param path: its path, for errors.
    """

    __slots__ = ("_hub", "path", "session", "value")

    def __init__(self, session: SFTPSession, value: bytes, path: bytes) -> None:
        self.session = session
        self.value = value
        self.path = path
        self._hub = gevent.get_hub()

    @classmethod
    def open(cls, session: SFTPSession, request: Request, action: str, path: bytes) -> OpenHandle:
        """Open a file or directory.

        :param request: one that is answered with a handle.
        :param action: what it does, as in "could not …".
        :raises SFTPIOError: when the server refuses.
        """
        began = time.monotonic()
        with Opening(session, request) as opening:
            reply = opening.wait(action)
            session.answered_since(began)
        if isinstance(reply, Status):
            raise session.refusal(reply, action, path)
        return cls(session, reply.handle, path)

    def close(self) -> None:
        """Close it, and wait for the answer.

        :raises SFTPIOError: when the server finds only now that something went wrong.
        """
        self.session.request(requests.close(self.value), Status, "close", self.path)

    def close_unseen(self) -> None:
        """Close it, whatever the answer will be. Nothing happens where the session has ended."""
        with contextlib.suppress(PSSHError):
            self.session.submit(requests.close(self.value), _ignore)

    def soon(self, function: Callable[..., object], *args: object) -> None:
        """Have a function called in a greenlet of its own.

        For the garbage collector: it runs in the middle of anything, in any thread, and when
        hardly anything is left of the interpreter.
        """
        loop = self._hub.loop
        if loop is not None and not sys.is_finalizing():
            loop.run_callback_threadsafe(gevent.spawn, function, *args)

    def error(self, reply: Reply | BaseException | None, action: str) -> Exception:
        """Make the error for a request that was not answered as it should be.

        One for each who asks: the tracebacks of several greenlets must not mix.
        """
        if isinstance(reply, Status):
            return self.session.refusal(reply, action, self.path)
        if isinstance(reply, PSSHError):
            return copy.copy(reply)
        session = self.session
        return SFTPError(
            "Could not %s %s on host %s:%s: it was interrupted (%s)",
            action,
            printable(self.path),
            session.host,
            session.port,
            type(reply).__name__,
            host=session.host,
            port=session.port,
        )


class Opening:
    """A request for a handle: one that comes when nobody wants it any more is closed.

    A context manager; whoever leaves it by an error wants the handle no more.

    :param session: the SFTP session.
    :param request: is sent. It is answered with a handle.
    :raises SFTPError: when the session has ended.
    """

    __slots__ = ("_answer", "_given_up", "_session")

    def __init__(self, session: SFTPSession, request: Request) -> None:
        self._answer: AsyncResult = AsyncResult()
        self._session = session
        self._given_up = False
        try:
            session.submit(request, self._answered)
        except BaseException:
            # It may have been sent all the same.
            self._give_up()
            raise

    def wait(self, action: str) -> Handle | Status:
        """Wait for the answer.

        :param action: what it does, as in "took longer to …".
        """
        reply = self._session.wait_for(self._answer, action)
        assert isinstance(reply, Handle | Status)
        return reply

    def __enter__(self) -> Opening:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._give_up()

    def _answered(self, reply: Reply | BaseException) -> None:
        if isinstance(reply, BaseException):
            self._answer.set_exception(reply)
        else:
            self._answer.set(reply)
        if self._given_up:
            self._close()

    def _give_up(self) -> None:
        self._given_up = True
        self._close()

    def _close(self) -> None:
        reply = self._answer.value
        if isinstance(reply, Handle):
            gevent.spawn(OpenHandle(self._session, reply.handle, b"").close_unseen)


def _ignore(_reply: Reply | BaseException) -> None:
    pass
