"""What a copy is asked for, and how far it has got."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import gevent

#: Called with host, remote path, bytes done and bytes in all.
Progress = Callable[[str, str, int, int], object]


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """How files are copied.

    :param preserve_times: give the copy the times of the original.
    :param atomic: write beside the target, and rename over it when all is there.
    :param resume: go on where an earlier copy was cut off, and keep what is there when this one
        is.
    :param progress: called as a file gets on.
    :param limit_rate: bytes per second, for all files of the copy together.
    :raises ValueError: when options have impossible values, or contradict each other.
    """

    preserve_times: bool = False
    atomic: bool = False
    resume: bool = False
    progress: Progress | None = None
    limit_rate: float | None = None

    def __post_init__(self) -> None:
        if self.limit_rate is not None and not self.limit_rate > 0:
            raise ValueError("limit_rate must be a number of bytes per second, more than 0")
        if self.progress is not None and not callable(self.progress):
            raise ValueError("progress must be a function of host, path, bytes done and bytes")
        if self.atomic and self.resume:
            raise ValueError("atomic leaves nothing behind that resume could go on with")


class Rate:
    """Holds a copy back to so many bytes per second.

    :param limit: bytes per second; ``None`` for as fast as it goes.
    """

    __slots__ = ("_limit", "_next")

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._next = 0.0

    def pause(self, count: int) -> None:
        """Wait until so many bytes more may be sent or asked for."""
        if self._limit is None:
            return
        now = time.monotonic()
        start = max(self._next, now)
        self._next = start + count / self._limit
        if start > now:
            gevent.sleep(start - now)

    def piece(self, size: int) -> int:
        """Return how much to move at once: a tenth of a second's worth where that is less."""
        return size if self._limit is None else max(1, int(min(size, self._limit / 10)))


class Meter:
    """Tells whoever wants to know how far the copy of a file has got.

    :param host: the host.
    :param path: the remote path.
    :param total: bytes in all.
    :param progress: whom to tell.
    """

    __slots__ = ("_host", "_path", "_progress", "_told", "total")

    def __init__(self, host: str, path: str, total: int, progress: Progress | None) -> None:
        self._host = host
        self._path = path
        self._progress = progress
        self._told = -1
        self.total = total

    def tell(self, done: int) -> None:
        """Tell that so many bytes are done. That it is all :meth:`finish` tells, also of none."""
        if self._progress is not None and done != self._told and done < self.total:
            self._told = done
            self._progress(self._host, self._path, done, self.total)

    def finish(self, done: int) -> None:
        """Tell that the copy is there, with so many bytes."""
        if self._progress is not None:
            self._progress(self._host, self._path, done, done)


class Prefix:
    """Knows how far a file is without gaps, when its parts come in any order.

    :param start: bytes that are there already.
    """

    __slots__ = ("_beyond", "end")

    def __init__(self, start: int) -> None:
        self.end = start
        self._beyond: dict[int, int] = {}

    def add(self, offset: int, size: int) -> None:
        """A part is there."""
        self._beyond[offset] = size
        while self.end in self._beyond:
            self.end += self._beyond.pop(self.end)
