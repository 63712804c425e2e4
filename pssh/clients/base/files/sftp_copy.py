"""One file between here and an SFTP server, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from gevent.event import AsyncResult

from pssh.clients.base.files import remote
from pssh.clients.base.files.download import Download
from pssh.clients.base.files.local import Source, Sources, Target
from pssh.clients.base.files.options import CopyOptions, Meter, Rate
from pssh.clients.base.files.session import SFTPSession
from pssh.clients.base.files.upload import Upload
from pssh.clients.base.threads import in_thread
from pssh.exceptions import (
    ConnectionLostError,
    PSSHError,
    SFTPConnectionLostError,
    SFTPError,
    SFTPIOError,
    SFTPNoSuchFileError,
    SFTPPermissionDeniedError,
)
from pssh.local_path import describe
from pssh.sftp import constants, requests
from pssh.sftp.attributes import Attributes
from pssh.sftp.names import decode_name, printable
from pssh.sftp.replies import FileAttributes, Handle, Names, Status
from pssh.utils import logger

_WRITE = constants.SSH_FXF_WRITE | constants.SSH_FXF_CREAT


class IsADirectory(Exception):
    """What was to be fetched as a file is a directory.

    :param attributes: its attributes.
    """

    def __init__(self, attributes: Attributes) -> None:
        super().__init__(attributes)
        self.attributes = attributes


@dataclass(slots=True)
class SFTPCopy:
    """Copies files over a session, with the same options.

    :param session: the SFTP session.
    :param sources: the local files that other hosts are being sent.
    :param options: how to copy.
    :param rate: holds all files of the copy back together.
    """

    session: SFTPSession
    sources: Sources
    options: CopyOptions
    rate: Rate

    # To the server

    def put(self, local: str, path: bytes) -> None:
        """Copy a local file to the server.

        :param local: its path.
        :param path: the remote path; directories that are missing there are made.
        :raises SFTPIOError: when the server cannot write it.
        :raises OSError: when it cannot be read.
        :raises SFTPError: when it changes meanwhile, or the session ends.
        """
        with self._explained(path), self.sources.open(local) as source:
            written = _beside(path) if self.options.atomic else path
            opened = self._open_for_writing(written, source)
            try:
                self._send(source, opened, written, path)
                if self.options.atomic:
                    self._rename(written, path)
            except BaseException as ex:
                # A device stays, and so does what resume can go on with.
                if not self.options.resume and opened[1].file_type in (None, stat.S_IFREG):
                    self._remove(written, wait=isinstance(ex, Exception))
                raise

    def _open_for_writing(self, path: bytes, source: Source) -> tuple[bytes, Attributes]:
        """Open a file, and look at what that has opened; no round trip more than opening."""
        flags = _WRITE if self.options.resume else _WRITE | constants.SSH_FXF_TRUNC
        # Until it is whole, it has to be one that we can write to.
        mode = stat.S_IMODE(source.status.st_mode) | stat.S_IWUSR
        session = self.session
        opening = session.ask(requests.open_file(path, flags, Attributes(permissions=mode)))
        looked = session.ask(requests.stat(path))
        opened = session.wait_for(opening, "open a file")
        there = session.wait_for(looked, "look at a file")
        attributes = there.attributes if isinstance(there, FileAttributes) else Attributes()
        if isinstance(opened, Handle):
            return opened.handle, attributes
        assert isinstance(opened, Status)
        error = session.refusal(opened, "open", path)
        if attributes.is_dir:
            # Servers only say that it failed.
            raise self._no_file(path, "is a directory") from error
        parent = remote.parent_of(path)
        if not isinstance(error, SFTPNoSuchFileError) or not parent:
            raise error
        remote.make_directories(session, parent)
        request = requests.open_file(path, flags, Attributes(permissions=mode))
        return session.request(request, Handle, "open", path).handle, Attributes()

    def _send(
        self, source: Source, opened: tuple[bytes, Attributes], written: bytes, path: bytes
    ) -> None:
        session, (handle, there) = self.session, opened
        meter = self._meter(path, source.size)
        upload = Upload(session, handle, written, source, meter, self.rate)
        closed = False
        try:
            upload.send(self._bytes_there(handle, there, written, source.size))
            # In the order in which they are sent: nobody has to wait in between.
            attributes = None
            kept = attributes_of(source.status, times=self.options.preserve_times)
            if there.file_type is None or there.is_file:
                attributes = session.ask(requests.fsetstat(handle, kept))
            ending = session.ask(requests.close(handle))
            closed = True
            upload.finish()
            if attributes is not None:
                self._check_attributes(session.wait_for(attributes, "set the attributes"), written)
            _check(session, session.wait_for(ending, "close a file"), "close", written)
            meter.finish(source.size)
        except Exception:
            if self.options.resume:
                self._keep_only(upload, handle if not closed else None, written)
            raise
        finally:
            if not closed and session.alive:
                session.ask(requests.close(handle))

    def _keep_only(self, upload: Upload, handle: bytes | None, path: bytes) -> None:
        """Cut off what is behind a gap: the next copy goes on where this one ends."""
        session = self.session
        upload.settle()
        shorter = Attributes(size=upload.whole_until)
        if not session.alive:
            return
        with contextlib.suppress(PSSHError):
            if handle is not None:
                answer = session.ask(requests.fsetstat(handle, shorter))
            else:
                answer = session.ask(requests.setstat(path, shorter))
            session.wait_for(answer, "shorten a file")

    def _bytes_there(self, handle: bytes, there: Attributes, path: bytes, size: int) -> int:
        """Return how many bytes of an earlier copy can stay."""
        if not self.options.resume:
            return 0
        count = there.size or 0
        if count <= size:
            return count
        # It is not the beginning of this file.
        request = requests.fsetstat(handle, Attributes(size=0))
        self.session.request(request, Status, "empty", path)
        return 0

    def _check_attributes(self, reply: object, path: bytes) -> None:
        assert isinstance(reply, Status)
        try:
            _check(self.session, reply, "set the attributes of", path)
        except SFTPPermissionDeniedError as ex:
            # A file of somebody else's that we may write: its mode is not ours to change.
            if self.options.preserve_times:
                raise
            logger.warning("%s", ex)

    def _rename(self, old: bytes, new: bytes) -> None:
        session = self.session
        if session.supports(constants.POSIX_RENAME):
            request = requests.posix_rename(old, new)
        else:
            # The server does not replace a file: it says so where there is one.
            request = requests.rename(old, new)
        session.request(request, Status, "rename", old, target=new)

    def _remove(self, path: bytes, *, wait: bool) -> None:
        """Leave nothing behind that looks like the file."""
        session = self.session
        if not session.alive:
            return
        with contextlib.suppress(PSSHError):
            if not wait:
                # Where a symbolic link led to it, that is what goes: what is behind it is emptied.
                session.ask(requests.setstat(path, Attributes(size=0)))
                session.ask(requests.remove(path))
                return
            reply = session.wait_for(session.ask(requests.realpath(path)), "find a file")
            if isinstance(reply, Names):
                path = reply.entries[0].filename
            session.wait_for(session.ask(requests.remove(path)), "remove a file")

    # From the server

    def get(
        self, path: bytes, local: str, *, follow: bool = True, known: Attributes | None = None
    ) -> None:
        """Copy a file from the server.

        :param path: the remote path.
        :param local: the local one; directories that are missing there are made.
        :param follow: whether the local path may be a symbolic link to what is written.
        :param known: its attributes, where they are known.
        :raises IsADirectory: when it is one.
        :raises SFTPIOError: when the server cannot read it.
        :raises OSError: when it cannot be written.
        :raises SFTPError: when it changes meanwhile, or the session ends.
        """
        with self._explained(path):
            self._get(path, local, follow, known)

    def _get(self, path: bytes, local: str, follow: bool, known: Attributes | None) -> None:
        session = self.session
        if known is None:
            known = remote.stat(session, path)
        if known.is_dir:
            raise IsADirectory(known)
        if known.file_type is not None and not known.is_file:
            # A server waits for somebody to write to a pipe, and does nothing else meanwhile.
            raise self._no_file(path, f"is {describe(known.permissions or 0)}")
        opened = session.request(
            requests.open_file(path, constants.SSH_FXF_READ), Handle, "open", path
        )
        try:
            self._fetch(opened.handle, path, known, local, follow)
        finally:
            if session.alive:
                session.ask(requests.close(opened.handle))

    def _fetch(
        self, handle: bytes, path: bytes, known: Attributes, local: str, follow: bool
    ) -> None:
        written = os.fsdecode(_beside(os.fsencode(local))) if self.options.atomic else local
        in_thread(_make_parents, written)
        mode = known.mode if known.mode is not None else 0o666
        target = Target(written, mode, keep=self.options.resume, follow=follow)
        meter = self._meter(path, known.size or 0)
        complete = False
        try:
            size = self._receive(handle, path, known, target, meter)
            times = times_of(known) if self.options.preserve_times else None
            target.finish(size, known.mode, times)
            meter.finish(size)
            if self.options.atomic:
                in_thread(os.replace, written, local)
            complete = True
        finally:
            if complete or self.options.resume:
                target.close()
            else:
                target.remove()

    def _receive(
        self, handle: bytes, path: bytes, known: Attributes, target: Target, meter: Meter
    ) -> int:
        session = self.session
        # What has no size is made up when it is read, such as files below /proc.
        size = known.size or None
        start = 0
        if self.options.resume and size is not None and target.size <= size:
            start = target.size
        download = Download(session, handle, path, target, meter, self.rate)
        looked: list[AsyncResult] = []
        try:
            received = download.run(
                start, size, lambda: looked.append(session.ask(requests.fstat(handle)))
            )
        except BaseException:
            if self.options.resume:
                target.keep_only(download.whole_until)
            raise
        reply = session.wait_for(looked[0], "look at a file")
        if not isinstance(reply, FileAttributes):
            assert isinstance(reply, Status)
            raise session.refusal(reply, "look at", path)
        now = reply.attributes
        if size is not None and (now.size, now.mtime) != (known.size, known.mtime):
            raise SFTPError(
                "File %s on host %s:%s changed while it was copied",
                printable(path),
                session.host,
                session.port,
                host=session.host,
                port=session.port,
            )
        return received

    # Both

    @contextlib.contextmanager
    def _explained(self, path: bytes) -> Iterator[None]:
        """Have every error say which file it is about."""
        session = self.session
        try:
            yield
        except SFTPError as ex:
            if ex.path is None:
                ex.path = decode_name(path)
            raise
        except ConnectionLostError as ex:
            raise SFTPConnectionLostError(
                "The copy of %s was cut off: %s",
                printable(path),
                ex,
                host=session.host,
                port=session.port,
                path=decode_name(path),
            ) from ex

    def _meter(self, path: bytes, size: int) -> Meter:
        return Meter(self.session.host, decode_name(path), size, self.options.progress)

    def _no_file(self, path: bytes, what: str) -> SFTPIOError:
        session = self.session
        return SFTPIOError(
            "%s on host %s:%s %s, and a regular file is needed",
            printable(path),
            session.host,
            session.port,
            what,
            host=session.host,
            port=session.port,
            path=decode_name(path),
        )


@contextlib.contextmanager
def named(host: str, port: int, path: str) -> Iterator[None]:
    """Tell an error of a local file which host it was about.

    :param host: the host.
    :param port: its port.
    :param path: the local path.
    """
    try:
        yield
    except PSSHError:
        raise
    except OSError as ex:
        ex.host, ex.port = host, port  # type: ignore[attr-defined]
        if ex.filename is None:
            ex.filename = path
        raise


def _check(session: SFTPSession, reply: object, action: str, path: bytes) -> None:
    assert isinstance(reply, Status)
    if not reply.is_ok:
        raise session.refusal(reply, action, path)


def _beside(path: bytes) -> bytes:
    """Return the path of a new file in the same directory."""
    head, slash, name = path.rpartition(b"/")
    # A long name has to stay within what file systems allow.
    return head + slash + b"." + name[:200] + b"." + secrets.token_hex(6).encode() + b".part"


def _make_parents(path: str) -> None:
    parent = os.path.dirname(path)
    if parent:
        os.makedirs(parent, exist_ok=True)


def attributes_of(status: os.stat_result, *, times: bool) -> Attributes:
    """Return what of a local file's attributes its copy is given.

    :param times: whether it keeps its times.
    """
    mode = stat.S_IMODE(status.st_mode)
    if not times:
        return Attributes(permissions=mode)
    return Attributes(
        permissions=mode, atime=_seconds(status.st_atime), mtime=_seconds(status.st_mtime)
    )


def times_of(attributes: Attributes) -> tuple[int, int] | None:
    """Return when a remote file was read and changed last, in nanoseconds.

    :returns: ``None`` where the server does not say.
    """
    if attributes.mtime is None:
        return None
    return (attributes.atime or attributes.mtime) * 10**9, attributes.mtime * 10**9


def _seconds(time: float) -> int:
    """Return a time as SFTP version 3 can say it: 32 bits of whole seconds."""
    return max(0, min(int(time), 0xFFFFFFFF))
