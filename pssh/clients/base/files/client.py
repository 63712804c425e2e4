"""Files and directories of a host, over SFTP."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TypeVar

import gevent

from pssh.clients.base.files import remote
from pssh.clients.base.files.changes import Times, moments, permissions
from pssh.clients.base.files.directory import SFTPDirectory
from pssh.clients.base.files.file import SFTPFile
from pssh.clients.base.files.file_mode import flags_for
from pssh.clients.base.files.open_handle import OpenHandle
from pssh.clients.base.files.remote_path import parent_of
from pssh.clients.base.files.session import SFTPSession
from pssh.clients.base.files.status import SFTPAttributes
from pssh.exceptions import SFTPIOError, SFTPNoSuchFileError
from pssh.sftp import constants, requests
from pssh.sftp.attributes import Attributes
from pssh.sftp.names import decode_name, encode_path
from pssh.sftp.replies import FileAttributes, Names, Status, StatVFS
from pssh.sftp.requests import Request

#: A path on the server: text in the client's encoding, bytes, or a path object.
RemotePath = str | bytes | os.PathLike[str]

_Self = TypeVar("_Self")


class SFTPClient:
    """Files and directories of a host. :meth:`SSHClient.open_sftp` makes it.

    Use it as a context manager, or :meth:`close` it. Several greenlets may use it at the same
    time.

    Paths are text, bytes or path objects; relative ones start from the directory that the server
    chose, which ``realpath(".")`` tells. Names come as text; bytes that are not in the client's
    encoding become lone surrogates (PEP 383), which lead back to the same file.

    Every method raises :class:`pssh.exceptions.SFTPIOError`, or one of its subclasses
    (``SFTPNoSuchFileError``, ``SFTPPermissionDeniedError``, ``SFTPFailureError``,
    ``SFTPUnsupportedError``), when the server refuses;
    :class:`pssh.exceptions.ConnectionLostError` when the connection has ended;
    :class:`pssh.exceptions.SFTPError` when the session has, for instance because it was closed;
    :class:`pssh.exceptions.Timeout` when a request takes longer than the client's ``timeout``;
    and ``ValueError`` for what the protocol cannot express, such as a path with a null byte.
    All but the last have the host and the port, those of the first kind the path as well.

    :param session: the SFTP session.
    :param encoding: how names are encoded on the server.
    :param keep: kept alive as long as the client, or a file that it opened, is in use.

    :ivar session: the SFTP session.
    :ivar encoding: how names are encoded on the server.
    """

    def __init__(self, session: SFTPSession, encoding: str = "utf-8", keep: object = None) -> None:
        self.session = session
        self.encoding = encoding
        self._keep = keep
        self._hub = gevent.get_hub()
        self._closed = False

    # Directories

    def listdir(self, path: RemotePath = ".") -> list[str]:
        """Return the names of what is in a directory, in any order, without ``.`` and ``..``.

        :param path: the directory.
        """
        return [entry.name for entry in self.scandir(path)]

    def scandir(self, path: RemotePath = ".") -> SFTPDirectory:
        """Iterate over what is in a directory, in any order, without ``.`` and ``..``.

        Entries are fetched while they are used, and a few requests ahead. Some servers say only
        when the first one is wanted that there is no such directory.

        :param path: the directory.
        :returns: an iterator over :class:`SFTPDirEntry`, which is a context manager as well:
            leaving it, or the last entry, closes the directory.
        """
        encoded = self._encode(path)
        handle = OpenHandle.open(self.session, requests.opendir(encoded), "list", encoded)
        return SFTPDirectory(handle, self.encoding, keep=self)

    def mkdir(self, path: RemotePath, mode: int = 0o777) -> None:
        """Make a directory.

        :param path: the directory; the one above must be there.
        :param mode: its permissions, less what the server's umask takes away.
        :raises SFTPFailureError: when the path exists.
        """
        self._make(self._encode(path), mode)

    def makedirs(self, path: RemotePath, mode: int = 0o777, exist_ok: bool = False) -> None:
        """Make a directory and those above it, as far as they are missing.

        :param path: the directory.
        :param mode: its permissions, less what the server's umask takes away; those above get
            the server's default.
        :param exist_ok: whether it may be there already.
        :raises SFTPFailureError: when it is, or something that is no directory is in the way.
        """
        encoded = self._encode(path)
        try:
            try:
                self._make(encoded, mode)
            except SFTPNoSuchFileError:
                parent = parent_of(encoded)
                if not parent or parent == encoded:
                    raise
                remote.make_directories(self.session, parent)
                self._make(encoded, mode)
        except SFTPIOError:
            # Servers have no code of their own for what exists.
            if not exist_ok or not remote.is_directory(self.session, encoded):
                raise

    def _make(self, path: bytes, mode: int) -> None:
        self._do(requests.mkdir(path, permissions(mode)), "make directory", path)

    def rmdir(self, path: RemotePath) -> None:
        """Remove an empty directory.

        :param path: the directory.
        :raises SFTPFailureError: when it is not empty.
        """
        encoded = self._encode(path)
        self._do(requests.rmdir(encoded), "remove directory", encoded)

    # Names

    def remove(self, path: RemotePath) -> None:
        """Remove a file or a symbolic link.

        :param path: the file; no directory.
        """
        encoded = self._encode(path)
        self._do(requests.remove(encoded), "remove", encoded)

    def rename(self, old: RemotePath, new: RemotePath) -> None:
        """Rename a file or directory.

        What has the new name is replaced in one step, as by rename(2), where the server has
        posix-rename@openssh.com; elsewhere that fails (draft-ietf-secsh-filexfer-02 section 6.5).

        :param old: its path.
        :param new: its path from now on, on the same file system.
        :raises SFTPFailureError: when it cannot be, for instance because the new name exists.
        """
        source, target = self._encode(old), self._encode(new)
        atomic = self.session.supports(constants.POSIX_RENAME)
        request = (requests.posix_rename if atomic else requests.rename)(source, target)
        self._do(request, "rename", source, target)

    def symlink(self, target: RemotePath, link: RemotePath) -> None:
        """Make a symbolic link.

        :param target: what it points to, which need not exist; not changed in any way.
        :param link: its path.
        """
        to, path = self._encode(target), self._encode(link)
        # asyncssh's server has the draft's order for clients that do not call themselves OpenSSH.
        # It says who it is, as in draft-ietf-secsh-filexfer-13 section 4.4.
        by_the_draft = b"AsyncSSH" in self.session.extensions.get(b"vendor-id", b"")
        request = requests.symlink(path, to) if by_the_draft else requests.symlink(to, path)
        self._do(request, "make symbolic link", path, to)

    def link(self, old: RemotePath, new: RemotePath) -> None:
        """Give a file one more name (hardlink@openssh.com).

        :param old: its path.
        :param new: the further one, on the same file system.
        :raises SFTPUnsupportedError: when the server does not have this extension.
        """
        source, path = self._encode(old), self._encode(new)
        self.session.require(constants.HARDLINK, "make hard link", path)
        self._do(requests.hardlink(source, path), "make hard link", path, source)

    def readlink(self, path: RemotePath) -> str:
        """Return what a symbolic link points to.

        :param path: the link.
        """
        encoded = self._encode(path)
        return self._name(requests.readlink(encoded), "read symbolic link", encoded)

    def realpath(self, path: RemotePath = ".") -> str:
        """Return the absolute path without symbolic links.

        :param path: the path; whether it must exist is the server's choice.
        """
        encoded = self._encode(path)
        return self._name(requests.realpath(encoded), "find the absolute path of", encoded)

    # Attributes

    def stat(self, path: RemotePath) -> SFTPAttributes:
        """Return the attributes of a file; of a symbolic link those of what it points to.

        :param path: the file.
        """
        encoded = self._encode(path)
        return self._look(requests.stat(encoded), encoded)

    def lstat(self, path: RemotePath) -> SFTPAttributes:
        """Return the attributes of a file; of a symbolic link its own.

        :param path: the file.
        """
        encoded = self._encode(path)
        return self._look(requests.lstat(encoded), encoded)

    def chmod(self, path: RemotePath, mode: int) -> None:
        """Change the permissions of a file; of a symbolic link those of what it points to.

        :param path: the file.
        :param mode: such as ``0o644``.
        """
        self._change(path, permissions(mode), "change the permissions of")

    def chown(self, path: RemotePath, uid: int, gid: int) -> None:
        """Change who owns a file.

        :param path: the file.
        :param uid: the user's number on the server.
        :param gid: the group's number on the server.
        """
        self._change(path, Attributes(uid=uid, gid=gid), "change the owner of")

    def utime(self, path: RemotePath, times: Times | None = None) -> None:
        """Change when a file was last read and last changed.

        :param path: the file.
        :param times: both in seconds since 1970, of which the protocol has whole ones; ``None``
            for now, by this computer's clock.
        """
        self._change(path, moments(times), "change the times of")

    def truncate(self, path: RemotePath, size: int) -> None:
        """Change the length of a file.

        :param path: the file.
        :param size: in bytes; what is added is zero.
        """
        self._change(path, Attributes(size=size), "truncate")

    def statvfs(self, path: RemotePath) -> StatVFS:
        """Return the state of the file system that a path is on (statvfs@openssh.com).

        :param path: any file or directory on it.
        :returns: the values under the names of :func:`os.statvfs`.
        :raises SFTPUnsupportedError: when the server does not have this extension.
        """
        encoded = self._encode(path)
        action = "look at the file system of"
        self.session.require(constants.STATVFS, action, encoded)
        return self.session.request(requests.statvfs(encoded), StatVFS, action, encoded)

    # Files

    def open(self, path: RemotePath, mode: str = "r") -> SFTPFile:
        """Open a file.

        :param path: the file.
        :param mode: ``r`` to read, ``w`` to write anew, ``a`` to append, ``x`` to write a file
            that must not exist; with ``+`` both to read and to write. Files are binary, with or
            without ``b``. New ones get the server's default permissions.
        :returns: a file object; close it, or use it as a context manager.
        :raises ValueError: when there is no such mode, or it is one for text.
        :raises SFTPFailureError: with mode ``x``, when the file exists.
        """
        flags, kind = flags_for(mode)
        encoded = self._encode(path)
        action = "create" if "x" in kind else "open"
        request = requests.open_file(encoded, flags)
        handle = OpenHandle.open(self.session, request, action, encoded)
        try:
            end = self._end(handle) if "a" in kind else 0
        except BaseException:
            handle.close_unseen()
            raise
        return SFTPFile(handle, decode_name(encoded, self.encoding), kind, self, end)

    def _end(self, handle: OpenHandle) -> int:
        return self._look(requests.fstat(handle.value), handle.path).st_size or 0

    # The end

    def close(self) -> None:
        """End the session. Files that are open are lost: close them before."""
        self._closed = True
        self.session.close()

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
        # The garbage collector may run in the middle of anything, and in any thread.
        if getattr(self, "_closed", True) or sys.is_finalizing():
            return
        loop = self._hub.loop
        if loop is not None:
            loop.run_callback_threadsafe(self.session.close)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.session.host}:{self.session.port}>"

    # Asking

    def _encode(self, path: RemotePath) -> bytes:
        return encode_path(path, self.encoding)

    def _do(self, request: Request, action: str, path: bytes, target: bytes | None = None) -> None:
        self.session.request(request, Status, action, path, target=target)

    def _change(self, path: RemotePath, attributes: Attributes, action: str) -> None:
        encoded = self._encode(path)
        self._do(requests.setstat(encoded, attributes), action, encoded)

    def _look(self, request: Request, path: bytes) -> SFTPAttributes:
        reply = self.session.request(request, FileAttributes, "look at", path)
        return SFTPAttributes.of(reply.attributes)

    def _name(self, request: Request, action: str, path: bytes) -> str:
        (entry,) = self.session.request(request, Names, action, path).entries
        return decode_name(entry.filename, self.encoding)
