"""The content of a file from an SFTP server, with many requests on their way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

import gevent
from gevent.event import Event

from pssh.clients.base import freed_memory
from pssh.clients.base.deadline import Deadline
from pssh.clients.base.files.copy_errors import changed
from pssh.clients.base.files.options import Meter, Prefix, Rate
from pssh.clients.base.files.session import SFTPSession
from pssh.clients.base.files.target import Target
from pssh.clients.base.threads import outcome, pool
from pssh.exceptions import SFTPError
from pssh.sftp import requests
from pssh.sftp.names import printable
from pssh.sftp.replies import DataPart, Reply, Status

#: Bytes that may have been asked for and not come. The window of the channel (2 MiB) limits
#: what is on its way; a little more keeps the server from waiting for the next request.
_ASKED_MAX = 4 * 1024 * 1024
#: As long as there are more on their way, whoever asks sleeps on: it asks for several parts then.
_ASKED_ENOUGH = 3 * 1024 * 1024
#: Bytes that may have been asked for or wait to be written. Beyond it nothing more is asked for.
_HELD_MAX = 8 * 1024 * 1024
#: What is written at once, at least.
_WRITE_SIZE = 1024 * 1024

#: How many requests there are at first; each answer allows one more, as long as there is room.
#: Where it is not known how long the file is, most of them might be in vain.
_REQUESTS_FIRST = 64
_REQUESTS_FIRST_BLIND = 4


class Download:
    """Fetches an open remote file into a local one.

    :param session: the SFTP session.
    :param handle: the remote file.
    :param path: its path, for errors.
    :param target: the local file.
    :param meter: is told how far it has got.
    :param rate: holds it back.
    """

    __slots__ = (
        "_again",
        "_allowed",
        "_asked",
        "_done",
        "_end",
        "_error",
        "_handle",
        "_meter",
        "_path",
        "_prefix",
        "_progress",
        "_rate",
        "_requests",
        "_session",
        "_stopped",
        "_target",
        "_unwritten",
        "_unwritten_size",
        "_writing",
    )

    def __init__(
        self,
        session: SFTPSession,
        handle: bytes,
        path: bytes,
        target: Target,
        meter: Meter,
        rate: Rate,
    ) -> None:
        self._session = session
        self._handle = handle
        self._path = path
        self._target = target
        self._meter = meter
        self._rate = rate
        self._allowed = _REQUESTS_FIRST_BLIND
        self._requests = 0
        self._asked = 0
        #: What a server gave less of than was asked for: offset and length.
        self._again: deque[tuple[int, int]] = deque()
        #: What waits to be written, in the order in which it has come.
        self._unwritten: deque[_Run] = deque()
        #: Its bytes, with those that are being written.
        self._unwritten_size = 0
        self._writing: _Run | None = None
        self._done = 0
        self._prefix = Prefix(0)
        #: Where the file ends, as soon as the server has said so.
        self._end: int | None = None
        self._error: BaseException | None = None
        self._stopped = False
        self._progress = Event()

    def run(
        self, start: int, size: int | None, when_asked: Callable[[], object] | None = None
    ) -> int:
        """Fetch everything from an offset on.

        :param start: bytes that are there already.
        :param size: bytes of the file as the server tells; ``None`` where it does not, or tells
            0 for a file that it makes up when it is read: then it is read to its end.
        :param when_asked: called when everything has been asked for.
        :returns: how many bytes the file has.
        :raises SFTPIOError: when the server cannot read.
        :raises OSError: when the local file cannot be written.
        :raises SFTPError: when the file has become shorter.
        """
        freed_memory.keep(_HELD_MAX)
        self._done = start
        self._prefix = Prefix(start)
        self._meter.tell(start)
        if size is not None:
            self._allowed = _REQUESTS_FIRST
        try:
            self._ask_all(start, size)
            if when_asked is not None:
                when_asked()
            while self._requests or self._again:
                self._ask_again()
        finally:
            # What comes now, after an error, nobody wants any more.
            self._stopped = True
            # What is in the threads uses the local file.
            self._settle()
        self._check()
        if size is not None and self._end is not None and self._end < size:
            raise self._shorter()
        return size if size is not None else (self._end or 0)

    def _ask_all(self, start: int, size: int | None) -> None:
        """Ask for everything once."""
        offset = start
        while self._end is None and (size is None or offset < size):
            self._check()
            length = self._rate.piece(self._session.read_size)
            length = length if size is None else min(length, size - offset)
            self._rate.pause(length)
            self._ask(offset, length)
            offset += length

    def _ask_again(self) -> None:
        """Ask for what a server gave less of than it was asked for, or wait for what comes."""
        self._check()
        if self._again:
            self._ask(*self._again.popleft())
        else:
            self._wait()

    def _ask(self, offset: int, length: int) -> None:
        """Ask for a part, as soon as there is room for it."""
        # Where nothing is due and little waits, nothing would wake us.
        while (self._requests or self._unwritten_size >= _WRITE_SIZE) and (
            self._requests >= self._allowed
            or self._asked + length > _ASKED_MAX
            or self._asked + length + self._unwritten_size > _HELD_MAX
        ):
            self._wait()
        self._requests += 1
        self._asked += length
        self._session.submit(
            requests.read(self._handle, offset, length), _Part(self, offset, length)
        )
        self._meter.tell(self._done)

    @property
    def whole_until(self) -> int:
        """How many bytes from the beginning on are written, without a gap."""
        return self._prefix.end

    # Replies: in the greenlet that reads for everybody

    def arrived(self, offset: int, data: memoryview) -> None:
        """A piece of a part has come."""
        if self._stopped:
            return
        last = self._unwritten[-1] if self._unwritten else None
        if last is None or last.end != offset:
            last = _Run(offset)
            self._unwritten.append(last)
        size = len(data)
        last.parts.append(data)
        last.end += size
        self._unwritten_size += size
        if self._unwritten_size >= _WRITE_SIZE:
            self._write()

    def answered(self, offset: int, length: int, received: int) -> None:
        """A part has come to its end."""
        self._requests -= 1
        self._asked -= length
        self._allowed += 1
        self._done += received
        if received < length:
            self._again.append((offset + received, length - received))
        if self._asked <= _ASKED_ENOUGH:
            self._progress.set()

    def ended(self, offset: int, length: int) -> None:
        """The file ends before a part."""
        self._requests -= 1
        self._asked -= length
        self._end = offset if self._end is None else min(self._end, offset)
        self._progress.set()

    def failed(self, length: int, reply: Reply | BaseException) -> None:
        """A part will not come."""
        self._requests -= 1
        self._asked -= length
        if self._error is None:
            if isinstance(reply, Status):
                self._error = self._session.refusal(reply, "read", self._path)
            elif isinstance(reply, BaseException):
                self._error = reply
        self._progress.set()

    # Writing: where it may have to wait in threads, one at a time, because two would wait for each
    # other in the system

    def _write(self) -> None:
        """Have written what came first, and all that belongs behind it."""
        if self._writing or not self._unwritten:
            return
        run = self._unwritten.popleft()
        write = partial(outcome, self._target.write, run.offset, run.parts)
        if self._target.in_memory:
            self._written(run, write())
        else:
            self._writing = run
            pool("files").spawn(write).rawlink(lambda result: self._written(run, result.value))

    def _written(self, run: _Run, result: tuple[object, Exception | None]) -> None:
        size = run.end - run.offset
        self._writing = None
        self._unwritten_size -= size
        if result[1] is None:
            self._prefix.add(run.offset, size)
        else:
            # What comes behind a gap is of no use.
            self._error = self._error or result[1]
            self._stopped = True
            self._unwritten.clear()
            self._unwritten_size = 0
        if self._unwritten_size >= _WRITE_SIZE:
            # Not here in the loop: all threads may be busy, and then it waits for one.
            gevent.spawn_raw(self._write)
        self._progress.set()

    def _settle(self) -> None:
        """Have everything written that has come."""
        while self._writing or self._unwritten:
            self._progress.clear()
            self._write()
            if self._writing:
                self._progress.wait()

    # Waiting

    def _wait(self) -> None:
        self._progress.clear()
        session = self._session
        with Deadline(session.timeout, session.host, session.port, "read over SFTP"):
            self._progress.wait()
        self._meter.tell(self._done)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _shorter(self) -> SFTPError:
        return changed(
            self._session,
            self._path,
            "File %s became shorter while it was copied: it ends after %s bytes on host %s:%s",
            printable(self._path),
            self._end,
        )


class _Run:
    """Bytes without a gap, from an offset on."""

    __slots__ = ("end", "offset", "parts")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.end = offset
        self.parts: list[memoryview] = []


class _Part:
    """Waits for the answer to one read."""

    __slots__ = ("_download", "_length", "_offset")

    def __init__(self, download: Download, offset: int, length: int) -> None:
        self._download = download
        self._offset = offset
        self._length = length

    def __call__(self, reply: Reply | BaseException) -> None:
        download = self._download
        if isinstance(reply, DataPart):
            position, data = reply.position, reply.data
            download.arrived(self._offset + position, data)
            if not reply.remaining:
                download.answered(self._offset, self._length, position + len(data))
        elif isinstance(reply, Status) and reply.is_eof:
            download.ended(self._offset, self._length)
        else:
            download.failed(self._length, reply)
