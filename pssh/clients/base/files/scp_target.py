"""What is fetched over SCP, as it is written to the local disk. In threads, a call at a time.

Names come from the server. What is below the directory that the user named is opened from the
directory above it, and without following links (:mod:`pssh.local_path`).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pssh.clients.base.files.target import write_at
from pssh.exceptions import SCPError
from pssh.local_path import DIRECTORY_FLAGS, WRITE_FLAGS, check_link, join
from pssh.scp.record import Times
from pssh.sftp.names import printable
from pssh.utils import logger


@dataclass(slots=True)
class _Directory:
    descriptor: int
    path: str
    #: What it gets at its end; ``None``: it stays as it is.
    mode: int | None = None
    times: Times | None = None


@dataclass(slots=True)
class _File:
    descriptor: int
    path: str
    #: Its name at first, and the one that it gets when it is whole; in the current directory.
    written: str
    name: str
    mode: int
    size: int
    times: Times | None
    regular: bool
    at: int = 0


class LocalTarget:
    """Writes files and directories.

    :param path: what the user named: the file or directory that is written, or the directory
        that the file goes to.
    :param name: the name of the file in such a directory; ``None`` where it has none.
    :param atomic: write a file beside its target, and rename it when it is whole.
    :param keep: leave a part of a file when it cannot be finished.
    :param preserve_times: set the times.
    """

    __slots__ = ("_atomic", "_directories", "_file", "_keep", "_name", "_path", "_times", "_top")

    def __init__(
        self, path: str, name: str | None, *, atomic: bool, keep: bool, preserve_times: bool
    ) -> None:
        self._path = path
        self._name = name
        self._atomic = atomic
        self._keep = keep
        self._times = preserve_times
        self._directories: list[_Directory] = []
        self._file: _File | None = None
        #: Where everything has to stay, without links.
        self._top = ""

    # Directories

    def enter_top(self) -> None:
        """Go to the directory that the user named; it is made where it is missing."""
        self._enter_any(self._path)
        self._top = os.path.realpath(self._path)

    def _enter_any(self, path: str) -> None:
        # Where it is no directory, opening it says so.
        with contextlib.suppress(FileExistsError):
            os.makedirs(path or ".", exist_ok=True)
        descriptor = os.open(path or ".", DIRECTORY_FLAGS & ~os.O_NOFOLLOW)
        self._directories.append(_Directory(descriptor, path))

    def enter(self, name: str, mode: int, times: Times | None) -> None:
        """Make a directory in the current one, unless it is there, and go to it.

        :param name: its name.
        :param mode: its permissions when it is full, if it is made.
        :param times: its times then.
        """
        above = self._directories[-1]
        path = join(above.path, name, SCPError)
        with _about(path):
            try:
                # Until it is full, it has to be one that we can write to.
                os.mkdir(name, stat.S_IRWXU, dir_fd=above.descriptor)
                made = True
            except FileExistsError:
                made = False
            descriptor = self._open(path, name, DIRECTORY_FLAGS)
        self._directories.append(
            _Directory(descriptor, path, mode if made else None, times if self._times else None)
        )

    def leave(self) -> None:
        """Finish the current directory, and go back to the one above."""
        directory = self._directories.pop()
        try:
            with _about(directory.path):
                if directory.mode is not None:
                    os.fchmod(directory.descriptor, directory.mode)
                if directory.times is not None:
                    _set_times(directory.descriptor, directory.times)
        finally:
            os.close(directory.descriptor)

    # Files

    def begin_top(self, mode: int, size: int, times: Times | None) -> int:
        """Begin the one file that is fetched; see :meth:`begin`."""
        path = self._path
        if path.endswith("/") or os.path.isdir(path):
            if self._name is None:
                raise IsADirectoryError(f"{path} is a directory, and the file has no name")
            path = join(path, self._name, SCPError)
        if os.path.islink(path):
            # The user's own: what it leads to is written.
            path = os.path.realpath(path)
        folder, name = os.path.split(path)
        self._enter_any(folder)
        return self._begin(path, name, mode, size, times)

    def begin(self, name: str, mode: int, size: int, times: Times | None) -> int:
        """Begin a file in the current directory.

        :param name: its name.
        :param mode: its permissions when it is whole.
        :param size: its size then, in bytes.
        :param times: its times then.
        :returns: how many bytes were there of a file that is to be kept. They count as written;
            call :meth:`restart` to begin anew.
        """
        path = join(self._directories[-1].path, name, SCPError)
        there = self._begin(path, name, mode, size, times)
        if self._file is not None and not self._file.regular:
            raise OSError(f"{path} is not a regular file")
        return there

    def _begin(self, path: str, name: str, mode: int, size: int, times: Times | None) -> int:
        written, flags = name, WRITE_FLAGS
        if self._atomic:
            # A long name has to stay within what file systems allow.
            written = f".{name[:40]}.{secrets.token_hex(6)}.part"
            flags |= os.O_EXCL
        with _about(path):
            descriptor = self._open(path, written, flags)
        times = times if self._times else None
        self._file = _File(descriptor, path, written, name, mode, size, times, regular=False)
        with _about(path):
            status = os.fstat(descriptor)
            self._file.regular = stat.S_ISREG(status.st_mode)
        if not self._keep:
            self.restart()
            return 0
        self._file.at = status.st_size
        return status.st_size

    def _open(self, path: str, name: str, flags: int) -> int:
        """Open something in the current directory."""
        directory = self._directories[-1].descriptor
        try:
            # Nobody else may read a file before it has its own permissions.
            return os.open(name, flags, 0o600, dir_fd=directory)
        except OSError:
            if not self._top or not os.path.islink(path):
                raise
        # A link that was here before; it may lead to what is here too.
        real = os.path.realpath(path)
        check_link(self._top, path, real, SCPError)
        return os.open(real, flags, 0o600)

    def restart(self) -> None:
        """Forget what is there of the file."""
        file = self._current
        file.at = 0
        if file.regular:
            with _about(file.path):
                os.ftruncate(file.descriptor, 0)

    @property
    def _current(self) -> _File:
        assert self._file is not None
        return self._file

    def write(self, parts: Sequence[memoryview]) -> None:
        """Write the next bytes of the file."""
        file = self._current
        with _about(file.path):
            write_at(file.descriptor, file.at, parts)
        file.at += sum(map(len, parts))

    def finish(self) -> None:
        """Finish the file, which is whole."""
        file = self._current
        with _about(file.path):
            if file.regular:
                os.ftruncate(file.descriptor, file.size)
                _set_mode(file)
                if file.times is not None:
                    _set_times(file.descriptor, file.times)
            descriptor, file.descriptor = file.descriptor, -1
            # A network file system may tell only now that there was no room.
            os.close(descriptor)
            if file.written != file.name:
                folder = self._directories[-1].descriptor
                os.replace(file.written, file.name, src_dir_fd=folder, dst_dir_fd=folder)
        self._file = None

    # The end

    def close(self) -> None:
        """Leave everything; a part of a file goes, unless it is to be kept."""
        file, self._file = self._file, None
        if file is not None:
            self._give_up(file)
        for directory in self._directories:
            os.close(directory.descriptor)
        self._directories.clear()

    def _give_up(self, file: _File) -> None:
        folder, descriptor = self._directories[-1].descriptor, file.descriptor
        with contextlib.suppress(OSError):
            if file.regular and not self._keep:
                there = os.stat(file.written, dir_fd=folder, follow_symlinks=False)
                if descriptor < 0 or os.path.samestat(there, os.fstat(descriptor)):
                    os.unlink(file.written, dir_fd=folder)
                else:
                    # It was opened by a link.
                    os.ftruncate(descriptor, 0)
        if descriptor >= 0:
            os.close(descriptor)


def _set_mode(file: _File) -> None:
    try:
        os.fchmod(file.descriptor, file.mode)
    except PermissionError as ex:
        # A file of somebody else's that we may write: its mode is not ours to change.
        logger.warning("The mode of %s stays as it was: %s", printable(file.path), ex.strerror)


def _set_times(descriptor: int, times: Times) -> None:
    os.utime(descriptor, ns=(times.accessed, times.modified))


@contextlib.contextmanager
def _about(path: str) -> Iterator[None]:
    """Let an error name the whole path."""
    try:
        yield
    except OSError as ex:
        ex.filename = path
        # Set to None, it would be shown.
        del ex.filename2
        raise
