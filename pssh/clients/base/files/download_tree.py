"""A directory with all that is in it, from an SFTP server."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pssh.clients.base.files import remote, remote_path
from pssh.clients.base.files.copy_errors import about_file
from pssh.clients.base.files.crew import Crew, copy_tree, explore
from pssh.clients.base.files.get_file import get_file
from pssh.clients.base.files.sftp_copy import SFTPCopy, mode_of, times_of
from pssh.clients.base.threads import in_thread
from pssh.exceptions import SFTPError, SFTPNoSuchFileError
from pssh.local_path import EntryKind, check_link, describe, entry_kind, is_within, join
from pssh.scp.record import MAX_DEPTH
from pssh.sftp import requests
from pssh.sftp.attributes import Attributes
from pssh.sftp.names import decode_name, is_entry_name, printable
from pssh.sftp.replies import FileAttributes, Name, Names, Status
from pssh.utils import logger


@dataclass(slots=True)
class _Folder:
    path: bytes
    local: str
    attributes: Attributes
    #: Its resolved path and those of the directories that led here.
    above: tuple[bytes, ...]
    made: bool = False


@dataclass(slots=True)
class _Entry:
    name: bytes
    path: bytes
    attributes: Attributes
    above: tuple[bytes, ...] = ()


def get_tree(copy: SFTPCopy, path: bytes, attributes: Attributes, local: str) -> None:
    """Copy what is in a remote directory to a local one, which is made where it is missing.

    Directories that are there already keep their modes.

    :param copy: what copies a file.
    :param path: the remote directory.
    :param attributes: its attributes.
    :param local: the local one. Nothing outside of it is written.
    :raises SFTPIOError: when the server cannot read something.
    :raises OSError: when something cannot be written.
    :raises SFTPError: when the server names an entry that would lead out of the directory.
    """
    folders: list[_Folder] = []
    target = ""

    def walk(scouts: Crew, copiers: Crew) -> None:
        nonlocal target
        top = _Folder(path, local, attributes, (_realpath(copy, path),))
        top.made, target = in_thread(_make_top, local, mode_of(attributes))
        folders.append(top)
        explore(scouts, top, lambda folder: visit(folder, copiers))

    def visit(folder: _Folder, copiers: Crew) -> list[_Folder]:
        if len(folder.above) > MAX_DEPTH:
            raise _error(copy, "Directory %s on host %s:%s is nested too deeply", folder.path)
        inner = []
        for entry in _entries(copy, folder):
            here = join(folder.local, entry.name)
            kind = entry_kind(entry.attributes.permissions or 0)
            if kind is EntryKind.FILE:
                copiers.start(_get, copy, entry, here, count=entry.attributes.size or 0)
            elif kind is EntryKind.DIRECTORY:
                each = _Folder(entry.path, here, entry.attributes, entry.above)
                each.made = in_thread(_make_folder, here, mode_of(entry.attributes), target)
                inner.append(each)
            else:
                what = describe(entry.attributes.permissions or 0)
                logger.warning("%s is %s: it is left out", printable(entry.path), what)
        folders.extend(inner)
        return inner

    with about_file(copy.session, path, local):
        copy_tree(copy.session, walk)
        in_thread(_set_attributes, folders, copy.options.preserve_times)


def _get(copy: SFTPCopy, entry: _Entry, local: str) -> None:
    get_file(copy, entry.path, local, follow=False, known=entry.attributes)


# The server's side


def _entries(copy: SFTPCopy, folder: _Folder) -> Iterator[_Entry]:
    """List a directory. Links are what they lead to; those to nowhere or back are left out."""
    for names in remote.entries(copy.session, folder.path):
        found, unknown = [], []
        for name in names:
            if not is_entry_name(name.filename):
                raise _impossible(copy, folder.path, name.filename)
            there = remote_path.join(folder.path, name.filename)
            if name.attributes.is_symlink or name.attributes.file_type is None:
                unknown.append((name, there))
            else:
                above = (*folder.above, remote_path.join(folder.above[-1], name.filename))
                found.append(_Entry(name.filename, there, name.attributes, above))
        yield from found
        yield from _resolved(copy, folder, unknown)


def _resolved(
    copy: SFTPCopy, folder: _Folder, unknown: Sequence[tuple[Name, bytes]]
) -> Iterator[_Entry]:
    """Look at what links lead to: at all of them at once."""
    session = copy.session
    asked = [(name, path, session.ask(requests.stat(path))) for name, path in unknown]
    directories = []
    for name, path, answer in asked:
        reply = session.wait_for(answer, "look at a file")
        if not isinstance(reply, FileAttributes):
            assert isinstance(reply, Status)
            error = session.refusal(reply, "look at", path)
            if not isinstance(error, SFTPNoSuchFileError):
                raise error
            logger.warning("%s is a link that leads nowhere: it is left out", printable(path))
        elif reply.attributes.is_dir:
            directories.append((_Entry(name.filename, path, reply.attributes), path))
        else:
            yield _Entry(name.filename, path, reply.attributes)
    resolving = [(entry, path, session.ask(requests.realpath(path))) for entry, path in directories]
    for entry, path, answer in resolving:
        resolved = session.wait_for(answer, "resolve a path")
        if not isinstance(resolved, Names):
            assert isinstance(resolved, Status)
            raise session.refusal(resolved, "resolve", path)
        real = resolved.entries[0].filename
        if any(is_within(decode_name(real), decode_name(above)) for above in folder.above):
            logger.warning("%s leads back to %s: it is left out", printable(path), printable(real))
            continue
        entry.above = (*folder.above, real)
        yield entry


def _realpath(copy: SFTPCopy, path: bytes) -> bytes:
    reply = copy.session.request(requests.realpath(path), Names, "resolve", path)
    return reply.entries[0].filename


def _impossible(copy: SFTPCopy, directory: bytes, name: bytes) -> SFTPError:
    return _error(
        copy,
        "Directory %s on host %s:%s has an entry %r, as the server says, which is no file name",
        directory,
        printable(name),
    )


def _error(copy: SFTPCopy, message: str, directory: bytes, *values: object) -> SFTPError:
    session = copy.session
    error = SFTPError(
        message,
        printable(directory),
        session.host,
        session.port,
        *values,
        host=session.host,
        port=session.port,
    )
    error.path = decode_name(directory)
    return error


# This side: in threads


def _make_top(path: str, mode: int | None) -> tuple[bool, str]:
    """Make the directory that the user named; whether it was missing, and its resolved path."""
    parent = os.path.dirname(path.rstrip("/"))
    if parent:
        os.makedirs(parent, exist_ok=True)
    made = _make(path, mode)
    if not made and not os.path.isdir(path):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    return made, os.path.realpath(path)


def _make_folder(path: str, mode: int | None, target: str) -> bool:
    """Make a directory below the one that the user named, unless it is there.

    :param target: what is written must be within it: its resolved path.
    """
    made = _make(path, mode)
    if not made:
        if os.path.islink(path):
            check_link(target, path, os.path.realpath(path))
        if not os.path.isdir(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    return made


def _make(path: str, mode: int | None) -> bool:
    try:
        # Until it is full, it has to be one that we can write to.
        os.mkdir(path, 0o777 if mode is None else mode | stat.S_IRWXU)
    except FileExistsError:
        return False
    return True


def _set_attributes(folders: Sequence[_Folder], times: bool) -> None:
    """Give directories the modes and times that they keep, now that nothing changes in them."""
    # The inner ones first: an outer one may not let us in any more.
    for folder in sorted(folders, key=lambda each: each.local.count("/"), reverse=True):
        wanted = times_of(folder.attributes) if times else None
        if wanted is not None:
            _set_times(folder, wanted)
        mode = mode_of(folder.attributes)
        if folder.made and mode is not None:
            os.chmod(folder.local, mode)


def _set_times(folder: _Folder, times: tuple[int, int]) -> None:
    try:
        os.utime(folder.local, ns=times)
    except PermissionError as ex:
        # A directory of somebody else's that was there before: its times are not ours.
        if folder.made:
            raise
        logger.warning("The times of %s stay as they are: %s", folder.local, ex.strerror)
