"""What a user can do with files on one host."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

import gevent

from pssh.clients.base.channel_access import ChannelAccess
from pssh.clients.base.ending import GRACE
from pssh.clients.base.files import remote, same_file
from pssh.clients.base.files.client import SFTPClient
from pssh.clients.base.files.copy_errors import named
from pssh.clients.base.files.download_tree import get_tree
from pssh.clients.base.files.get_file import IsADirectory, get_file
from pssh.clients.base.files.options import CopyOptions, Progress, Rate
from pssh.clients.base.files.put_file import put_file
from pssh.clients.base.files.session import SFTPSession, open_session
from pssh.clients.base.files.sftp_copy import SFTPCopy
from pssh.clients.base.files.upload_tree import put_tree
from pssh.clients.base.threads import in_thread
from pssh.exceptions import InvalidAPIUseError, PSSHError, SFTPError, SFTPIOError, StoppedError
from pssh.sftp import requests
from pssh.sftp.names import decode_name, encode_path, printable
from pssh.sftp.replies import Status
from pssh.utils import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: A path here, or on a host.
PathLike = str | bytes | os.PathLike[str]


class FileAccess(ChannelAccess):
    """The part of a client that copies files."""

    def open_sftp(self, encoding: str = "utf-8") -> SFTPClient:
        """Start an SFTP session: a client for files on the host. Close it, or use ``with``.

        :param encoding: how names are encoded on the host; other bytes come as surrogates.
        :raises SFTPError: when the server offers no SFTP.
        :raises Timeout: when a step takes longer than the client's ``timeout``.
        """
        session = self._sftp_session()
        session.wait_started()
        return SFTPClient(session, encoding, keep=self)

    def _sftp_session(self) -> SFTPSession:
        seconds = self.config.timeout
        return open_session(*self.open_channel(seconds), seconds)

    def copy_file(
        self,
        local_file: PathLike,
        remote_file: PathLike,
        recurse: bool = False,
        sftp: SFTPClient | None = None,
        *,
        preserve_times: bool = False,
        atomic: bool = False,
        resume: bool = False,
        progress: Progress | None = None,
        limit_rate: float | None = None,
    ) -> None:
        """Copy a local file, or what is in a directory, to the host over SFTP.

        The copy has the mode of the original. Directories that are missing on the host are
        made. A path that ends in ``/`` stands for the file's own name in that directory.

        :param local_file: the local path.
        :param remote_file: the remote path.
        :param recurse: copy a directory, with all that is below it: regular files,
            directories, and what symbolic links lead to.
        :param sftp: an SFTP client of this host to use; default is a new one.
        :param preserve_times: give the copy the original's times (whole seconds).
        :param atomic: write beside the target, and rename over it when all is there.
        :param resume: go on after what an earlier copy has left, and leave what there is when
            this one fails. It is not checked that the beginning is the same.
        :param progress: called with host, remote path, bytes done and bytes in all.
        :param limit_rate: bytes per second.
        :raises ValueError: when it is a directory and ``recurse`` is off.
        :raises SFTPError: when the server cannot write, or the original changes meanwhile; a
            part of a file is then removed again, unless the connection is lost.
        :raises OSError: when a local file cannot be read; ``host`` and ``filename`` are set.
        :raises PSSHError: when the connection is lost, or cannot be made.
        """
        options = CopyOptions(preserve_times, atomic, resume, progress, limit_rate)
        local = os.fsdecode(local_file)
        with named(self.host, self.port, local):
            if in_thread(_is_directory, local):
                _check_recurse(local, recurse)
                path, put = encode_path(remote_file), put_tree
            else:
                path, put = _named_like(encode_path(remote_file), os.path.basename(local)), put_file

            def send(copy: SFTPCopy) -> None:
                if not self._is_itself(copy, path, local, recurse=recurse):
                    self._check_apart(copy, path, local, to_host=True)
                    put(copy, local, path)

            self._over_sftp(sftp, options, send)
        self._log_copy("to", local, decode_name(path))

    def copy_remote_file(
        self,
        remote_file: PathLike,
        local_file: PathLike,
        recurse: bool = False,
        sftp: SFTPClient | None = None,
        encoding: str = "utf-8",
        *,
        preserve_times: bool = False,
        atomic: bool = False,
        resume: bool = False,
        progress: Progress | None = None,
        limit_rate: float | None = None,
    ) -> None:
        """Copy a file, or what is in a directory, from the host over SFTP.

        The copy has the mode of the original. Directories that are missing here are made. A
        path that ends in ``/`` stands for the file's own name in that directory. Below a
        directory nothing is written through symbolic links that lead out of it, and links,
        devices, sockets and pipes are never made.

        :param remote_file: the remote path.
        :param local_file: the local path.
        :param recurse: copy a directory, with all that is below it.
        :param sftp: an SFTP client of this host to use; default is a new one.
        :param encoding: how ``remote_file`` is encoded on the host.
        :param preserve_times: give the copy the original's times (whole seconds).
        :param atomic: write beside the target, and rename over it when all is there.
        :param resume: go on after what an earlier copy has left, and leave what there is when
            this one fails. It is not checked that the beginning is the same.
        :param progress: called with host, remote path, bytes done and bytes in all.
        :param limit_rate: bytes per second.
        :raises ValueError: when it is a directory and ``recurse`` is off.
        :raises SFTPError: when the server cannot read, or the original changes meanwhile; a
            part of a file is then removed again.
        :raises OSError: when a local file cannot be written; ``host`` and ``filename`` are set.
        :raises PSSHError: when the connection is lost, or cannot be made.
        """
        options = CopyOptions(preserve_times, atomic, resume, progress, limit_rate)
        path, local = encode_path(remote_file, encoding), os.fsdecode(local_file)
        name = os.fsdecode(path.rpartition(b"/")[2])

        def fetch(copy: SFTPCopy) -> None:
            target = local + name if local.endswith("/") else local
            if self._is_itself(copy, path, target, local, recurse=recurse):
                return
            try:
                get_file(copy, path, target)
            except IsADirectory as ex:
                _check_recurse(decode_name(path, encoding), recurse)
                self._check_apart(copy, path, local, to_host=False)
                get_tree(copy, path, ex.attributes, local)

        with named(self.host, self.port, local):
            self._over_sftp(sftp, options, fetch)
        self._log_copy("from", local, decode_name(path, encoding))

    def _is_itself(self, copy: SFTPCopy, path: bytes, *local: str, recurse: bool) -> bool:
        """Whether a file or directory would be copied onto itself: then nothing is to be done."""
        here = same_file.found_here(self, path, *local, recurse=recurse)
        if here is None or not same_file.is_told_by(copy.session, path, here):
            return False
        if stat.S_ISREG(here.st_mode):
            copy.meter(path, here.st_size).finish(here.st_size)
        same_file.log_left(self, decode_name(path))
        return True

    def _check_apart(self, copy: SFTPCopy, path: bytes, local: str, *, to_host: bool) -> None:
        """Check that no directory is copied to one below it, which would have no end."""
        found = same_file.found_around(self, path, local, to_host=to_host)
        if found is not None and same_file.is_told_by(copy.session, *found):
            raise SFTPError(
                "Directory %s on host %s:%s cannot be copied into itself",
                *(printable(found[0]), self.host, self.port),
                host=self.host,
                port=self.port,
                path=decode_name(path),
            )

    def _log_copy(self, direction: str, local: str, remote_file: str) -> None:
        """Log a copy that is there, in the words of 2.x."""
        logger.info(
            "Copied local file %s %s remote destination %s:%s",
            *(printable(local), direction, self.host, printable(remote_file)),
        )

    def _over_sftp(
        self,
        sftp: SFTPClient | None,
        options: CopyOptions,
        copy: Callable[[SFTPCopy], None],
    ) -> None:
        session = _session_of(sftp) if sftp is not None else self._sftp_session()
        copied = SFTPCopy(session, self._resources.sources, options, Rate(options.limit_rate))
        try:
            copy(copied)
        except (KeyboardInterrupt, StoppedError):
            # The program may end now, and with it what was not waited for.
            session.settle(GRACE)
            raise
        finally:
            if sftp is None:
                session.close()
            if copied.left and session.interrupted and self.connected:
                # After whatever the server has still to do for that session.
                session.wait_closed(GRACE)
                self._remove(copied.left)

    def _remove(self, left: Mapping[bytes, bool]) -> None:
        """Remove files for a session that Ctrl-C has ended, as far as they are there."""
        with contextlib.suppress(PSSHError), gevent.Timeout(GRACE, False):
            session = self._sftp_session()
            for path, begun in left.items():
                with contextlib.suppress(SFTPIOError):
                    if not begun:
                        remote.remove_empty(session, path)
                    elif remote.stat(session, path).is_file:
                        session.request(requests.remove(path), Status, "remove", path)
            session.close()

    # As 2.x has them

    def _make_sftp(self) -> SFTPClient:
        # There was no other way to what mkdir, sftp_put and sftp_get of 2.x take.
        return self.open_sftp()

    def mkdir(self, sftp: SFTPClient, directory: PathLike) -> None:
        """Make a directory on the host and those above it, as far as they are missing.

        :param sftp: an SFTP client of this host.
        :param directory: the remote path.
        :raises SFTPError: when it cannot be made.
        """
        remote.make_directories(_session_of(sftp), encode_path(directory))

    def sftp_put(self, sftp: SFTPClient, local_file: PathLike, remote_file: PathLike) -> None:
        """Copy a local file to the host; see :meth:`copy_file`.

        :param sftp: an SFTP client of this host.
        :param local_file: the local path.
        :param remote_file: the remote path.
        """
        self.copy_file(local_file, remote_file, sftp=sftp)

    def sftp_get(self, sftp: SFTPClient, remote_file: PathLike, local_file: PathLike) -> None:
        """Copy a file from the host; see :meth:`copy_remote_file`.

        :param sftp: an SFTP client of this host.
        :param remote_file: the remote path.
        :param local_file: the local path.
        """
        self.copy_remote_file(remote_file, local_file, sftp=sftp)


def _session_of(sftp: SFTPClient) -> SFTPSession:
    if not isinstance(sftp, SFTPClient):
        raise InvalidAPIUseError("sftp is %r, and must be what open_sftp() returned", sftp)
    return sftp.session


def _is_directory(path: str) -> bool:
    return stat.S_ISDIR(os.stat(path).st_mode)


def _check_recurse(path: str, recurse: bool) -> None:
    if not recurse:
        raise ValueError(f"{path} is a directory: copying it takes recurse=True")


def _named_like(path: bytes, name: str) -> bytes:
    return path + os.fsencode(name) if path.endswith(b"/") else path
