"""One local file to an SFTP server, whole or not at all."""

from __future__ import annotations

import contextlib
import stat
import time

from pssh.clients.base.files import remote
from pssh.clients.base.files.copy_errors import about_file, explain_failure, not_regular
from pssh.clients.base.files.open_handle import Opening
from pssh.clients.base.files.remote_path import beside, parent_of
from pssh.clients.base.files.session import SFTPSession
from pssh.clients.base.files.sftp_copy import SFTPCopy, attributes_of
from pssh.clients.base.files.source import Source
from pssh.clients.base.files.upload import Upload
from pssh.exceptions import (
    ConnectionLostError,
    PSSHError,
    SFTPError,
    SFTPFailureError,
    SFTPNoSuchFileError,
    SFTPPermissionDeniedError,
    Timeout,
)
from pssh.sftp import constants, requests
from pssh.sftp.attributes import Attributes
from pssh.sftp.replies import FileAttributes, Handle, Names, Reply, Status
from pssh.utils import logger

_WRITE = constants.SSH_FXF_WRITE | constants.SSH_FXF_CREAT

#: What is known of a file that is not there yet.
_NOTHING = Attributes(size=0)


def put_file(copy: SFTPCopy, local: str, path: bytes) -> None:
    """Copy a local file to the server.

    :param copy: how to copy.
    :param local: its path.
    :param path: the remote path; directories that are missing there are made.
    :raises SFTPIOError: when the server cannot write it.
    :raises OSError: when it cannot be read.
    :raises SFTPError: when it changes meanwhile, or the session ends.
    """
    with about_file(copy.session, path, local), copy.open_source(local) as source:
        written = beside(path) if copy.options.atomic else path
        _Put(copy, source, path, written).run()


class _Put:
    """The copy of one file.

    :param written: the remote path that is written, and renamed to ``path`` with ``atomic``.
    """

    __slots__ = ("_copy", "_path", "_session", "_source", "_written")

    def __init__(self, copy: SFTPCopy, source: Source, path: bytes, written: bytes) -> None:
        self._copy = copy
        self._session = copy.session
        self._source = source
        self._path = path
        self._written = written

    def run(self) -> None:
        there = Attributes()
        begun = False
        try:
            handle, there = self._open()
            begun = True
            self._send(handle, there)
            if self._copy.options.atomic:
                self._rename()
        except SFTPFailureError as ex:
            explained = explain_failure(self._session, ex, self._written)
            if begun:
                self._leave(there)
            if explained is ex:
                raise
            raise explained from ex
        except BaseException as ex:
            if begun and isinstance(ex, Exception):
                self._leave(there)
            elif begun:
                # Whoever gives it up, or Ctrl-C, does not want to wait.
                self._session.before_the_end(self._leave, there)
            else:
                self._leave_unopened(ex)
            raise

    def _open(self) -> tuple[bytes, Attributes]:
        """Look at what is there, and open it; no round trip more than opening."""
        session, path = self._session, self._written
        flags = _WRITE if self._copy.options.resume else _WRITE | constants.SSH_FXF_TRUNC
        # Until it is whole, it has to be one that we can write to.
        mode = stat.S_IMODE(self._source.status.st_mode) | stat.S_IWUSR
        request = requests.open_file(path, flags, Attributes(permissions=mode))
        began = time.monotonic()
        looked = session.ask(requests.stat(path))
        with Opening(session, request) as opening:
            there = self._look(session.wait_for(looked, "look at a file"))
            session.answered_since(began)
            if stat.S_ISFIFO(there.permissions or 0):
                # Opening it, the server waits for somebody who reads, maybe for ever.
                raise not_regular(session, path, "is a named pipe")
            opened = opening.wait("open a file")
        if isinstance(opened, Handle):
            return opened.handle, there
        error = session.refusal(opened, "open", path)
        if there.is_dir:
            # Servers only say that it failed.
            raise not_regular(session, path, "is a directory") from error
        parent = parent_of(path)
        if not isinstance(error, SFTPNoSuchFileError) or not parent:
            raise error
        remote.make_directories(session, parent)
        return session.request(request, Handle, "open", path).handle, _NOTHING

    def _look(self, reply: Reply) -> Attributes:
        """Return what is known of what is there."""
        if isinstance(reply, FileAttributes):
            return reply.attributes
        assert isinstance(reply, Status)
        return _NOTHING if reply.code == constants.SSH_FX_NO_SUCH_FILE else Attributes()

    def _send(self, handle: bytes, there: Attributes) -> None:
        session, source, options = self._session, self._source, self._copy.options
        meter = self._copy.meter(self._path, source.size)
        upload = Upload(session, handle, self._written, source, meter, self._copy.rate)
        closed = False
        try:
            size = upload.send(self._bytes_there(handle, there))
            # In the order in which they are sent: nobody has to wait in between.
            attributes = None
            kept = attributes_of(source.status, times=options.preserve_times)
            if there.file_type is None or there.is_file:
                attributes = session.ask(requests.fsetstat(handle, kept))
            ending = session.ask(requests.close(handle))
            closed = True
            upload.finish()
            if attributes is not None:
                self._check_attributes(session.wait_for(attributes, "set the attributes"))
            _check(session, session.wait_for(ending, "close a file"), "close", self._written)
            meter.finish(size)
        except Exception:
            if options.resume:
                self._keep_only(upload, handle if not closed else None)
            raise
        finally:
            if not closed and session.alive:
                session.before_the_end(session.ask, requests.close(handle))

    def _bytes_there(self, handle: bytes, there: Attributes) -> int:
        """Return how many bytes of an earlier copy can stay."""
        if not self._copy.options.resume:
            return 0
        count = there.size
        if count is not None and count <= self._source.size:
            return count
        # It is not the beginning of this file, or nobody knows where it ends.
        request = requests.fsetstat(handle, Attributes(size=0))
        self._session.request(request, Status, "empty", self._written)
        return 0

    def _check_attributes(self, reply: object) -> None:
        try:
            _check(self._session, reply, "set the attributes of", self._written)
        except SFTPPermissionDeniedError as ex:
            # A file of somebody else's that we may write: its mode is not ours to change.
            if self._copy.options.preserve_times:
                raise
            logger.warning("%s", ex)

    def _rename(self) -> None:
        session = self._session
        # Without the extension the server does not replace a file: it says so where there is one.
        atomic = session.supports(constants.POSIX_RENAME)
        request = (requests.posix_rename if atomic else requests.rename)(self._written, self._path)
        session.request(request, Status, "rename", self._written, target=self._path)

    # After an error

    def _keep_only(self, upload: Upload, handle: bytes | None) -> None:
        """Cut off what is behind a gap: the next copy goes on where this one ends."""
        session = self._session
        upload.settle()
        shorter = Attributes(size=upload.whole_until)
        if not session.alive:
            return
        with contextlib.suppress(PSSHError):
            if handle is not None:
                answer = session.ask(requests.fsetstat(handle, shorter))
            else:
                answer = session.ask(requests.setstat(self._written, shorter))
            session.wait_for(answer, "shorten a file")

    def _leave_unopened(self, error: BaseException) -> None:
        """Leave nothing behind of a file that the server may have opened all the same."""
        if self._copy.options.resume:
            return
        self._copy.left.setdefault(self._written, False)
        if not isinstance(error, SFTPError | ConnectionLostError | Timeout | ValueError):
            # It was given up, and neither refused nor impossible to ask for.
            self._session.before_the_end(remote.remove_empty, self._session, self._written)

    def _leave(self, there: Attributes) -> None:
        """Leave nothing behind that looks like the file."""
        session, path = self._session, self._written
        # A device stays, and so does what resume can go on with.
        if self._copy.options.resume or there.file_type not in (None, stat.S_IFREG):
            return
        self._copy.left[path] = True
        with contextlib.suppress(PSSHError):
            if not session.alive:
                return
            reply = session.wait_for(session.ask(requests.realpath(path)), "find a file")
            if isinstance(reply, Names):
                path = reply.entries[0].filename
            session.wait_for(session.ask(requests.remove(path)), "remove a file")


def _check(session: SFTPSession, reply: object, action: str, path: bytes) -> None:
    assert isinstance(reply, Status)
    if not reply.is_ok:
        raise session.refusal(reply, action, path)
