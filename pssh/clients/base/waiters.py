"""The greenlets that wait for a socket, and how they are woken."""

from __future__ import annotations

from typing import Any

import gevent
from gevent import getcurrent


class Waiters:
    """Wakes everybody who waits when a socket is ready, or when somebody says so.

    One watcher serves them all: which of them what has come is for nobody knows before he has
    looked.

    :param descriptor: the socket's.
    :ivar waiting: who waits for the socket; a dict because it keeps the order and forgets in one
        step.
    :ivar parked: who waits for :meth:`wake` alone.
    """

    __slots__ = ("_callback_due", "_events", "_hub", "_watcher", "_watching", "parked", "waiting")

    def __init__(self, descriptor: int) -> None:
        self._hub = gevent.get_hub()
        self._events = 1
        self._watcher = self._hub.loop.io(descriptor, self._events)
        self._watching = 0
        self.waiting: dict[Any, None] = {}
        self.parked: dict[Any, None] = {}
        self._callback_due = False

    def __bool__(self) -> bool:
        """Whether somebody waits, or has parked."""
        return bool(self.waiting or self.parked)

    def wait(self, events: int) -> None:
        """Sleep until the socket is ready, or until :meth:`wake`.

        :param events: what for, in libev's bits: 1 to be read, 2 to be written. What the last one
            says who comes here holds for all.
        """
        me = getcurrent()
        self.waiting[me] = None
        self._watch(events)
        try:
            self._hub.switch()
        finally:
            self.waiting.pop(me, None)

    def park(self) -> None:
        """Sleep until :meth:`wake`, whatever becomes of the socket."""
        me = getcurrent()
        self.parked[me] = None
        try:
            self._hub.switch()
        finally:
            self.parked.pop(me, None)

    def wake(self) -> None:
        """Let everyone who waits or has parked look again, in the loop's next turn."""
        if (self.waiting or self.parked) and not self._callback_due:
            self._callback_due = True
            self._hub.loop.run_callback(self._resume_all)

    def stop_watching(self) -> None:
        """Leave the descriptor alone; whoever waits sleeps until :meth:`wake`."""
        if self._watching:
            self._watcher.stop()
            self._watching = 0

    def close(self) -> None:
        """Leave the descriptor alone for good."""
        self.stop_watching()
        self._watcher.close()

    def _watch(self, events: int) -> None:
        # gevent stops a watcher when what it calls raises, as it does when Ctrl-C comes there.
        if events == self._watching and self._watcher.active:
            return
        if self._watching:
            self._watcher.stop()
        if events != self._events:
            self._watcher.events = self._events = events
        self._watcher.start(self._resume)
        self._watching = events

    def _resume(self) -> None:
        """Runs in the loop: switch to everyone who waited until now."""
        self._give_turns(self.waiting)

    def _resume_all(self) -> None:
        """Runs in the loop: switch to everyone who waits or has parked."""
        self._callback_due = False
        self._give_turns(self.parked)
        self._give_turns(self.waiting)

    def _give_turns(self, greenlets: dict[Any, None]) -> None:
        # Each forgets itself as it goes on. So nobody is forgotten without a turn, wherever Ctrl-C
        # comes here.
        try:
            for greenlet in tuple(greenlets):
                if greenlet in greenlets:
                    greenlet.switch()
        except BaseException:
            # Of somebody who had a turn, or Ctrl-C. Who is left watches anew after his own turn.
            self.stop_watching()
            self.wake()
            raise
        if not self.waiting:
            self.stop_watching()
