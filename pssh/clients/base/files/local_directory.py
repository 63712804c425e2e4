"""A local directory that is sent: what is in it. In threads."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass

from pssh.local_path import EntryKind, describe, entry_kind, is_within
from pssh.sftp.names import printable
from pssh.utils import logger

#: What the system says of a symbolic link that leads nowhere: to nothing, below a file, to itself.
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@dataclass(frozen=True, slots=True)
class LocalEntry:
    """A file or directory.

    :ivar name: its name, as bytes.
    :ivar path: its path.
    :ivar status: what it is, or what the link with that name leads to.
    :ivar real: of a directory, its path without links.
    """

    name: bytes
    path: str
    status: os.stat_result
    real: str = ""


@dataclass(frozen=True, slots=True)
class LocalDirectory:
    """What is in a directory, files and directories each in the order of their names."""

    files: Sequence[LocalEntry]
    directories: Sequence[LocalEntry]


def list_directory(path: str, above: Sequence[str]) -> LocalDirectory:
    """List a directory. Links are what they lead to.

    Left out, with a warning: what is neither a file nor a directory, links that lead nowhere,
    and links to a directory that would contain itself.

    :param path: its path.
    :param above: the paths without links of the directories that are open, this one the last.
    :raises OSError: when it cannot be read.
    """
    files, directories = [], []
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: os.fsencode(entry.name)):
            try:
                status = entry.stat()
            except OSError as ex:
                if ex.errno not in _NOWHERE or not entry.is_symlink():
                    raise
                _left_out(entry.path, "is a link that leads nowhere")
                continue
            name = os.fsencode(entry.name)
            kind = entry_kind(status.st_mode)
            if kind is EntryKind.FILE:
                files.append(LocalEntry(name, entry.path, status))
            elif kind is EntryKind.DIRECTORY:
                real = _real(entry, above[-1])
                if entry.is_symlink() and any(is_within(real, folder) for folder in above):
                    _left_out(entry.path, f"leads back to {real}")
                else:
                    directories.append(LocalEntry(name, entry.path, status, real))
            else:
                _left_out(entry.path, f"is {describe(status.st_mode)}")
    return LocalDirectory(files, directories)


def _real(entry: os.DirEntry[str], folder: str) -> str:
    if entry.is_symlink():
        return os.path.realpath(entry.path)
    return os.path.join(folder, entry.name)


def _left_out(path: str, what: str) -> None:
    logger.warning("%s %s: it is left out", printable(path), printable(what))
