"""An open file on an SFTP server, as a Python file object."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import AsyncResult, Event
from gevent.lock import RLock

from pssh.clients.base.deadline import Deadline
from pssh.clients.base.files.session import SFTPSession
from pssh.clients.base.files.status import SFTPAttributes
from pssh.exceptions import PSSHError, SFTPError
from pssh.sftp import constants, requests
from pssh.sftp.attributes import Attributes
from pssh.sftp.names import printable
from pssh.sftp.replies import DataPart, FileAttributes, Handle, Reply, Status
from pssh.sftp.requests import Request
from pssh.utils import logger

#: What is asked for at least, and how far ahead of the reader at first, in bytes.
_AHEAD_MIN = 64 * 1024
#: How far ahead of the reader at most, and how much may be asked for and not come, in bytes.
_AHEAD_MAX = 4 * 1024 * 1024
#: How many reads are on their way at first; each answer allows one more, as long as there is
#: room. So a short file does not cost many requests behind its end.
_REQUESTS_FIRST = 4
#: Bytes that may be written without an answer. What is on its way at a time the window of the
#: channel limits as well.
_UNANSWERED_MAX = 8 * 1024 * 1024
#: Writes of fewer bytes share packets.
_SMALL = 16 * 1024
#: Where a file ends at the latest.
_OFFSET_MAX = 1 << 64

_FLAGS = {
    "r": constants.SSH_FXF_READ,
    "w": constants.SSH_FXF_WRITE | constants.SSH_FXF_CREAT | constants.SSH_FXF_TRUNC,
    "a": constants.SSH_FXF_WRITE | constants.SSH_FXF_CREAT | constants.SSH_FXF_APPEND,
    "x": constants.SSH_FXF_WRITE | constants.SSH_FXF_CREAT | constants.SSH_FXF_EXCL,
}

Chunk = bytes | memoryview

#: Times for :func:`os.utime`: of the last read and of the last change, in seconds since 1970.
Times = tuple[float, float]

#: Any object with the buffer protocol. Its type has a name only from Python 3.12 on.
_BytesLike = Any


class OpenHandle:
    """A file or directory that a server has opened for us, and that it has to close again.

    :param session: the SFTP session.
    :param value: the server's name for it.
    :param path: its path, for errors.
    """

    __slots__ = ("_hub", "path", "session", "value")

    def __init__(self, session: SFTPSession, value: bytes, path: bytes) -> None:
        self.session = session
        self.value = value
        self.path = path
        self._hub = gevent.get_hub()

    @classmethod
    def open(cls, session: SFTPSession, request: Request, action: str, path: bytes) -> OpenHandle:
        """Open a file or directory.

        :param request: one that is answered with a handle.
        :param action: what it does, as in "could not …".
        :raises SFTPIOError: when the server refuses.
        """
        opening = _Opening(session)
        try:
            session.submit(request, opening)
            reply = session.wait_for(opening.answer, action)
        except BaseException:
            opening.give_up()
            raise
        if isinstance(reply, Status):
            raise session.refusal(reply, action, path)
        assert isinstance(reply, Handle)
        return cls(session, reply.handle, path)

    def close(self) -> None:
        """Close it, and wait for the answer.

        :raises SFTPIOError: when the server finds only now that something went wrong.
        """
        self.session.request(requests.close(self.value), Status, "close", self.path)

    def close_unseen(self) -> None:
        """Close it, whatever the answer will be. Nothing happens where the session has ended."""
        with contextlib.suppress(PSSHError):
            self.session.submit(requests.close(self.value), _ignore)

    def soon(self, function: Callable[..., object], *args: object) -> None:
        """Have a function called in a greenlet of its own.

        For the garbage collector: it runs in the middle of anything, in any thread, and when
        hardly anything is left of the interpreter.
        """
        loop = self._hub.loop
        if loop is not None and not sys.is_finalizing():
            loop.run_callback_threadsafe(gevent.spawn, function, *args)

    def error(self, reply: Reply | BaseException | None, action: str) -> Exception:
        """Make the error for a request that was not answered as it should be.

        One for each who asks: the tracebacks of several greenlets must not mix.
        """
        if isinstance(reply, Status):
            return self.session.refusal(reply, action, self.path)
        if isinstance(reply, PSSHError):
            return copy.copy(reply)
        session = self.session
        return SFTPError(
            "Could not %s %s on host %s:%s: it was interrupted (%s)",
            action,
            printable(self.path),
            session.host,
            session.port,
            type(reply).__name__,
            host=session.host,
            port=session.port,
        )


class _Opening:
    """Waits for a handle, and closes one that comes when nobody wants it any more."""

    __slots__ = ("_given_up", "_session", "answer")

    def __init__(self, session: SFTPSession) -> None:
        self.answer: AsyncResult = AsyncResult()
        self._session = session
        self._given_up = False

    def __call__(self, reply: Reply | BaseException) -> None:
        if isinstance(reply, BaseException):
            self.answer.set_exception(reply)
        else:
            self.answer.set(reply)
        if self._given_up:
            self._close()

    def give_up(self) -> None:
        self._given_up = True
        self._close()

    def _close(self) -> None:
        reply = self.answer.value
        if isinstance(reply, Handle):
            gevent.spawn(OpenHandle(self._session, reply.handle, b"").close_unseen)


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


class WriteBehind:
    """Writes to a file that the server has not answered yet, or that wait to be sent.

    Small ones share a packet. It is sent when it is full, and as soon as the program waits for
    anything. After a write that failed nothing more is written: nobody could tell what the file
    would hold.

    :param file: the open file.

    :ivar lock: to be held by who uses this.
    """

    __slots__ = (
        "_failure",
        "_file",
        "_progress",
        "_small",
        "_small_at",
        "_unanswered",
        "lock",
        "told",
    )

    def __init__(self, file: OpenHandle) -> None:
        self.lock = RLock()
        #: Whether somebody has got the error.
        self.told = False
        self._file = file
        self._small = bytearray()
        self._small_at = 0
        self._unanswered = 0
        self._failure: Reply | BaseException | None = None
        self._progress = Event()

    def write(self, offset: int, data: memoryview) -> int:
        """Write the first piece of some data; returns how many bytes that was.

        :param offset: where it belongs, in bytes.
        :raises SFTPIOError: when an earlier write has failed.
        """
        self._check()
        if offset + len(data) > _OFFSET_MAX:
            raise ValueError(f"{len(data)} bytes at {offset} are no part of a file")
        if self._small and offset != self._small_at + len(self._small):
            self._send_small()
        session = self._file.session
        if len(data) >= _SMALL or not session.alive:
            self._send_small()
            return self._send(offset, data)
        if not self._small:
            self._small_at = offset
            gevent.spawn(self._send_soon)
        # A packet takes what fits: what is left over would cost one of its own.
        piece = data[: max(1, session.write_size - len(self._small))]
        self._small += piece
        if len(self._small) >= session.write_size:
            self._send_small()
        return len(piece)

    def drain(self) -> None:
        """Wait until all writes are answered.

        :raises SFTPIOError: when one has failed.
        """
        self._send_small()
        while self._unanswered and self._failure is None:
            self._wait()
        self._check()

    def answered(self, size: int, reply: Reply | BaseException) -> None:
        """A write has been answered. Runs in the greenlet that reads for everybody."""
        self._unanswered -= size
        if not (isinstance(reply, Status) and reply.is_ok) and self._failure is None:
            self._failure = reply
        self._progress.set()

    def _send_soon(self) -> None:
        with self.lock, contextlib.suppress(PSSHError):
            told = self.told
            try:
                self._send_small()
            finally:
                # Whoever uses the file next gets it.
                self.told = told

    def _send_small(self) -> None:
        if not self._small or self._failure is not None:
            return
        data, self._small = self._small, bytearray()
        offset, rest = self._small_at, memoryview(data)
        try:
            while rest:
                sent = self._send(offset, rest)
                offset, rest = offset + sent, rest[sent:]
        except BaseException as ex:
            # Of these it was said that they are written.
            self._fail(ex)
            raise

    def _send(self, offset: int, data: memoryview) -> int:
        session = self._file.session
        piece = data[: session.write_size]
        size = len(piece)
        request = requests.write_header(self._file.value, offset, size)
        while self._unanswered and self._unanswered + size > _UNANSWERED_MAX:
            self._wait()
        self._check()
        self._unanswered += size
        try:
            session.submit(request, _Written(self, size), piece)
        except BaseException as ex:
            self._fail(ex)
            raise
        return size

    def _fail(self, error: BaseException) -> None:
        # Who was interrupted has not been told of what became of the file.
        self.told = self.told or isinstance(error, PSSHError)
        if self._failure is None:
            self._failure = self._file.error(error, "write")

    def _check(self) -> None:
        if self._failure is not None:
            self.told = True
            raise self._file.error(self._failure, "write")

    def _wait(self) -> None:
        self._progress.clear()
        session = self._file.session
        with Deadline(session.timeout, session.host, session.port, "write over SFTP"):
            self._progress.wait()


class _Written:
    """Waits for the answer to one write."""

    __slots__ = ("_behind", "_size")

    def __init__(self, behind: WriteBehind, size: int) -> None:
        self._behind = behind
        self._size = size

    def __call__(self, reply: Reply | BaseException) -> None:
        self._behind.answered(self._size, reply)


class SFTPFile(io.RawIOBase):
    """A file on the server. :meth:`pssh.clients.base.files.client.SFTPClient.open` makes it.

    It is binary. Reading fetches ahead what is likely to be read next, 4 MiB at most, so that
    small reads need no buffer around it; ``read(n)`` and ``readinto`` stop short only at the end
    of the file. Writing does not wait for the server's answers, of which at most 8 MiB may be
    due: an error is raised by the next ``write``, ``flush`` or ``close``, and after it the file
    takes no more. Small writes share packets, which are sent at the latest when the program waits
    for anything. For text put an :class:`io.TextIOWrapper` around it.

    Several greenlets may use one file; each method has its turn.

    Close it, or use ``with``. One that is forgotten is closed when it is collected, without
    waiting, and with nobody to tell of an error but the logger ``pssh``.

    :ivar name: its path.
    :ivar mode: how it was opened, such as ``"rb+"``.
    """

    def __init__(
        self, handle: OpenHandle, name: str, mode: str, keep: object = None, end: int = 0
    ) -> None:
        self.name = name
        self.mode = mode
        self._handle = handle
        self._keep = keep
        self._readable = "r" in mode or "+" in mode
        self._writable = "r" not in mode or "+" in mode
        self._appends = "a" in mode
        #: Where what is appended goes: servers know, but need not all heed it.
        self._end = end
        self._position = end
        self._ahead = ReadAhead(handle)
        self._behind = WriteBehind(handle)
        self._lock = self._behind.lock
        self._is_closed = False
        self._collected = False
        #: What the garbage collector wrote, which cannot wait for anything.
        self._left: list[tuple[int, bytes]] = []

    # What it is

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        # Of what was never opened the base class asks as well.
        return getattr(self, "_is_closed", True)

    def readable(self) -> bool:
        """Whether it was opened for reading."""
        return self._readable

    def writable(self) -> bool:
        """Whether it was opened for writing."""
        return self._writable

    def seekable(self) -> bool:
        """Whether the position can be changed: always."""
        return True

    def __repr__(self) -> str:
        session = self._handle.session
        state = "closed " if self.closed else ""
        return (
            f"<{state}{type(self).__name__} name={self.name!r} mode={self.mode!r}"
            f" {session.host}:{session.port}>"
        )

    # Reading

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes from the current position on.

        :param size: how many; negative or ``None`` for all to the end of the file.
        :returns: so many bytes, fewer only at the end of the file, none behind it.
        :raises SFTPIOError: when the server cannot read.
        :raises ConnectionLostError: when the connection is lost.
        :raises Timeout: when nothing comes for the client's ``timeout``.
        """
        with self._lock:
            self._begin_reading()
            wanted = None if size is None or size < 0 else size
            ready = self._ahead.fill(self._position, wanted) if wanted != 0 else 0
            data = self._ahead.take(ready if wanted is None else min(wanted, ready))
            self._position += len(data)
            return data

    def readall(self) -> bytes:
        """Read everything from the current position to the end of the file."""
        return self.read()

    def readinto(self, buffer: _BytesLike, /) -> int:
        """Read bytes into a buffer; returns how many. See :meth:`read`.

        :param buffer: a writable bytes-like object, filled unless the file ends before.
        """
        with self._lock, memoryview(buffer).cast("B") as target:
            self._begin_reading()
            if not target:
                return 0
            size = min(len(target), self._ahead.fill(self._position, len(target)))
            self._ahead.take_into(target[:size])
            self._position += size
            return size

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read a line with its ending ``\\n``; the last one may have none.

        :param size: how many bytes it may have; negative or ``None`` for any number.
        """
        with self._lock:
            self._begin_reading()
            limit = None if size is None or size < 0 else size
            line = self._ahead.take(self._ahead.line(self._position, limit))
            self._position += len(line)
            return line

    def _begin_reading(self) -> None:
        self._check_open()
        if not self._readable:
            raise io.UnsupportedOperation(f"{self._described()} is not open for reading")
        if self._writable:
            # Not all servers handle the requests for a file in their order.
            self._behind.drain()

    # Writing

    def write(self, data: _BytesLike, /) -> int:
        """Write bytes at the current position; in mode ``a`` at the end of the file.

        They may be without an answer when it returns, and a few of them not sent yet.

        :param data: a bytes-like object.
        :returns: how many bytes that was: all.
        :raises SFTPIOError: when the server could not do this or an earlier write.
        :raises ConnectionLostError: when the connection is lost.
        :raises Timeout: when the server takes nothing for the client's ``timeout``.
        """
        with memoryview(data).cast("B") as view:
            size = len(view)
            if self._collected:
                self._left.append((self._next(), bytes(view)))
                self._wrote(size)
                return size
            with self._lock:
                self._check_writable()
                if self._readable:
                    self._ahead.drop()
                rest = view
                while rest:
                    sent = self._behind.write(self._next(), rest)
                    self._wrote(sent)
                    rest = rest[sent:]
        return size

    def _next(self) -> int:
        return self._end if self._appends else self._position

    def _wrote(self, size: int) -> None:
        self._position = self._next() + size
        self._end = self._position

    def flush(self) -> None:
        """Wait until the server has answered all writes.

        :raises SFTPIOError: when it could not do one of them.
        """
        if self._collected:
            return
        with self._lock:
            self._check_open()
            self._behind.drain()

    def fsync(self) -> None:
        """Have all that was written brought to the server's disk (fsync@openssh.com).

        :raises SFTPUnsupportedError: when the server does not have this extension.
        """
        with self._lock:
            self._check_writable()
            self._behind.drain()
            handle = self._handle
            check_supported(handle.session, constants.FSYNC, "synchronize", handle.path)
            self._ask(requests.fsync(handle.value), Status, "synchronize")

    def truncate(self, size: int | None = None, /) -> int:
        """Change the file's length. The position stays.

        :param size: in bytes; default is the current position.
        :returns: the length.
        """
        with self._lock:
            self._check_writable()
            size = self._position if size is None else size
            self._change(Attributes(size=size), "truncate")
            self._ahead.drop()
            self._end = size
            return size

    # The position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Change the position. Only ``os.SEEK_END`` asks the server.

        :param offset: in bytes.
        :param whence: what it counts from: ``os.SEEK_SET``, ``os.SEEK_CUR`` or ``os.SEEK_END``.
        :returns: the position, in bytes from the beginning.
        """
        with self._lock:
            self._check_open()
            if whence == os.SEEK_CUR:
                offset += self._position
            elif whence == os.SEEK_END:
                offset += self._size()
            elif whence != os.SEEK_SET:
                raise ValueError(f"whence is {whence}, and must be SEEK_SET, SEEK_CUR or SEEK_END")
            if offset < 0:
                raise ValueError(f"The position would be {offset}, before the file begins")
            self._position = offset
            return offset

    def tell(self) -> int:
        """Return the position, in bytes from the beginning."""
        self._check_open()
        return self._position

    def _size(self) -> int:
        size = self.stat().st_size
        if size is None:
            raise io.UnsupportedOperation(f"{self._described()} has no length that is known")
        return size

    # Attributes

    def stat(self) -> SFTPAttributes:
        """Return the file's attributes, after waiting for all writes."""
        with self._lock:
            self._check_open()
            self._behind.drain()
            reply = self._ask(requests.fstat(self._handle.value), FileAttributes, "look at")
            return SFTPAttributes.of(reply.attributes)

    def chmod(self, mode: int) -> None:
        """Change the file's permissions.

        :param mode: such as ``0o644``.
        """
        with self._lock:
            self._check_open()
            self._change(permissions(mode), "change the permissions of")

    def utime(self, times: Times | None = None) -> None:
        """Change when the file was last read and last changed.

        :param times: both in seconds since 1970, of which the protocol has whole ones; ``None``
            for now, by this computer's clock.
        """
        with self._lock:
            self._check_open()
            self._change(moments(times), "change the times of")

    def _change(self, attributes: Attributes, action: str) -> None:
        self._behind.drain()
        self._ask(requests.fsetstat(self._handle.value, attributes), Status, action)

    def _ask(self, request: Request, kind: type[Any], action: str) -> Any:
        return self._handle.session.request(request, kind, action, self._handle.path)

    # The end

    def close(self) -> None:
        """Close the file, when the server has answered all writes.

        It is closed in any case; closing it again does nothing.

        :raises SFTPIOError: when a write failed and that has not been raised yet.
        :raises ConnectionLostError: when the connection is lost, so that nobody knows whether
            all was written. What was only read is closed without a word then.
        :raises Timeout: when the server does not answer for the client's ``timeout``.
        """
        if self._collected or sys.is_finalizing():
            self._leave()
            return
        with self._lock:
            if self.closed:
                return
            self._is_closed = True
            self._ahead.drop()
            if not self._writable or self._behind.told:
                self._handle.close_unseen()
                return
            try:
                self._behind.drain()
            except BaseException:
                self._handle.close_unseen()
                raise
            self._handle.close()

    def _leave(self) -> None:
        """Have the file closed without waiting for anything."""
        if self.closed:
            return
        self._is_closed = True
        if not sys.is_finalizing():
            handle, left = self._handle, self._left
            handle.soon(_finish, handle, self._behind, left, self._described(), self._keep)

    def _dealloc_warn(self, _source: object) -> None:
        # This is how the buffers of the io module say that they are being collected. What they
        # do then, they do inside of the garbage collector.
        self._collected = True

    def __del__(self) -> None:
        # Instead of the base class's, which would wait for close().
        if not self.closed:
            self._leave()

    def _described(self) -> str:
        session = self._handle.session
        return f"File {printable(self.name)} on host {session.host}:{session.port}"

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"{self._described()} has been closed")

    def _check_writable(self) -> None:
        self._check_open()
        if not self._writable:
            raise io.UnsupportedOperation(f"{self._described()} is not open for writing")


def flags_for(mode: str) -> tuple[int, str]:
    """Read the mode of :func:`open`.

    :param mode: such as ``"r"`` or ``"wb+"``.
    :returns: ``SSH_FXF_…``, combined, and the mode in the order that :class:`io.FileIO` has.
    :raises ValueError: when there is no such mode, or it is one for text.
    """
    if "t" in mode:
        raise ValueError(
            f"Remote files are binary, and cannot be opened with mode {mode!r}: "
            "put an io.TextIOWrapper around one"
        )
    kinds = [each for each in mode if each in _FLAGS]
    if len(kinds) != 1 or len(set(mode)) != len(mode) or set(mode) - set("rwaxb+"):
        raise ValueError(f"{mode!r} is no mode: it takes one of r, w, a and x, and maybe b and +")
    (kind,) = kinds
    if "+" in mode:
        both = constants.SSH_FXF_READ | constants.SSH_FXF_WRITE
        return _FLAGS[kind] | both, f"{kind}b+"
    return _FLAGS[kind], f"{kind}b"


def permissions(mode: int) -> Attributes:
    """Return the attributes that change permissions.

    :param mode: such as ``0o644``; a file type in it is left out.
    """
    return Attributes(permissions=mode & 0o7777)


def moments(times: Times | None) -> Attributes:
    """Return the attributes that change times; ``None`` for now."""
    read, changed = (time.time(),) * 2 if times is None else times
    return Attributes(atime=int(read), mtime=int(changed))


def check_supported(session: SFTPSession, extension: bytes, action: str, path: bytes) -> None:
    """Check that a server has an extension of the protocol.

    :raises SFTPUnsupportedError: when it has not.
    """
    if not session.supports(extension):
        message = f"it has no {extension.decode()}"
        raise session.refusal(Status(0, constants.SSH_FX_OP_UNSUPPORTED, message), action, path)


def _finish(
    handle: OpenHandle,
    behind: WriteBehind,
    left: list[tuple[int, bytes]],
    described: str,
    _keep: object,
) -> None:
    """Close a file that was collected. ``_keep`` is what it needs as long as that takes."""
    with behind.lock:
        try:
            for offset, data in left:
                rest = memoryview(data)
                while rest:
                    sent = behind.write(offset, rest)
                    offset, rest = offset + sent, rest[sent:]
            if not behind.told:
                behind.drain()
        except PSSHError as ex:
            logger.error("%s was not closed, and lacks what was written last: %s", described, ex)
        finally:
            handle.close_unseen()
    warnings.warn(f"{described} was not closed", ResourceWarning, stacklevel=1)


def _ignore(_reply: Reply | BaseException) -> None:
    pass
