"""Writing to an open file on an SFTP server without waiting for its answers."""

from __future__ import annotations

import contextlib

import gevent
from gevent.event import Event
from gevent.lock import RLock

from pssh.clients.base.deadline import Deadline
from pssh.clients.base.files.open_handle import OpenHandle
from pssh.exceptions import PSSHError
from pssh.sftp import requests
from pssh.sftp.replies import Reply, Status

#: Writes of fewer bytes share packets.
_SMALL = 16 * 1024
#: Where a file ends at the latest.
_OFFSET_MAX = 1 << 64


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
        while self._unanswered and self._unanswered + size > session.writes_max:
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
