"""One file between here and an SFTP server, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass

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
from pssh.sftp import constants, requests
from pssh.sftp.attributes import Attributes
from pssh.sftp.names import decode_name, printable
from pssh.sftp.replies import FileAttributes, Handle, Status
from pssh.utils import logger

_WRITE = constants.SSH_FXF_WRITE | constants.SSH_FXF_CREAT


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
            handle = self._open_for_writing(written, source)
            try:
                self._send(source, handle, written, path)
                if self.options.atomic:
                    self._rename(written, path)
            except BaseException:
                self._give_up(written)
                raise

    def _open_for_writing(self, path: bytes, source: Source) -> bytes:
        flags = _WRITE if self.options.resume else _WRITE | constants.SSH_FXF_TRUNC
        mode = stat.S_IMODE(source.status.st_mode)
        request = requests.open_file(path, flags, Attributes(permissions=mode))
        try:
            return self.session.request(request, Handle, "open", path).handle
        except SFTPNoSuchFileError:
            parent = remote.parent_of(path)
            if not parent:
                raise
            remote.make_directories(self.session, parent)
            return self.session.request(request, Handle, "open", path).handle
        except SFTPIOError:
            there = False
            with contextlib.suppress(SFTPIOError):
                there = remote.is_directory(self.session, path)
            if there:
                # Servers only say that it failed.
                raise self._is_directory(path) from None
            raise

    def _send(self, source: Source, handle: bytes, written: bytes, path: bytes) -> None:
        session = self.session
        meter = self._meter(path, source.size)
        upload = Upload(session, handle, written, source, meter, self.rate)
        closed = False
        try:
            upload.send(self._bytes_there(handle, written, source.size))
            # In the order in which they are sent: nobody has to wait in between.
            attributes = session.ask(requests.fsetstat(handle, self._attributes(source.status)))
            ending = session.ask(requests.close(handle))
            closed = True
            upload.finish()
            self._check_attributes(session.wait_for(attributes, "set the attributes"), written)
            _check(session, session.wait_for(ending, "close a file"), "close", written)
            meter.tell(source.size)
        finally:
            if not closed and session.alive:
                session.ask(requests.close(handle))

    def _bytes_there(self, handle: bytes, path: bytes, size: int) -> int:
        """Return how many bytes of an earlier copy can stay."""
        if not self.options.resume:
            return 0
        request = requests.fstat(handle)
        there = self.session.request(request, FileAttributes, "look at", path).attributes.size or 0
        if there <= size:
            return there
        # It is not the beginning of this file.
        request = requests.fsetstat(handle, Attributes(size=0))
        self.session.request(request, Status, "empty", path)
        return 0

    def _attributes(self, status: os.stat_result) -> Attributes:
        mode = stat.S_IMODE(status.st_mode)
        if not self.options.preserve_times:
            return Attributes(permissions=mode)
        return Attributes(
            permissions=mode, atime=_seconds(status.st_atime), mtime=_seconds(status.st_mtime)
        )

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

    def _give_up(self, path: bytes) -> None:
        """Leave nothing behind that looks like the file, unless it can be of use."""
        if not self.options.resume and self.session.alive:
            with contextlib.suppress(PSSHError):
                self.session.ask(requests.remove(path))

    # From the server

    def get(
        self, path: bytes, local: str, *, follow: bool = True, known: Attributes | None = None
    ) -> None:
        """Copy a file from the server.

        :param path: the remote path.
        :param local: the local one; directories that are missing there are made.
        :param follow: whether the local path may be a symbolic link to what is written.
        :param known: its attributes, where they are known.
        :raises SFTPIOError: when the server cannot read it.
        :raises OSError: when it cannot be written.
        :raises SFTPError: when it changes meanwhile, or the session ends.
        """
        with self._explained(path):
            self._get(path, local, follow, known)

    def _get(self, path: bytes, local: str, follow: bool, known: Attributes | None) -> None:
        session = self.session
        looked = session.ask(requests.stat(path)) if known is None else None
        request = requests.open_file(path, constants.SSH_FXF_READ)
        handle = session.request(request, Handle, "open", path).handle
        try:
            if looked is not None:
                reply = session.wait_for(looked, "look at a file")
                if not isinstance(reply, FileAttributes):
                    assert isinstance(reply, Status)
                    raise session.refusal(reply, "look at", path)
                known = reply.attributes
            assert known is not None
            if known.is_dir:
                raise self._is_directory(path)
            self._fetch(handle, path, known, local, follow)
        finally:
            if session.alive:
                session.ask(requests.close(handle))

    def _fetch(
        self, handle: bytes, path: bytes, known: Attributes, local: str, follow: bool
    ) -> None:
        written = os.fsdecode(_beside(os.fsencode(local))) if self.options.atomic else local
        in_thread(_make_parents, written)
        mode = known.mode if known.mode is not None else 0o666
        target = Target(written, mode, keep=self.options.resume, follow=follow)
        complete = False
        try:
            size = self._receive(handle, path, known, target)
            times = None
            if self.options.preserve_times and known.mtime is not None:
                times = ((known.atime or known.mtime) * 10**9, known.mtime * 10**9)
            target.finish(size, known.mode, times)
            if self.options.atomic:
                in_thread(os.replace, written, local)
            complete = True
        finally:
            target.close()
            if not complete and not self.options.resume and stat.S_ISREG(target.status.st_mode):
                with contextlib.suppress(OSError):
                    os.unlink(written)

    def _receive(self, handle: bytes, path: bytes, known: Attributes, target: Target) -> int:
        session = self.session
        # What has no size is made up when it is read, such as files below /proc.
        size = known.size or None
        start = 0
        if self.options.resume and size is not None and target.size <= size:
            start = target.size
        download = Download(session, handle, path, target, self._meter(path, size or 0), self.rate)
        received = download.run(start, size)
        request = requests.fstat(handle)
        now = session.request(request, FileAttributes, "look at", path).attributes
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

    def _is_directory(self, path: bytes) -> SFTPIOError:
        session = self.session
        return SFTPIOError(
            "%s on host %s:%s is a directory, and a file is needed",
            printable(path),
            session.host,
            session.port,
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


def _seconds(time: float) -> int:
    """Return a time as SFTP version 3 can say it: 32 bits of whole seconds."""
    return max(0, min(int(time), 0xFFFFFFFF))
