"""What a server may name, and which local path that becomes. Pure.

When files are fetched, the server gives the names, and it may be hostile. The rules:

- A name is one component: not empty, not ``.`` or ``..``, no ``/``, no NUL (:func:`is_safe_name`).
  Everything else is a name, also with spaces, newlines, or bytes that are no text.
  :func:`join` is the one way from a name to a path.
- What the user named himself, the target of the copy, is his choice: it may be a symbolic link.
  What is below it is written without following one. Open files with :data:`WRITE_FLAGS` and
  directories with :data:`DIRECTORY_FLAGS`, which fail with ``ELOOP`` (or ``ENOTDIR``) where a link
  is in the way; such a link may be resolved and used only if :func:`check_link` lets it pass,
  that is if it stays within the target.
- Regular files and directories are copied (:func:`entry_kind`). Symbolic links are followed, as
  ``scp -r`` does, and never made: a fetched tree contains no links, so a server cannot
  plant one and then write through it. A link that does not resolve, and devices, sockets and
  pipes, are left out with a warning that :func:`describe` has the words for.
- A link to a directory above itself would be followed without end: a source that can resolve
  paths leaves out links whose target the link itself :func:`is_within`; in any case trees have a
  limited depth (:data:`pssh.scp.record.MAX_DEPTH`).
"""

from __future__ import annotations

import enum
import os
import stat
from typing import Final

from pssh.exceptions import PSSHError, SFTPError

#: For a local file that is written. Not truncated, and opened without waiting for a reader,
#: because it may turn out to be a pipe or a device: look at ``fstat`` first, then ``ftruncate``.
WRITE_FLAGS: Final = (
    os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
)

#: For a local directory below the target, to be used as ``dir_fd``.
DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: For a local file that is read. Without waiting for a pipe's writer: look at ``fstat`` first.
READ_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class EntryKind(enum.Enum):
    """What to do with an entry of a directory that is copied."""

    FILE = "file"
    """Copy it."""
    DIRECTORY = "directory"
    """Copy what is in it."""
    LINK = "link"
    """Resolve it, and treat what it leads to."""
    OTHER = "other"
    """Leave it out, with a warning."""


_KINDS = {
    stat.S_IFREG: EntryKind.FILE,
    stat.S_IFDIR: EntryKind.DIRECTORY,
    stat.S_IFLNK: EntryKind.LINK,
}

_DESCRIPTIONS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def is_safe_name(name: str | bytes) -> bool:
    """Whether a name from a server is the name of something in a directory, and of nothing else.

    :param name: as the server sent it, or decoded.
    """
    if isinstance(name, str):
        try:
            name = os.fsencode(name)
        except UnicodeEncodeError:  # no local file can have it
            return False
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name


def join(folder: str, name: str | bytes, error: type[PSSHError] = SFTPError) -> str:
    """Return the local path of an entry that a server named.

    :param folder: the local folder that it goes to, which is not looked at.
    :param name: as the server sent it, or decoded; bytes stay these bytes on the local disk.
    :param error: the class of the error.
    :raises PSSHError: the given error, when the name would lead out of the folder.
    """
    if not is_safe_name(name):
        raise error(
            "The server named an entry %r, which is no file name: nothing is written to it", name
        )
    # Not os.path.join: it would be right too, but this can be seen to be.
    return folder.rstrip("/") + "/" + os.fsdecode(name) if folder else os.fsdecode(name)


def entry_kind(mode: int) -> EntryKind:
    """Decide what is done with an entry of a directory that is copied.

    :param mode: its ``st_mode``, with the type. A type that is not known (a server need not send
        it) is :attr:`EntryKind.OTHER`: ask for the entry's attributes first.
    """
    return _KINDS.get(stat.S_IFMT(mode), EntryKind.OTHER)


def describe(mode: int) -> str:
    """Say what an entry is: ``"a socket"``.

    :param mode: its ``st_mode``, with the type.
    """
    return _DESCRIPTIONS.get(stat.S_IFMT(mode), "of an unknown type")


def is_within(folder: str, path: str) -> bool:
    """Whether a path is a folder or below it.

    :param folder: an absolute path without links and dots, as :func:`os.path.realpath` returns.
    :param path: another one.
    """
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def check_link(target: str, link: str, resolved: str, error: type[PSSHError] = SFTPError) -> None:
    """Refuse a local symbolic link that leads out of the folder that is written to.

    :param target: the folder that the user named, resolved by :func:`os.path.realpath`.
    :param link: the link in or below it, for the message.
    :param resolved: where the link leads to, resolved in the same way.
    :param error: the class of the error.
    :raises PSSHError: the given error, when that is outside.
    """
    if not is_within(target, resolved):
        raise error(
            "The local symbolic link %s leads to %s, out of %s: nothing is written through it",
            link,
            resolved,
            target,
        )
