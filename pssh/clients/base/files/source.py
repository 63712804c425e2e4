"""Local files that are sent: in threads, where reading may have to wait for a disk."""

from __future__ import annotations

import contextlib
import copy
import errno
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Iterator

import gevent
from gevent.event import AsyncResult

from pssh.clients.base.files import page_cache
from pssh.clients.base.files.descriptor import Descriptor
from pssh.clients.base.files.page_cache import Block, ReadNow
from pssh.clients.base.threads import in_thread, outcome
from pssh.local_path import READ_FLAGS

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
    :ivar opened: when it was about to be opened, by the monotonic clock.
    :ivar is_made_up: whether it has no size and yet something in it, as files below /proc have,
        which are made up when they are read. Only at its end it is known how long it is.
    """

    __slots__ = (
        "_blocks",
        "_file",
        "_only_in_memory",
        "_read_now",
        "_reading",
        "in_memory",
        "is_made_up",
        "opened",
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
        self.opened = time.monotonic()
        opened = in_thread(_open_source, path)
        self._file, self.status, self._read_now, self._only_in_memory, self.is_made_up = opened

    @property
    def size(self) -> int:
        """How many bytes it had when it was opened; 0 where it is made up."""
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
        offset = number * BLOCK
        wanted = BLOCK if self.is_made_up else min(BLOCK, max(0, self.size - offset))
        data, error = outcome(in_thread, self._file.call, _read_whole, wanted, offset)
        del self._reading[number]
        reading.set((data, error))
        if error is None:
            self._keep(number, data)

    def _block_in_memory(self, number: int) -> Block | None:
        if self.is_made_up:
            return None
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
        if not self._only_in_memory or self.is_made_up:
            # Of the page cache whole blocks cost less.
            return None
        size = min(PIECE - offset % PIECE, max(0, self.size - offset))
        data = self._file.call(self._read_now, size, offset)
        return data if data is not None and len(data) == size else None

    def has_changed(self) -> bool:
        """Whether the file is another one than it was when it was opened."""
        return not _is_same(in_thread(self._file.call, os.fstat), self.status)

    def is_what_is_there(self) -> bool:
        """Whether its path leads to it, and it has not changed since it was opened.

        :raises OSError: when the path leads to nothing any more.
        """
        return _is_same(in_thread(os.stat, self.path), self.status)

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
    def open(self, path: str, began: float | None = None) -> Iterator[Source]:
        """Open a file, or share it with those who have it open.

        :param path: its path.
        :param began: when the copy began, by the monotonic clock. A file that was opened before
            is shared only if it is still what the path leads to, as it was then; default is now.
        :raises OSError: when it cannot be read.
        """
        source = self._shared(path, began) or self._opened(path)
        try:
            yield source
        finally:
            self._leave(source)

    def _shared(self, path: str, began: float | None) -> Source | None:
        source = self._open.get(path)
        if source is None:
            return None
        # It must not be closed while we look.
        source.users += 1
        try:
            shared = (began is not None and source.opened >= began) or source.is_what_is_there()
        except BaseException:
            self._leave(source)
            raise
        if not shared:
            self._leave(source)
        return source if shared else None

    def _opened(self, path: str) -> Source:
        made = Source(path)
        # Opening takes its time: another host may have been faster.
        source = self._open.get(path)
        if source is not None and _is_same(source.status, made.status):
            made.close()
        else:
            source = self._open[path] = made
        source.users += 1
        return source

    def _leave(self, source: Source) -> None:
        source.users -= 1
        if not source.users:
            if self._open.get(source.path) is source:
                del self._open[source.path]
            source.close()


def _is_same(now: os.stat_result, before: os.stat_result) -> bool:
    return (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns) == (
        before.st_dev,
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    )


def _open_source(path: str) -> tuple[Descriptor, os.stat_result, ReadNow, bool, bool]:
    file = Descriptor(os.open(path, READ_FLAGS))
    try:
        status = file.call(os.fstat)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "It is not a regular file", path)
        read_now = file.call(page_cache.reader)
        only_in_memory = file.call(page_cache.is_in_memory)
        made_up = not status.st_size and file.call(_has_content)
    except BaseException:
        file.close()
        raise
    return file, status, read_now, only_in_memory, made_up


def _has_content(descriptor: int) -> bool:
    """Whether there is something in a file that says it has no size."""
    # Somebody may just have written it.
    return bool(os.pread(descriptor, 1, 0)) and not os.fstat(descriptor).st_size


def _read_whole(descriptor: int, size: int, offset: int) -> Block:
    """Read so many bytes; fewer only where the file ends."""
    data = os.pread(descriptor, size, offset)
    if not data or len(data) >= size:
        return data
    # Files that are made up, and some network file systems, give a little at a time.
    parts = [data]
    got = len(data)
    while got < size and (data := os.pread(descriptor, size - got, offset + got)):
        parts.append(data)
        got += len(data)
    return b"".join(parts)
