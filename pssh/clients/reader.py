"""A stream's bytes between the reader and the consumer, in bounded memory."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator

from gevent.event import Event

from pssh.clients.base.threads import in_thread

#: A segment of what did not fit into memory is deleted as soon as it has been read, so
#: that a consumer which keeps pace with the command needs no more disk than this.
SEGMENT_SIZE = 64 * 1024 * 1024
CHUNK_SIZE = 256 * 1024

#: What waits for a consumer who is there: more than that is no longer in the processor's
#: cache when its turn comes.
CROWD_SIZE = 256 * 1024


class Segment:
    """An unnamed temporary file that is written once, in order, and read.

    Reads and writes name their offset, because they run in threads at the same time.
    """

    __slots__ = ("_descriptor", "read_at", "size", "writing")

    def __init__(self) -> None:
        # A bare descriptor: of a file object that is collected Python would complain.
        with tempfile.TemporaryFile(buffering=0) as file:
            self._descriptor = os.dup(file.fileno())
        self.size = 0
        self.read_at = 0
        self.writing = False

    def append(self, data: bytes) -> None:
        view, offset = memoryview(data), self.size
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            offset += written
            view = view[written:]
        self.size = offset

    def read(self, offset: int, count: int) -> bytes:
        return os.pread(self._descriptor, count, offset)

    def take(self) -> bytes:
        data = self.read(self.read_at, min(CHUNK_SIZE, self.size - self.read_at))
        self.read_at += len(data)
        return data

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            os.close(self._descriptor)


class ConcurrentRWBuffer:
    """Chunks of bytes that one greenlet writes and another takes.

    What is taken is freed. Up to ``limit`` bytes stay in memory; then, by ``overflow``,
    either the rest goes to unnamed temporary files and comes back in order (``"file"``), or
    :attr:`full` says that the writer has to wait (``"block"``).

    :param limit: bytes that stay in memory.
    :param overflow: ``"file"`` or ``"block"``.
    :param on_space: called when a buffer that was :attr:`full` is not any more.
    """

    __slots__ = (
        "_chunks",
        "_data_waiter",
        "_on_space",
        "_segments",
        "_size",
        "eof",
        "error",
        "limit",
        "overflow",
    )

    def __init__(
        self,
        limit: int = 1024 * 1024,
        overflow: str = "file",
        on_space: Callable[[], None] | None = None,
    ) -> None:
        self.limit = limit
        self.overflow = overflow
        # Made when there is something for them: most buffers of most commands stay empty, and
        # nobody has to wait for them.
        self._chunks: deque[bytes] | None = None
        self._segments: list[Segment] | None = None
        self._data_waiter: Event | None = None
        self._size = 0
        self._on_space = on_space
        self.eof = False
        self.error: BaseException | None = None

    def write(self, data: bytes) -> None:
        """Append a chunk.

        :raises OSError: when the temporary files have no more room.
        """
        if self._segments or (
            self._size and self._size + len(data) > self.limit and self.overflow == "file"
        ):
            self._spill(data)
        else:
            if self._chunks is None:
                self._chunks = deque()
            self._chunks.append(data)
            self._size += len(data)
        if self._data_waiter is not None:
            self._data_waiter.set()

    def close(self, error: BaseException | None = None) -> None:
        """No more chunks. With an error, the stream was cut off rather than complete."""
        self.eof = True
        self.error = error
        if self._data_waiter is not None:
            self._data_waiter.set()

    def discard(self) -> None:
        """Forget what nobody will take any more."""
        self._chunks = None
        self._size = 0
        while self._segments:
            self._segments.pop().close()

    @property
    def full(self) -> bool:
        """Whether a writer that holds the remote side back has to wait."""
        return self.overflow == "block" and self._size >= self.limit and not self.eof

    @property
    def crowded(self) -> bool:
        """Whether a consumer should have its turn before more is read."""
        return self._data_waiter is not None and self._size >= min(CROWD_SIZE, self.limit // 2)

    def __len__(self) -> int:
        """Bytes that have been written and not been taken."""
        return self._size + sum(s.size - s.read_at for s in self._segments or ())

    def take(self) -> bytes | None:
        """Return the next chunk, or ``None`` where there is none at the moment."""
        if self._chunks:
            data = self._chunks.popleft()
            was_full = self.full
            self._size -= len(data)
            if was_full and self._on_space is not None:
                self._on_space()
            return data
        if self._segments and self._available():
            return self._unspill(self._segments)
        return None

    def read(self) -> Iterator[bytes]:
        """Iterate over the chunks that are here, without waiting for more."""
        while (data := self.take()) is not None:
            yield data

    def wait_for_data(self) -> None:
        """Wait until there is a chunk to take, or none will come."""
        if self._data_waiter is None:
            self._data_waiter = Event()
        while not self._available() and not self.eof:
            self._data_waiter.clear()
            self._data_waiter.wait()

    def _available(self) -> bool:
        if self._chunks:
            return True
        return any(s.size > s.read_at for s in self._segments or ())

    def _spill(self, data: bytes) -> None:
        if self._segments is None:
            self._segments = []
        if not self._segments or self._segments[-1].size >= SEGMENT_SIZE:
            self._segments.append(in_thread(Segment))
        segment = self._segments[-1]
        # The consumer may read everything before this write is done: it must not close then.
        segment.writing = True
        try:
            in_thread(segment.append, data)
        finally:
            segment.writing = False

    def _unspill(self, segments: list[Segment]) -> bytes:
        segment = segments[0]
        data = in_thread(segment.take)
        while segments and segments[0].read_at >= segments[0].size:
            if segments[0].writing:
                break
            segments.pop(0).close()
        return data

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over chunks until the end, waiting for each.

        :raises Exception: what :meth:`close` was given, after the last chunk.
        """
        while True:
            data = self.take()
            if data is not None:
                yield data
                continue
            if self.eof:
                if self.error is not None:
                    raise self.error
                return
            self.wait_for_data()
