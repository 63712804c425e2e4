"""A limit on how long a step may take."""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from time import monotonic
from types import TracebackType
from typing import Any

import gevent
from gevent import getcurrent

from pssh.exceptions import Timeout


class Deadline:
    """Raise :class:`pssh.exceptions.Timeout`, naming host and step, when a block takes longer.

    :param seconds: how long it may take; ``None``, 0 or infinity for as long as it likes.
    :param host: the host, for the message.
    :param port: its port.
    :param step: what is being done, such as ``"connect"``; may be changed on the way.
    """

    __slots__ = ("_alarm", "_expired", "_greenlet", "host", "port", "seconds", "step")

    def __init__(self, seconds: float | None, host: str, port: int | None, step: str) -> None:
        self.seconds = seconds
        self.host = host
        self.port = port
        self.step = step
        # The rest only where there is a limit: there are several of these for each command.
        self._alarm: _Alarm | None = None
        self._greenlet: Any
        self._expired: gevent.Timeout | None

    def __enter__(self) -> Deadline:
        if self.seconds and self.seconds < math.inf:
            self._greenlet = getcurrent()
            self._expired = None
            self._alarm = _alarm_of_this_hub()
            self._alarm.set(self, self.seconds)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._alarm is None:
            return
        if self._greenlet is not None:
            self._greenlet = None
            self._alarm.one_is_over()
        if error is not None and error is self._expired:
            raise self.error() from None

    @property
    def over(self) -> bool:
        """Whether it is not waited for: its block has been left, or was told."""
        return self._greenlet is None

    def expire(self) -> None:
        """End the block. Runs in the loop."""
        greenlet, self._greenlet = self._greenlet, None
        self._expired = gevent.Timeout(self.seconds)
        greenlet.throw(self._expired)

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


#: So many that are over stay before those that are not are sorted anew.
_OVER_MAX = 1000


class _Alarm:
    """The deadlines of a hub on one timer.

    Nearly all blocks are left long before. To make, start, stop and close a timer for each
    would cost more than all else that a short command needs of its deadlines.
    """

    __slots__ = ("_deadlines", "_loop", "_made", "_pending", "_rings_at", "_timer")

    def __init__(self) -> None:
        self._loop = gevent.get_hub().loop
        self._timer: Any = None
        self._rings_at = math.inf
        #: A heap. Those that are over stay in it until it is their turn, or there are many.
        self._deadlines: list[tuple[float, int, Deadline]] = []
        self._made = 0
        self._pending = 0

    def set(self, deadline: Deadline, seconds: float) -> None:
        """Have a deadline expire.

        :param seconds: from now.
        """
        self._pending += 1
        self._made += 1
        at = monotonic() + seconds
        heappush(self._deadlines, (at, self._made, deadline))
        if at < self._rings_at:
            self._start(at, seconds)
        elif self._pending == 1:
            self._timer.ref = True

    def one_is_over(self) -> None:
        """A deadline that was set need not expire any more."""
        self._pending -= 1
        if not self._pending:
            # The timer runs on for the next one, but the loop may end without it.
            self._deadlines.clear()
            if self._timer is not None:
                self._timer.ref = False
        elif len(self._deadlines) > 2 * self._pending + _OVER_MAX:
            self._deadlines = [each for each in self._deadlines if not each[2].over]
            heapify(self._deadlines)

    def _start(self, at: float, seconds: float) -> None:
        self._stop()
        self._rings_at = at
        self._timer = self._loop.timer(max(seconds, 0))
        self._timer.start(self._ring, update=True)

    def _stop(self) -> None:
        self._rings_at = math.inf
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _ring(self) -> None:
        """Runs in the loop."""
        self._stop()
        now = monotonic()
        try:
            # While one expires others may be set, be over, and be sorted anew.
            while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][2].over):
                deadline = heappop(self._deadlines)[2]
                if not deadline.over:
                    self._pending -= 1
                    deadline.expire()
        finally:
            # What a greenlet dies of comes out here, as Ctrl-C may: the others are not forgotten.
            if self._deadlines:
                at = self._deadlines[0][0]
                self._start(at, at - monotonic())


def _alarm_of_this_hub() -> _Alarm:
    state = gevent.get_hub().__dict__
    alarm: _Alarm | None = state.get("_pssh_alarm")
    if alarm is None:
        alarm = state["_pssh_alarm"] = _Alarm()
    return alarm
