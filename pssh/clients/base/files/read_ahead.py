"""Reading from an open file on an SFTP server before it is asked for."""

from __future__ import annotations

from collections import deque

from gevent.event import Event

from pssh.clients.base.deadline import Deadline
from pssh.clients.base.files.open_handle import OpenHandle
from pssh.exceptions import PSSHError
from pssh.sftp import requests
from pssh.sftp.replies import DataPart, Reply, Status

#: What is asked for at least, and how far ahead of the reader at first, in bytes.
_AHEAD_MIN = 64 * 1024
#: How far ahead of the reader at most, and how much may be asked for and not come, in bytes.
_AHEAD_MAX = 4 * 1024 * 1024
#: How many reads are on their way at first; each answer allows one more, as long as there is
#: room. So a short file does not cost many requests behind its end.
_REQUESTS_FIRST = 4

Chunk = bytes | memoryview


class ReadAhead:
    """The bytes of a file from where it is being read, some of them before they are wanted.

    As much is asked for ahead as has been read in one go, so that reading here and there does
    not fetch what nobody wants, and reading on and on does not wait.

    :param file: the open file.
    """

    __slots__ = (
        "_again",
        "_allowed",
        "_ended",
        "_file",
        "_over",
        "_parts",
        "_position",
        "_progress",
        "_ready",
        "_ready_size",
        "_skip",
        "_streak",
        "_unanswered",
        "_unanswered_size",
    )

    def __init__(self, file: OpenHandle) -> None:
        self._file = file
        self._progress = Event()
        #: Where the bytes that are ready begin.
        self._position = 0
        self._ready: deque[Chunk] = deque()
        self._ready_size = 0
        #: What has been taken of the first chunk.
        self._skip = 0
        #: What has been asked for behind the bytes that are ready, in order.
        self._parts: deque[_Part] = deque()
        #: Of those, the ones that came without their end.
        self._again: deque[_Part] = deque()
        self._unanswered = 0
        self._unanswered_size = 0
        self._allowed = _REQUESTS_FIRST
        #: Whether one of the parts has an end, so that asking for more is of no use.
        self._over = False
        #: Whether the file ended behind what is ready.
        self._ended = False
        #: Bytes taken in one go.
        self._streak = 0

    # Getting

    def fill(self, position: int, size: int | None) -> int:
        """Have bytes ready from a position on.

        :param position: in bytes.
        :param size: how many; ``None`` for all to the end of the file.
        :returns: how many are ready; fewer than ``size`` only where the file ends.
        :raises SFTPIOError: when the server cannot read.
        """
        if position != self._position:
            self._move(position)
        if size is not None and self._ready and size < len(self._ready[0]) - self._skip:
            # What is needed to go on is seen to from chunk to chunk.
            return self._ready_size
        # What has come in one go, used or not.
        streak = self._streak + self._ready_size
        while True:
            self._progress.clear()
            self._collect()
            if self._ended or (size is not None and self._ready_size >= size):
                break
            self._raise_error()
            self._ask_ahead(size, streak)
            if not self._progress.is_set():
                self._wait()
        if not self._ended and streak:
            self._ask_ahead(size, streak)
        return self._ready_size

    def line(self, position: int, limit: int | None) -> int:
        """Have a line ready from a position on; returns how many bytes it has with its ending.

        :param limit: how many it may have.
        """
        searched, index = 0, 0
        while limit is None or searched < limit:
            if self.fill(position, searched + 1) == searched:
                return searched
            while index < len(self._ready):
                start = 0 if index else self._skip
                chunk = self._ready[index]
                if not isinstance(chunk, bytes):
                    chunk = self._ready[index] = bytes(chunk)
                found = chunk.find(b"\n", start)
                if found >= 0:
                    searched += found + 1 - start
                    return searched if limit is None else min(searched, limit)
                searched += len(chunk) - start
                index += 1
        return limit

    def take(self, size: int) -> bytes:
        """Take bytes that are ready.

        :param size: how many; no more than there are.
        """
        if not size:
            # The end of the file has been told: next time there may be more.
            self._ended = False
            return b""
        chunk, skip = self._ready[0], self._skip
        if size < len(chunk) - skip:
            self._skip += size
            self._advance(size)
            return bytes(chunk[skip : skip + size])
        return b"".join(self._take_chunks(size))

    def take_into(self, target: memoryview) -> None:
        """Take as many bytes as fit into a buffer; they must be ready."""
        if not target:
            self._ended = False
        at = 0
        for chunk in self._take_chunks(len(target)):
            target[at : at + len(chunk)] = chunk
            at += len(chunk)

    def _take_chunks(self, size: int) -> list[Chunk]:
        chunks: list[Chunk] = []
        left = size
        while left:
            chunk = self._ready[0]
            stop = min(self._skip + left, len(chunk))
            left -= stop - self._skip
            chunks.append(chunk[self._skip : stop] if stop - self._skip < len(chunk) else chunk)
            self._skip = stop
            if stop == len(chunk):
                self._ready.popleft()
                self._skip = 0
        self._advance(size)
        return chunks

    def _advance(self, size: int) -> None:
        self._position += size
        self._ready_size -= size
        self._streak += size

    # Moving

    def drop(self) -> None:
        """Forget what is ready and what has been asked for."""
        self._ready.clear()
        self._ready_size = self._skip = self._streak = 0
        self._ended = False
        self._drop_parts()

    def _move(self, position: int) -> None:
        ahead = position - self._position
        if 0 < ahead <= self._ready_size:
            self._take_chunks(ahead)
        else:
            self.drop()
            self._position = position

    def _drop_parts(self) -> None:
        for part in self._parts:
            part.ahead = None
        self._parts.clear()
        self._again.clear()
        self._unanswered = self._unanswered_size = 0
        self._allowed = _REQUESTS_FIRST
        self._over = False

    # Asking

    def _ask_ahead(self, size: int | None, streak: int) -> None:
        """Ask for what is wanted and some more, as far as there is room."""
        while self._again and self._has_room():
            self._ask(self._again.popleft())
        window = min(max(streak, _AHEAD_MIN), _AHEAD_MAX)
        last = self._parts[-1] if self._parts else None
        asked = last.offset + last.length if last else self._position + self._ready_size
        if size is None:
            goal = None
        else:
            # Not in small pieces: what is left of the window may become half of it.
            if asked - self._position >= size + (window // 2 if streak else 0):
                return
            goal = self._position + (size + window if streak else max(size, window))
        while not self._over and self._has_room() and (goal is None or asked < goal):
            length = self._file.session.read_size
            length = length if goal is None else min(length, goal - asked)
            part = _Part(self, asked, length)
            self._parts.append(part)
            self._ask(part)
            asked += length

    def _has_room(self) -> bool:
        return self._unanswered < self._allowed and self._unanswered_size < _AHEAD_MAX

    def _ask(self, part: _Part) -> None:
        """Ask for a part, or for what is missing of it."""
        self._unanswered += 1
        self._unanswered_size += part.length
        offset, length = part.offset + part.received, part.length - part.received
        try:
            self._file.session.submit(requests.read(self._file.value, offset, length), part)
        except PSSHError as ex:
            # It is raised when what came before has been read.
            part(ex)
        except BaseException:
            self._drop_parts()
            raise

    def answered(self, part: _Part) -> None:
        """A part has been answered. Runs in the greenlet that reads for everybody."""
        self._unanswered -= 1
        self._unanswered_size -= part.length
        self._allowed += 1
        if part.end is not None:
            self._over = True
        elif part.received < part.length:
            self._again.append(part)

    def progress(self) -> None:
        """Something has come."""
        self._progress.set()

    # What has come

    def _collect(self) -> None:
        """Make ready what has come next."""
        while self._parts:
            part = self._parts[0]
            for chunk in part.chunks:
                self._ready.append(chunk)
                self._ready_size += len(chunk)
            part.chunks.clear()
            if part.received == part.length:
                self._parts.popleft()
                continue
            if isinstance(part.end, Status) and part.end.is_eof:
                self._ended = True
                self._drop_parts()
            return

    def _raise_error(self) -> None:
        end = self._parts[0].end if self._parts else None
        if end is not None:
            # Whoever tries again asks again.
            self._drop_parts()
            raise self._file.error(end, "read")

    def _wait(self) -> None:
        session = self._file.session
        with Deadline(session.timeout, session.host, session.port, "read over SFTP"):
            self._progress.wait()


class _Part:
    """A part of a file that was asked for."""

    __slots__ = ("ahead", "chunks", "end", "length", "offset", "received")

    def __init__(self, ahead: ReadAhead, offset: int, length: int) -> None:
        self.ahead: ReadAhead | None = ahead
        self.offset = offset
        self.length = length
        self.received = 0
        self.chunks: list[Chunk] = []
        #: Why no more will come.
        self.end: Reply | BaseException | None = None

    def __call__(self, reply: Reply | BaseException) -> None:
        ahead = self.ahead
        if ahead is None:
            return
        if isinstance(reply, DataPart):
            self.chunks.append(reply.data)
            self.received += len(reply.data)
            if not reply.remaining:
                ahead.answered(self)
        elif self.end is None:
            self.end = reply
            ahead.answered(self)
        ahead.progress()
