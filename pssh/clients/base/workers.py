"""Greenlets that do one job after the other.

To begin a greenlet costs as much as everything else that this client does for a short command:
Python maps fresh memory for its frames, and unmaps it when it ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from gevent import getcurrent

#: So many wait for the next job: as many as the hosts that are worked on at the same time by
#: default. Each keeps some 20 KiB.
_IDLE_MAX = 100


def start(job: Callable[..., object], *args: Any) -> None:
    """Have a job done in a greenlet, from the loop's next turn on.

    Nobody can wait for it. What it raises is printed, as for any greenlet.

    :param job: what to do.
    :param args: its arguments.
    """
    hub = gevent.get_hub()
    workers: _Workers | None = hub.__dict__.get("_pssh_workers")
    if workers is None:
        workers = hub.__dict__["_pssh_workers"] = _Workers(hub)
    if workers.idle:
        hub.loop.run_callback(workers.idle.pop().switch, job, args)
    else:
        # What a greenlet is called with lives as long as it does, so the job is not among that.
        gevent.spawn_raw(workers.work, [(job, args)])


class _Workers:
    """The workers of a hub. Only of a hub: a greenlet that waits is not collected."""

    __slots__ = ("_hub", "idle")

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self.idle: list[Any] = []

    def work(self, first: list[tuple[Callable[..., object], tuple[Any, ...]]]) -> None:
        """Do a job, which it takes out of the list, and those after it: what each greenlet runs."""
        me = getcurrent()
        job, args = first.pop()
        while True:
            job(*args)
            # Until the next job comes it keeps nothing of this one.
            del job, args
            if len(self.idle) >= _IDLE_MAX:
                return
            self.idle.append(me)
            job, args = self._hub.switch()
