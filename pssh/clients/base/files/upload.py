"""The content of a file to an SFTP server, with many requests on their way."""

from __future__ import annotations

import contextlib

from gevent.event import Event

from pssh.clients.base.deadline import Deadline
from pssh.clients.base.files.blocks import blocks
from pssh.clients.base.files.copy_errors import changed
from pssh.clients.base.files.options import Meter, Prefix, Rate
from pssh.clients.base.files.session import SFTPSession
from pssh.clients.base.files.source import Source
from pssh.exceptions import PSSHError, SFTPError
from pssh.sftp import requests
from pssh.sftp.names import printable
from pssh.sftp.replies import Reply, Status


class Upload:
    """Sends a local file to an open remote one.

    :param session: the SFTP session.
    :param handle: the remote file.
    :param path: its path, for errors.
    :param source: the local file.
    :param meter: is told how far it has got.
    :param rate: holds it back.
    """

    __slots__ = (
        "_done",
        "_error",
        "_handle",
        "_meter",
        "_path",
        "_prefix",
        "_progress",
        "_rate",
        "_session",
        "_source",
        "_unanswered",
    )

    def __init__(
        self,
        session: SFTPSession,
        handle: bytes,
        path: bytes,
        source: Source,
        meter: Meter,
        rate: Rate,
    ) -> None:
        self._session = session
        self._handle = handle
        self._path = path
        self._source = source
        self._meter = meter
        self._rate = rate
        self._unanswered = 0
        self._done = 0
        self._prefix = Prefix(0)
        self._error: BaseException | None = None
        self._progress = Event()

    def send(self, start: int = 0) -> int:
        """Send everything from an offset on, without waiting for the last answers.

        :param start: bytes that are there already.
        :returns: how many bytes the file has.
        :raises SFTPIOError: when the server cannot write.
        :raises OSError: when the local file cannot be read.
        :raises SFTPError: when the local file changes meanwhile.
        """
        size = self._source.size
        self._done = offset = start
        self._prefix = Prefix(start)
        self._meter.tell(start)
        with contextlib.closing(blocks(self._source, start)) as found:
            for begin, block in found:
                self._send(begin, block)
                offset = begin + len(block)
        if offset < size:
            raise self._changed()
        return offset

    def finish(self) -> None:
        """Wait until the server has everything.

        :raises SFTPIOError: when the server cannot write.
        :raises SFTPError: when the local file has changed meanwhile.
        """
        while self._unanswered:
            self._wait()
        self._check()
        if self._source.has_changed():
            raise self._changed()

    def _send(self, offset: int, block: memoryview) -> None:
        piece = self._rate.piece(self._session.write_size)
        most = self._session.writes_max
        while block:
            part, block = block[:piece], block[piece:]
            while self._unanswered and self._unanswered + len(part) > most:
                self._wait()
            self._check()
            self._rate.pause(len(part))
            request = requests.write_header(self._handle, offset, len(part))
            self._unanswered += len(part)
            self._session.submit(request, _Written(self, offset, len(part)), part)
            self._meter.tell(self._done)
            offset += len(part)

    @property
    def whole_until(self) -> int:
        """How many bytes from the beginning on the server has, without a gap."""
        return self._prefix.end

    def answered(self, offset: int, count: int, reply: Reply | BaseException) -> None:
        """A write has been answered."""
        self._unanswered -= count
        if isinstance(reply, Status) and reply.is_ok:
            self._done += count
            self._prefix.add(offset, count)
        elif self._error is None:
            self._error = (
                self._session.refusal(reply, "write", self._path)
                if isinstance(reply, Status)
                else _as_error(reply)
            )
        self._progress.set()

    def settle(self) -> None:
        """After an error: wait until the server has answered what was sent."""
        with contextlib.suppress(PSSHError):
            while self._unanswered and self._session.alive:
                self._progress.clear()
                session = self._session
                with Deadline(session.timeout, session.host, session.port, "write over SFTP"):
                    self._progress.wait()

    def _wait(self) -> None:
        self._progress.clear()
        session = self._session
        with Deadline(session.timeout, session.host, session.port, "write over SFTP"):
            self._progress.wait()
        self._meter.tell(self._done)
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _changed(self) -> SFTPError:
        return changed(
            self._session,
            self._path,
            "Local file %s changed while it was copied to %s on host %s:%s",
            self._source.path,
            printable(self._path),
        )


class _Written:
    """Waits for the answer to one write."""

    __slots__ = ("_count", "_offset", "_upload")

    def __init__(self, upload: Upload, offset: int, count: int) -> None:
        self._upload = upload
        self._offset = offset
        self._count = count

    def __call__(self, reply: Reply | BaseException) -> None:
        self._upload.answered(self._offset, self._count, reply)


def _as_error(reply: Reply | BaseException) -> BaseException:
    return reply if isinstance(reply, BaseException) else SFTPError("a write was answered oddly")
