"""Local files that are written: in threads, unless they are nowhere but in memory."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from typing import Any

import gevent

from pssh.clients.base.files import page_cache
from pssh.clients.base.files.descriptor import Descriptor
from pssh.clients.base.threads import in_thread, outcome, pool
from pssh.local_path import WRITE_FLAGS
from pssh.utils import logger

#: How many pieces the system takes at once (IOV_MAX).
_PIECES_MAX = 1024


def write_at(descriptor: int, offset: int, parts: Sequence[memoryview]) -> None:
    """Write bytes that belong together, all of them.

    :param descriptor: the open file.
    :param offset: where they belong, in bytes.
    :param parts: the bytes.
    :raises OSError: when there is no room.
    """
    if len(parts) > _PIECES_MAX:
        parts = [memoryview(b"".join(parts))]
    written = os.pwritev(descriptor, parts, offset)
    if written == sum(map(len, parts)):
        return
    rest = memoryview(b"".join(parts))[written:]
    while rest:
        offset += written
        written = os.pwrite(descriptor, rest, offset)
        rest = rest[written:]


class Target:
    """A local file that is written.

    :param path: its path; a symbolic link there is followed only where the user named it.
    :param mode: its permissions if it is new.
    :param keep: go on with what is there already, rather than from the beginning.
    :param follow: whether the last component may be a symbolic link.

    :ivar in_memory: whether writing it never waits: a thread would cost more than the writing does.
    """

    __slots__ = ("_file", "in_memory", "path", "status")

    def __init__(self, path: str, mode: int, *, keep: bool, follow: bool) -> None:
        self.path = path
        opening = pool("files").spawn(outcome, _open_target, path, mode, keep, follow)
        try:
            opened, error = opening.get()
        except BaseException:
            # Whoever waited is given up, and the thread makes the file all the same.
            opening.rawlink(lambda made: gevent.spawn(_abandon, path, keep, made.value))
            raise
        if error is not None:
            raise error
        self._file: Descriptor = opened[0]
        self.status: os.stat_result = opened[1]
        self.in_memory: bool = opened[2]

    @property
    def size(self) -> int:
        """How many bytes were there."""
        return self.status.st_size

    @property
    def is_regular(self) -> bool:
        """Whether it is a regular file: a device stays as it is."""
        return stat.S_ISREG(self.status.st_mode)

    def write(self, offset: int, parts: Sequence[memoryview]) -> None:
        """Write bytes that belong together. In a thread, unless it is all ``in_memory``.

        :raises OSError: when there is no room.
        """
        self._file.call(write_at, offset, parts)

    def finish(self, size: int, mode: int | None, times: tuple[int, int] | None) -> None:
        """Give the file its length, its permissions and its times, and close it.

        :param size: its length in bytes.
        :param mode: its permissions; ``None`` to leave them.
        :param times: when it was read and changed last, in nanoseconds; ``None`` to leave them.
        :raises OSError: when that cannot be done.
        """
        in_thread(self._finish, size, mode, times)

    def _finish(self, size: int, mode: int | None, times: tuple[int, int] | None) -> None:
        if self.is_regular:
            self._file.call(os.ftruncate, size)
            if mode is not None:
                self._set_mode(mode, must=times is not None)
            if times is not None:
                self._file.call(_set_times, times)
        # A network file system may tell only now that there was no room.
        self._file.close()

    def _set_mode(self, mode: int, *, must: bool) -> None:
        try:
            self._file.call(os.fchmod, mode)
        except PermissionError as ex:
            # A file of somebody else's that we may write: its mode is not ours to change.
            if must:
                raise
            logger.warning("The mode of %s stays as it is: %s", self.path, ex.strerror)

    def keep_only(self, size: int) -> None:
        """Cut off what is behind a gap.

        :param size: how many bytes are without one.
        """
        if self.is_regular:
            in_thread(self._file.call, os.ftruncate, size)

    def close(self) -> None:
        """Close the file as it is."""
        with contextlib.suppress(OSError):
            self._file.close()

    def remove(self) -> None:
        """Close the file and remove it, not a symbolic link that led to it."""
        in_thread(self._remove)

    def _remove(self) -> None:
        self.close()
        with contextlib.suppress(OSError):
            if self.is_regular:
                os.unlink(os.path.realpath(self.path))

    def __del__(self) -> None:
        # The thread that opened it may keep what it returned for a while.
        if hasattr(self, "_file"):
            self.close()


def _open_target(
    path: str, mode: int, keep: bool, follow: bool
) -> tuple[Descriptor, os.stat_result, bool]:
    flags = WRITE_FLAGS & ~os.O_NOFOLLOW if follow else WRITE_FLAGS
    # Nobody else may read it before it has its own permissions.
    # And we ourselves may have to go on with it.
    file = Descriptor(os.open(path, flags, mode & 0o700 | 0o600))
    try:
        status = file.call(os.fstat)
        # A device may be waited for wherever its name is.
        is_regular = stat.S_ISREG(status.st_mode)
        in_memory = is_regular and file.call(page_cache.is_in_memory)
        if is_regular and not keep:
            file.call(os.ftruncate, 0)
    except BaseException:
        file.close()
        raise
    return file, status, in_memory


def _abandon(path: str, keep: bool, opened: tuple[Any, Exception | None]) -> None:
    """Close, and remove unless it is to be kept, a file that was opened for nobody."""
    if opened[1] is None:
        file, status, _ = opened[0]
        file.close()
        if not keep and stat.S_ISREG(status.st_mode):
            with contextlib.suppress(OSError):
                in_thread(os.unlink, os.path.realpath(path))


def _set_times(descriptor: int, times: tuple[int, int]) -> None:
    os.utime(descriptor, ns=times)
