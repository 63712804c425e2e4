"""What is received, on its way to the local disk: in threads, so that nobody waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import gevent
from gevent.event import Event

from pssh.clients.base.files.scp_target import LocalTarget
from pssh.clients.base.threads import in_thread, outcome, pool

#: Bytes that may wait to be written. Beyond it nothing more is to be received.
_UNWRITTEN_MAX: Final = 8 * 1024 * 1024
#: What is written at once.
_WRITE_SIZE: Final = 1024 * 1024
#: Seconds that less than that may wait.
_WRITE_DELAY: Final = 0.1
#: What a piece of data, or something else to be done, takes besides its own bytes.
_OVERHEAD: Final = 256

_Job = tuple[Callable[..., object], tuple[Any, ...]]


class Writer:
    """Has things written in threads, in order: as many together as have come meanwhile.

    :param target: where.
    """

    __slots__ = (
        "_error",
        "_jobs",
        "_parts",
        "_size",
        "_started",
        "_stepped",
        "_target",
        "_writing",
    )

    def __init__(self, target: LocalTarget) -> None:
        self._target = target
        self._jobs: list[_Job] = []
        #: What the last job writes, if it writes data.
        self._parts: list[memoryview] | None = None
        self._size = 0
        self._writing = 0
        self._started = 0.0
        self._error: Exception | None = None
        self._stepped = Event()

    def do(self, method: Callable[..., object], *args: Any) -> None:
        """Have a method of the target called."""
        self._jobs.append((method, args))
        self._parts = None
        self._size += _OVERHEAD

    def write(self, data: memoryview) -> None:
        """Have data written to the current file."""
        if self._parts is None:
            parts: list[memoryview] = []
            self.do(self._target.write, parts)
            self._parts = parts
        self._parts.append(data)
        self._size += len(data) + _OVERHEAD

    def keep_up(self) -> None:
        """Have written what is enough for it; wait where too much waits.

        :raises OSError: when something could not be written.
        """
        while True:
            self._check()
            enough = self._size >= _WRITE_SIZE
            if self._jobs and (enough or time.monotonic() - self._started > _WRITE_DELAY):
                self._start()
                # Others have their turn, however fast the host is.
                gevent.sleep(0)
            if self._size + self._writing <= _UNWRITTEN_MAX:
                return
            self._wait()

    def settle(self) -> None:
        """Wait until everything is written.

        :raises OSError: when something could not be written.
        """
        while self._jobs or self._writing:
            self._check()
            self._start()
            self._wait()
        self._check()

    def stop(self) -> None:
        """Wait for what is being written, forget the rest, and leave the target."""
        self._jobs, self._size = [], 0
        while self._writing:
            self._wait()
        in_thread(self._target.close)

    def _start(self) -> None:
        if self._writing or not self._jobs:
            return
        jobs, self._writing = self._jobs, self._size
        self._jobs, self._parts, self._size = [], None, 0
        self._started = time.monotonic()
        pool("files").spawn(outcome, _run, jobs).rawlink(self._written)

    def _written(self, result: Any) -> None:
        self._writing = 0
        self._error = self._error or result.value[1]
        self._stepped.set()

    def _wait(self) -> None:
        if self._writing:
            self._stepped.clear()
            self._stepped.wait()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error


def _run(jobs: list[_Job]) -> None:
    for method, args in jobs:
        method(*args)
