"""What is in a directory on an SFTP server."""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TypeVar

from gevent.event import AsyncResult

from pssh.clients.base.files.open_handle import OpenHandle
from pssh.clients.base.files.status import SFTPAttributes, SFTPDirEntry
from pssh.exceptions import SFTPIOError
from pssh.sftp import requests
from pssh.sftp.names import decode_name, is_entry_name, printable
from pssh.sftp.replies import Name, Names, Status

#: How many requests for entries of a directory are on their way at first, and at most. The
#: second one finds the end of a small directory without a round trip of its own.
_LISTING_FIRST = 2
_LISTING_MAX = 8

_Self = TypeVar("_Self")


class SFTPDirectory(Iterator[SFTPDirEntry]):
    """Iterates over what is in a directory. :meth:`SFTPClient.scandir` makes it.

    :param handle: the open directory.
    :param encoding: how names are encoded on the server.
    :param keep: kept alive as long as the directory is open.
    """

    def __init__(self, handle: OpenHandle, encoding: str, keep: object = None) -> None:
        self._handle = handle
        self._encoding = encoding
        self._keep = keep
        self._closed = False
        self._entries: deque[SFTPDirEntry] = deque()
        self._answers: deque[AsyncResult] = deque()
        self._allowed = _LISTING_FIRST
        #: Whether the server has said that there are no more.
        self._ended = False
        self._path = decode_name(handle.path, encoding)
        self._guarded(self._ask)

    def __next__(self) -> SFTPDirEntry:
        while not self._entries:
            if self._closed:
                raise StopIteration
            self._guarded(self._advance)
        return self._entries.popleft()

    def close(self) -> None:
        """Close the directory; there are no more entries then."""
        self._entries.clear()
        self._finish()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self._handle.soon(_leave, self._handle, self._keep)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException:
            # Going on would leave out what was not heard.
            self.close()
            raise

    def _ask(self) -> None:
        # The end may have come already, behind the names that are looked at now.
        ended = self._ended or any(_is_end(answer.value) for answer in self._answers)
        while not ended and len(self._answers) < self._allowed:
            request = requests.readdir(self._handle.value)
            self._answers.append(self._handle.session.ask(request))

    def _advance(self) -> None:
        """Take the next answer."""
        if not self._answers:
            self._finish()
            return
        handle = self._handle
        reply = handle.session.wait_for(self._answers.popleft(), "list a directory")
        if isinstance(reply, Names):
            # An answer without names stands for the end.
            self._ended = self._ended or not reply.entries
            self._entries.extend(map(self._entry, filter(_is_entry, reply.entries)))
        elif _is_end(reply):
            self._ended = True
        else:
            raise handle.error(reply, "list")
        self._allowed = min(self._allowed + 1, _LISTING_MAX)
        self._ask()

    def _entry(self, entry: Name) -> SFTPDirEntry:
        if not is_entry_name(entry.filename):
            raise self._impossible(entry.filename)
        name = decode_name(entry.filename, self._encoding)
        path = posixpath.join(self._path, name)
        return SFTPDirEntry(name, path, SFTPAttributes.of(entry.attributes))

    def _impossible(self, name: bytes) -> SFTPIOError:
        """Make the error for a name that would lead out of the directory."""
        session = self._handle.session
        return SFTPIOError(
            "Could not list %s on host %s:%s: the server says that it contains %r, "
            "which is no name of a file",
            printable(self._handle.path),
            session.host,
            session.port,
            printable(name),
            host=session.host,
            port=session.port,
            path=self._path,
        )

    def _finish(self) -> None:
        if not self._closed:
            self._closed = True
            self._answers.clear()
            self._handle.close_unseen()


def _is_end(reply: object) -> bool:
    return isinstance(reply, Status) and reply.is_eof


def _is_entry(entry: Name) -> bool:
    return entry.filename not in (b".", b"..")


def _leave(handle: OpenHandle, _keep: object) -> None:
    """Close a directory that was collected."""
    handle.close_unseen()
