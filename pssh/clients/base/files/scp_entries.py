"""A local directory that is sent: what is in it, and what its small files contain. In threads."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pssh.local_path import READ_FLAGS, EntryKind, describe, entry_kind, is_within
from pssh.sftp.names import printable
from pssh.utils import logger

#: A file up to this is read whole, and sent with what stands before and after it.
SMALL: Final = 64 * 1024
#: Small files that are read at a time: together no more than this, in bytes, and so many.
_TOGETHER_MAX: Final = 256 * 1024
_FILES_TOGETHER_MAX: Final = 64


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
            except FileNotFoundError:
                _left_out(entry.path, "leads nowhere")
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


def together(files: Sequence[LocalEntry]) -> Iterator[Sequence[LocalEntry]]:
    """Divide files up: as many small ones as are read at a time, and large ones alone."""
    batch: list[LocalEntry] = []
    size = 0
    for file in files:
        small = file.status.st_size <= SMALL
        if batch and (
            not small
            or size + file.status.st_size > _TOGETHER_MAX
            or len(batch) >= _FILES_TOGETHER_MAX
        ):
            yield batch
            batch, size = [], 0
        if small:
            batch.append(file)
            size += file.status.st_size
        else:
            yield [file]
    if batch:
        yield batch


def read_small(files: Sequence[LocalEntry]) -> list[tuple[os.stat_result, bytes] | None]:
    """Read files as they are at one moment.

    :returns: for each its status and its content; ``None`` for what is no small file, or is
        being written.
    :raises OSError: when one cannot be read.
    """
    return [_read_small(file.path) for file in files]


def _read_small(path: str) -> tuple[os.stat_result, bytes] | None:
    descriptor = os.open(path, READ_FLAGS)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode) or before.st_size > SMALL:
            return None
        content = os.read(descriptor, SMALL + 1)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return (before, content) if same and len(content) == before.st_size else None
