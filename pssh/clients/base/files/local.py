"""Local files. What may have to wait, for a slow disk or a network one, does so in threads."""

from __future__ import annotations

import contextlib
import copy
import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import gevent
from gevent.event import AsyncResult

from pssh.clients.base.files import page_cache
from pssh.clients.base.files.descriptor import Descriptor
from pssh.clients.base.files.page_cache import Block, ReadNow
from pssh.clients.base.threads import in_thread, outcome, pool
from pssh.local_path import READ_FLAGS, WRITE_FLAGS
from pssh.utils import logger

#: What is read at once: four of the longest writes that OpenSSH's SFTP server takes (255 KiB),
#: with no short one left over.
BLOCK = 1020 * 1024
#: What is read at once of a file that is nowhere but in memory: one of those writes. More would not
#: be in the processor's cache any more when it is sent.
PIECE = BLOCK // 4
#: Blocks of a file that stay for other hosts which are a little behind.
_BLOCKS_KEPT = 8


class Source:
    """A local file that is read, for one host or for several at the same time.

    A block that one host has just read is there for the next. So reading a file for a hundred
    hosts takes no more memory than eight blocks and what each of them is sending.

    What is in memory is read here, because a thread would cost more than the reading does.

    :param path: its path.

    :ivar in_memory: whether all that was asked for until now was there without waiting.
    """

    __slots__ = (
        "_blocks",
        "_file",
        "_only_in_memory",
        "_read_now",
        "_reading",
        "in_memory",
        "path",
        "status",
        "users",
    )

    def __init__(self, path: str) -> None:
        self.path = path
        self.in_memory = True
        #: How many hosts it is being sent to.
        self.users = 0
        self._blocks: OrderedDict[int, Block] = OrderedDict()
        self._reading: dict[int, AsyncResult] = {}
        opened = in_thread(_open_source, path)
        self._file, self.status, self._read_now, self._only_in_memory = opened

    @property
    def size(self) -> int:
        """How many bytes it had when it was opened."""
        return self.status.st_size

    def block(self, number: int) -> Block:
        """Return a block of ``BLOCK`` bytes; less where the file ends.

        :param number: its number, from 0.
        :raises OSError: when it cannot be read.
        """
        found = self._blocks.get(number)
        if found is not None:
            self._blocks.move_to_end(number)
            return found
        reading = self._reading.get(number)
        if reading is None and self.in_memory:
            # A slow disk is not asked for each block whether it is fast.
            there = self._block_in_memory(number)
            if there is not None:
                return there
            self.in_memory = False
        if reading is None:
            reading = self._reading[number] = AsyncResult()
            # Not here: whoever asks first may be given up while others wait for the block.
            gevent.spawn_raw(self._read, number, reading)
        data: Block
        data, error = reading.get()
        if error is not None:
            # Each host adds its name to its own.
            raise copy.copy(error)
        return data

    def _read(self, number: int, reading: AsyncResult) -> None:
        data, error = outcome(in_thread, self._file.call, os.pread, BLOCK, number * BLOCK)
        del self._reading[number]
        reading.set((data, error))
        if error is None:
            self._keep(number, data)

    def _block_in_memory(self, number: int) -> Block | None:
        offset = number * BLOCK
        size = min(BLOCK, max(0, self.size - offset))
        data = self._file.call(self._read_now, size, offset)
        if data is None or len(data) < size:
            # The rest is elsewhere, or the file has become shorter: that is found out in a thread.
            return None
        self._keep(number, data)
        return data

    def _keep(self, number: int, data: Block) -> None:
        self._blocks[number] = data
        while len(self._blocks) > (_BLOCKS_KEPT if self.users > 1 else 1):
            self._blocks.popitem(last=False)

    def piece_in_memory(self, offset: int) -> Block | None:
        """Return up to ``PIECE`` bytes of a file that is nowhere but in memory, for one host alone.

        :param offset: where they begin; further ones begin at multiples of ``PIECE``.
        :returns: ``None`` where the file is elsewhere, or ends before.
        """
        if not self._only_in_memory:
            # Of the page cache whole blocks cost less.
            return None
        size = min(PIECE - offset % PIECE, max(0, self.size - offset))
        data = self._file.call(self._read_now, size, offset)
        return data if data is not None and len(data) == size else None

    def has_changed(self) -> bool:
        """Whether the file is another one than it was when it was opened."""
        now = in_thread(self._file.call, os.fstat)
        before = self.status
        return (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._blocks.clear()

    def __del__(self) -> None:
        # The thread that opened it may keep what it returned for a while.
        if hasattr(self, "_file"):
            self._file.close()


class Sources:
    """The local files that the hosts of a client are being sent at the moment."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[str, Source] = {}

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[Source]:
        """Open a file, or share it with those who have it open.

        :param path: its path.
        :raises OSError: when it cannot be read.
        """
        source = self._open.get(path)
        if source is None:
            made = Source(path)
            # Opening takes its time: another host may have been faster.
            source = self._open.setdefault(path, made)
            if source is not made:
                made.close()
        source.users += 1
        try:
            yield source
        finally:
            source.users -= 1
            if not source.users:
                del self._open[path]
                source.close()


def _open_source(path: str) -> tuple[Descriptor, os.stat_result, ReadNow, bool]:
    file = Descriptor(os.open(path, READ_FLAGS))
    try:
        status = file.call(os.fstat)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "It is not a regular file", path)
        read_now = file.call(page_cache.reader)
        only_in_memory = file.call(page_cache.is_in_memory)
    except BaseException:
        file.close()
        raise
    return file, status, read_now, only_in_memory


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
        self._file.call(_write, offset, parts)

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


def _write(descriptor: int, offset: int, parts: Sequence[memoryview]) -> None:
    written = os.pwritev(descriptor, parts, offset)
    if written == sum(map(len, parts)):
        return
    rest = memoryview(b"".join(parts))[written:]
    while rest:
        offset += written
        written = os.pwrite(descriptor, rest, offset)
        rest = rest[written:]


def _set_times(descriptor: int, times: tuple[int, int]) -> None:
    os.utime(descriptor, ns=times)
