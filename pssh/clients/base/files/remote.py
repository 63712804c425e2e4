"""Directories on an SFTP server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pssh.clients.base.files.open_handle import OpenHandle
from pssh.clients.base.files.remote_path import parent_of
from pssh.clients.base.files.session import SFTPSession
from pssh.exceptions import SFTPIOError, SFTPNoSuchFileError
from pssh.sftp import constants, requests
from pssh.sftp.attributes import Attributes
from pssh.sftp.replies import FileAttributes, Name, Names, Status, StatVFS


def stat(session: SFTPSession, path: bytes) -> Attributes:
    """Return the attributes of what a path leads to.

    :raises SFTPIOError: when there is nothing, or it may not be seen.
    """
    request = requests.stat(path)
    return session.request(request, FileAttributes, "look at", path).attributes


def room(session: SFTPSession, path: bytes) -> StatVFS | None:
    """Return the state of the file system that a path is on; ``None`` where it cannot be known.

    :raises SFTPIOError: when there is nothing, or it may not be seen.
    """
    if not session.supports(constants.STATVFS):
        return None
    return session.request(requests.statvfs(path), StatVFS, "look at the file system of", path)


def is_directory(session: SFTPSession, path: bytes) -> bool:
    """Whether a path leads to a directory; not where there is nothing."""
    try:
        return stat(session, path).is_dir
    except SFTPNoSuchFileError:
        return False


def remove_empty(session: SFTPSession, path: bytes) -> None:
    """Remove a file in which there is nothing; whatever else there is stays.

    :raises SFTPIOError: when there is nothing, or it cannot be removed.
    """
    there = stat(session, path)
    if there.is_file and not there.size:
        session.request(requests.remove(path), Status, "remove", path)


def make_directory(session: SFTPSession, path: bytes, mode: int | None = None) -> bool:
    """Make a directory, unless it is there.

    :param path: its path; the one above must be there.
    :param mode: its permissions, less what the server's umask takes away.
    :returns: whether it was made.
    :raises SFTPIOError: when it cannot be made.
    """
    try:
        request = requests.mkdir(path, Attributes(permissions=mode))
        session.request(request, Status, "make directory", path)
    except SFTPIOError:
        # Servers have no code of their own for what exists.
        if not is_directory(session, path):
            raise
        return False
    return True


def ask_for_directories(session: SFTPSession, wanted: Sequence[tuple[bytes, int]]) -> list[bool]:
    """Make several directories, without a round trip for each.

    :param wanted: their paths, and their permissions less what the server's umask takes away.
    :returns: for each whether it was made; those that were there already were not.
    :raises SFTPIOError: when one of them cannot be made.
    """
    answers = [
        session.ask(requests.mkdir(path, Attributes(permissions=mode))) for path, mode in wanted
    ]
    refused = []
    for (path, _), answer in zip(wanted, answers, strict=True):
        reply = session.wait_for(answer, "make a directory")
        assert isinstance(reply, Status)
        if not reply.is_ok:
            # Servers have no code of their own for what exists.
            refused.append((path, reply, session.ask(requests.stat(path))))
    for path, refusal, looked in refused:
        found = session.wait_for(looked, "look at a directory")
        if not isinstance(found, FileAttributes) or not found.attributes.is_dir:
            raise session.refusal(refusal, "make directory", path)
    there = {path for path, _, _ in refused}
    return [path not in there for path, _ in wanted]


def make_directories(session: SFTPSession, path: bytes, mode: int | None = None) -> bool:
    """Make a directory and those above it, as far as they are missing.

    :param path: its path; empty for the one where the session begins.
    :param mode: its permissions, less what the server's umask takes away; those above get the
        server's default.
    :returns: whether it was made.
    :raises SFTPIOError: when one of them cannot be made.
    """
    missing = [path]
    tried: set[bytes] = set()
    made = False
    while missing:
        here = missing[-1]
        if not here or here == b"/":
            missing.pop()
            continue
        try:
            made = make_directory(session, here, mode if len(missing) == 1 else None)
            missing.pop()
        except SFTPNoSuchFileError:
            parent = parent_of(here)
            # Below /proc, for one, there is no such file whether or not the parent is there.
            if not parent or parent == here or here in tried:
                raise
            tried.add(here)
            missing.append(parent)
    return made


def entries(session: SFTPSession, path: bytes) -> Iterator[list[Name]]:
    """Iterate over what is in a directory, without ``.`` and ``..``, as many as come at once.

    The next request is on its way while the answer to one is used.

    :raises SFTPIOError: when it cannot be listed.
    """
    handle = OpenHandle.open(session, requests.opendir(path), "list", path)
    try:
        answer = session.ask(requests.readdir(handle.value))
        while True:
            reply = session.wait_for(answer, "list a directory")
            if isinstance(reply, Status) and reply.is_eof:
                return
            if not isinstance(reply, Names):
                assert isinstance(reply, Status)
                raise session.refusal(reply, "list", path)
            if not reply.entries:
                return
            answer = session.ask(requests.readdir(handle.value))
            yield [each for each in reply.entries if each.filename not in (b".", b"..")]
    finally:
        handle.close_unseen()
