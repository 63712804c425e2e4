"""A limit on how long a step may take."""

from __future__ import annotations

from types import TracebackType

import gevent

from pssh.exceptions import Timeout


class Deadline:
    """Raise :class:`pssh.exceptions.Timeout`, naming host and step, when a block takes longer.

    :param seconds: how long it may take; ``None`` or 0 for as long as it likes.
    :param host: the host, for the message.
    :param port: its port.
    :param step: what is being done, such as ``"connect"``; may be changed on the way.
    """

    __slots__ = ("_timer", "host", "port", "seconds", "step")

    def __init__(self, seconds: float | None, host: str, port: int | None, step: str) -> None:
        self.seconds = seconds
        self.host = host
        self.port = port
        self.step = step
        self._timer: gevent.Timeout | None = None

    def __enter__(self) -> Deadline:
        if self.seconds:
            self._timer = gevent.Timeout.start_new(self.seconds)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is None:
            return
        self._timer.close()
        if error is self._timer:
            raise self.error() from None

    def error(self) -> Timeout:
        """Make the error for this deadline."""
        return Timeout(
            "Host %s:%s took longer than %s seconds to %s",
            self.host,
            self.port,
            self.seconds,
            self.step,
            host=self.host,
            port=self.port,
            step=self.step,
        )
