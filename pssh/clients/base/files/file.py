"""An open file on an SFTP server, as a Python file object."""

from __future__ import annotations

import io
import operator
import os
import sys
import warnings
from typing import Any

from pssh.clients.base.files.changes import Times, moments, permissions
from pssh.clients.base.files.open_handle import OpenHandle
from pssh.clients.base.files.read_ahead import ReadAhead
from pssh.clients.base.files.status import SFTPAttributes
from pssh.clients.base.files.write_behind import WriteBehind
from pssh.exceptions import PSSHError
from pssh.sftp import constants, requests
from pssh.sftp.attributes import Attributes
from pssh.sftp.names import printable
from pssh.sftp.replies import FileAttributes, Status
from pssh.sftp.requests import Request
from pssh.utils import logger

#: Any object with the buffer protocol. Its type has a name only from Python 3.12 on.
_BytesLike = Any


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
            handle.session.require(constants.FSYNC, "synchronize", handle.path)
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
        offset = operator.index(offset)
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
