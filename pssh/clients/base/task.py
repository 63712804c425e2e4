"""Work on one host, as a greenlet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent import Greenlet
from gevent.event import AsyncResult


class Task(Greenlet):  # type: ignore[misc]
    """A greenlet whose error is for whoever asks for it.

    An ordinary greenlet also prints what it raises on standard error, which for one host in
    a thousand that is unreachable is nothing but noise.

    :param function: what to do.
    :param args: its arguments.
    """

    #: Where it was started from is no news: gevent need not keep it.
    spawning_stack_limit = 0

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        super().__init__(self._attempt, function, *args)
        self._error: Exception | None = None

    def _attempt(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except Exception as ex:  # noqa: BLE001 (kept for whoever asks)
            self._error = ex
            return None
        finally:
            # The error's traceback has this frame, which would hold the task, and so the error,
            # and whatever else of an attempt that has failed is open until it is forgotten.
            del self

    @property
    def exception(self) -> BaseException | None:
        """What it failed with; ``None`` while it runs, or when it has not failed."""
        if self._error is not None:
            return self._error
        failed: BaseException | None = super().exception
        return failed

    def successful(self) -> bool:
        """Whether it has ended without an error."""
        return self._error is None and bool(super().successful())

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Wait for it, and return its result or raise its error.

        :param block: with ``False`` raise ``gevent.Timeout`` at once while it runs.
        :param timeout: seconds to wait before raising ``gevent.Timeout``.
        """
        result = super().get(block, timeout)
        if self._error is not None:
            raise self._error
        return result

    def _raise_exception(self) -> None:
        """What ``gevent.joinall(..., raise_error=True)`` calls."""
        if self._error is not None:
            raise self._error
        super()._raise_exception()


class CommandStart(AsyncResult):  # type: ignore[misc]
    """The start of a command on one host: its output, or why it was not started.

    It can be waited for like a greenlet. The greenlet that started the command has gone on
    to read it.

    :ivar unreachable: whether it was not started for want of a connection.
    :ivar starter: the greenlet that is starting it, while it does.
    """

    unreachable = False
    starter: Any = None

    def join(self, timeout: float | None = None) -> None:
        """Wait until the command has been started, or has failed to.

        :param timeout: for so many seconds at most.
        """
        self.wait(timeout)
