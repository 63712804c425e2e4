"""One standard input for the commands of several hosts."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator, Sequence

from gevent.lock import BoundedSemaphore

from pssh.clients.base.stdin_source import StdinSource, chunks_of
from pssh.clients.base.threads import in_thread
from pssh.clients.reader import CHUNK_SIZE, SEGMENT_SIZE, Segment
from pssh.exceptions import StoppedError

#: Bytes that stay in memory, for hosts that are a little behind the first one.
MEMORY_SIZE = 4 * 1024 * 1024


def for_each_host(
    source: StdinSource | None, encoding: str | None, hosts: int
) -> Sequence[StdinSource | None]:
    """Return for each host what gives all of a source.

    :param source: text, bytes, an open file, or an iterable of text or bytes.
    :param encoding: how text is encoded.
    :param hosts: how many hosts there are.
    """
    if isinstance(source, str):
        # Once for all of them.
        source = source.encode(encoding or "utf-8")
    if source is None or isinstance(source, bytes | list | tuple):
        return [source] * hosts
    shared = SharedStdin(chunks_of(source, encoding))
    return [SharedStdinReader(shared) for _ in range(hosts)]


class SharedStdinReader:
    """Iterates over a :class:`SharedStdin` for one host. Only once.

    :param shared: the source.
    """

    __slots__ = ("__weakref__", "_shared", "number", "offset")

    def __init__(self, shared: SharedStdin) -> None:
        self._shared = shared
        #: The bytes that have been taken.
        self.offset = 0
        #: The number of the next chunk; it means something only while that is in memory.
        self.number = 0
        shared.readers.add(self)

    def __iter__(self) -> Iterator[bytes]:
        try:
            while (chunk := self._shared.next_for(self)) is not None:
                yield chunk
        finally:
            self._shared.readers.discard(self)


class SharedStdin:
    """A source that is read once, as fast as the fastest host takes it.

    What a slower host has not had yet, or one that is not connected yet, is kept: a little in
    memory, and the rest in unnamed temporary files, which are deleted by and by.

    :param chunks: the source.
    :ivar readers: who has not come to the end yet; one that is forgotten is not waited for.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.readers: weakref.WeakSet[SharedStdinReader] = weakref.WeakSet()
        self._source = chunks
        self._fetching = BoundedSemaphore(1)
        self._ended = False
        self._error: Exception | None = None
        self._chunks: deque[bytes] = deque()
        #: The number and the offset of the first chunk in memory, and the size of all of them.
        self._first = 0
        self._start = 0
        self._size = 0
        #: What does not fit into memory, and the offset of each file's first byte.
        self._files: deque[tuple[int, Segment]] = deque()

    def next_for(self, reader: SharedStdinReader) -> bytes | None:
        """Return the next bytes for a reader, ``None`` at the end.

        :raises Exception: what the source raised.
        """
        while True:
            if reader.offset < self._start:
                return self._from_file(reader)
            if reader.offset < self._start + self._size:
                if reader.offset == self._start:
                    reader.number = self._first
                chunk = self._chunks[reader.number - self._first]
                reader.number += 1
                reader.offset += len(chunk)
                return chunk
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            with self._fetching:
                # Somebody else may have fetched while we waited for our turn.
                if reader.offset == self._start + self._size and not self._ended:
                    self._fetch()

    def _from_file(self, reader: SharedStdinReader) -> bytes:
        at = reader.offset
        start, file = next((s, f) for s, f in self._files if s <= at < s + f.size)
        # The file may have the first chunk in memory already: see _make_room.
        end = min(start + file.size, self._start)
        data = in_thread(file.read, at - start, min(CHUNK_SIZE, end - at))
        reader.offset += len(data)
        return data

    def _fetch(self) -> None:
        self._make_room()
        try:
            chunk = next(self._source)
        except StopIteration:
            self._ended = True
        except Exception as ex:  # noqa: BLE001 (the source is the user's; each host learns of it)
            self._error = ex
            self._ended = True
        except BaseException:
            # Ctrl-C. Once is enough, and nobody may take it for the end.
            self._error = StoppedError("Reading the standard input of commands was interrupted")
            self._ended = True
            raise
        else:
            if chunk:
                self._chunks.append(bytes(chunk))
                self._size += len(chunk)

    def _make_room(self) -> None:
        """Forget what everybody has had, and put away what is too much for memory."""
        behind = min((reader.offset for reader in self.readers), default=self._start + self._size)
        while self._chunks and self._start + len(self._chunks[0]) <= behind:
            self._forget_first()
        while self._files and self._files[0][0] + self._files[0][1].size <= behind:
            self._files.popleft()[1].close()
        while self._size > MEMORY_SIZE:
            # Until it is written it can be taken from memory still.
            in_thread(self._file().append, self._chunks[0])
            self._forget_first()

    def _forget_first(self) -> None:
        chunk = self._chunks.popleft()
        self._first += 1
        self._start += len(chunk)
        self._size -= len(chunk)

    def _file(self) -> Segment:
        """Return the file to which the first chunk in memory can be appended."""
        if self._files:
            start, file = self._files[-1]
            if file.size < SEGMENT_SIZE and start + file.size == self._start:
                return file
        file = in_thread(Segment)
        self._files.append((self._start, file))
        return file
