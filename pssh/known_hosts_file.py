"""A known_hosts file on disk: reading it, adding a line to it, and telling whether it changed.

Plain functions that wait for the disk, and for other processes' locks: not to be called on an
event loop.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Appended", "FileStamp", "append", "read", "stamp"]


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What tells one state of a file from another without reading it.

    :param mtime_ns: Time of the last change, in nanoseconds since the epoch.
    :param size: Size in bytes.
    :param inode: Number of the inode, which changes when the file is replaced.
    """

    mtime_ns: int
    size: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStamp:
        """:param status: What ``os.stat`` or ``os.fstat`` said."""
        return cls(status.st_mtime_ns, status.st_size, status.st_ino)


@dataclass(frozen=True, slots=True)
class Appended:
    """What :func:`append` did.

    :param path: The file, as it was given.
    :param line: The line, with its newline.
    :param before: The file's state when its lock had been taken.
    :param after: Its state after the write, or ``None`` if someone who does not ask for the
        lock wrote to it in between.
    """

    path: str
    line: bytes = field(repr=False)
    before: FileStamp
    after: FileStamp | None

    def follows(self, known: FileStamp | None) -> bool:
        """Whether the line is all that the file has gained since a known state.

        :param known: An earlier stamp; ``None`` means that there was no file.
        """
        if self.after is None:
            return False
        return self.before == known or (known is None and self.before.size == 0)


def stamp(path: str | os.PathLike[str]) -> FileStamp | None:
    """The present state of a file.

    :param path: The file.
    :returns: Its stamp, ``None`` if there is no such file.
    :raises OSError: If the system does not tell.
    """
    try:
        return FileStamp.of(Path(path).stat())
    except FileNotFoundError:
        return None


def read(path: str | os.PathLike[str]) -> tuple[bytes, FileStamp | None]:
    """Read a file together with its state.

    :param path: The file.
    :returns: Content and stamp; no content and ``None`` if there is no such file.
    :raises OSError: If it is there but cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            # The stamp first: what is written while we read makes it outdated, never too new.
            status = os.fstat(file.fileno())
            return file.read(), FileStamp.of(status)
    except FileNotFoundError:
        return b"", None


def append(path: str | os.PathLike[str], line: bytes) -> Appended:
    """Add a line to a known_hosts file, in one write and under an exclusive lock.

    What is in the file is never rewritten. A missing file is created for its owner alone (mode
    0600), and so is a missing directory (mode 0700).

    :param path: The file.
    :param line: The line with its newline.
    :returns: What was done, for :meth:`pssh.known_hosts.KnownHostsIndex.add`.
    :raises OSError: If the line could not be written, or not the whole of it. What stands
        there of it then is a malformed line, which readers pass over.
    :raises ValueError: If it is not one line.
    """
    if line.count(b"\n") != 1 or not line.endswith(b"\n"):
        raise ValueError(f"Not one line that ends in a newline: {line!r}")
    name = os.fspath(path)
    # A link is followed by hand, so that the directory made is the one the file will be in.
    target = Path(os.path.realpath(name))
    _make_directory(target.parent)
    descriptor = _open_locked(target)
    try:
        before = FileStamp.of(os.fstat(descriptor))
        complete = before.size == 0 or os.pread(descriptor, 1, before.size - 1) == b"\n"
        data = line if complete else b"\n" + line
        written = os.write(descriptor, data)
        after = FileStamp.of(os.fstat(descriptor))
    finally:
        os.close(descriptor)  # which gives the lock back
    if written != len(data):
        # Not taken back: cutting the file could cut off what someone else added meanwhile.
        problem = f"Only {written} of {len(data)} bytes of a new host key could be written"
        raise OSError(errno.ENOSPC, problem, name)
    alone = after.size == before.size + written
    return Appended(name, line, before, after if alone else None)


def _make_directory(path: Path) -> None:
    # Not mkdir(parents=True): that gives its mode to the last directory only.
    if not path.is_dir():
        _make_directory(path.parent)
        # Another process may be faster. If it is a file, opening what is in it will tell.
        with contextlib.suppress(FileExistsError):
            path.mkdir(0o700)


def _open_locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # While we waited, "ssh-keygen -R" may have put another file in this one's place.
            if FileStamp.of(os.fstat(descriptor)).inode == getattr(stamp(path), "inode", None):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
