"""Directories with all that is in them, between here and an SFTP server.

Many files are on their way at a time: each needs a few round trips, and none waits for
another's.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import gevent
from gevent.event import Event

from pssh.clients.base.files import remote
from pssh.clients.base.files.sftp_copy import SFTPCopy
from pssh.clients.base.threads import in_thread
from pssh.exceptions import SFTPError, SFTPIOError
from pssh.local_path import EntryKind, check_link, describe, entry_kind, is_within, join
from pssh.scp.record import MAX_DEPTH
from pssh.sftp import requests
from pssh.sftp.attributes import Attributes
from pssh.sftp.names import decode_name, is_entry_name, printable
from pssh.sftp.replies import Names, Status
from pssh.utils import logger

#: Files that are copied at a time.
_FILES_MAX = 64
#: Directories that are looked at at a time.
_FOLDERS_MAX = 16


class Crew:
    """Does things at the same time, up to a number. After an error it begins nothing more.

    :param size: how many at a time.
    """

    __slots__ = ("_error", "_size", "_stepped", "_working")

    def __init__(self, size: int) -> None:
        self._size = size
        self._working: set[gevent.Greenlet] = set()
        self._stepped = Event()
        self._error: Exception | None = None

    def start(self, function: Callable[..., object], *args: Any) -> None:
        """Have something done, as soon as there is room.

        :raises Exception: what something that was started before has failed with.
        """
        while len(self._working) >= self._size:
            self.wait()
        self.check()
        worker = gevent.Greenlet(self._work, function, *args)
        self._working.add(worker)
        worker.rawlink(self._done)
        worker.start()

    def _work(self, function: Callable[..., object], *args: Any) -> None:
        try:
            function(*args)
        except Exception as ex:  # noqa: BLE001 (it is raised where the work was asked for)
            if self._error is None:
                self._error = ex

    def _done(self, worker: gevent.Greenlet) -> None:
        self._working.discard(worker)
        self._stepped.set()

    @property
    def idle(self) -> bool:
        """Whether everything that was started is done."""
        return not self._working

    def check(self) -> None:
        """Raise what something has failed with."""
        if self._error is not None:
            raise self._error

    def wait(self) -> None:
        """Wait until something is done."""
        self._stepped.clear()
        if self._working:
            self._stepped.wait()

    def finish(self) -> None:
        """Wait until everything is done.

        :raises Exception: what the first of them failed with.
        """
        gevent.joinall(list(self._working))
        self.check()

    def stop(self) -> None:
        """Leave everything as it is."""
        gevent.killall(list(self._working))


Folder = TypeVar("Folder")


def explore(crew: Crew, first: Folder, visit: Callable[[Folder], Iterable[Folder]]) -> None:
    """Visit a directory and all that are below it, several at the same time.

    :param crew: visits them.
    :param first: the directory to begin with.
    :param visit: is given a directory and returns those in it.
    """
    found = deque([first])
    while found or not crew.idle:
        crew.check()
        if found:
            crew.start(lambda folder: found.extend(visit(folder)), found.popleft())
        else:
            crew.wait()
    crew.check()


def copy_tree(copy: SFTPCopy, walk: Callable[[Crew, Crew], None]) -> None:
    """Run a walk that has one crew look at directories and another one copy files.

    :param copy: what copies a file.
    :param walk: the walk.
    """
    # Each file has its own handle on the server, and a listing has one as well.
    allowed = copy.session.handles_max or _FILES_MAX + _FOLDERS_MAX
    folders = max(1, min(_FOLDERS_MAX, allowed // 4))
    scouts, copiers = Crew(folders), Crew(max(1, min(_FILES_MAX, allowed - folders)))
    try:
        try:
            walk(scouts, copiers)
        finally:
            # A file that has been begun is brought to its end, also after another one's error:
            # nothing is left that is neither whole nor removed.
            copiers.finish()
    except Exception:
        scouts.stop()
        raise
    except BaseException:
        scouts.stop()
        copiers.stop()
        raise


# To the server


@dataclass(slots=True)
class _LocalFolder:
    path: str
    target: bytes
    #: Its resolved path and those of the directories that led here.
    above: tuple[str, ...]


@dataclass(slots=True)
class _LocalEntry:
    name: str
    path: str
    status: os.stat_result
    above: tuple[str, ...] = ()


def put_tree(copy: SFTPCopy, local: str, path: bytes, encode: Callable[[str], bytes]) -> None:
    """Copy what is in a local directory to a remote one, which is made where it is missing.

    :param copy: what copies a file.
    :param local: the local directory.
    :param path: the remote one.
    :param encode: makes remote names of local ones.
    :raises SFTPIOError: when the server cannot write something.
    :raises OSError: when something cannot be read.
    """
    made: list[tuple[bytes, int]] = []

    def walk(scouts: Crew, copiers: Crew) -> None:
        remote.make_directories(copy.session, path)
        above = (in_thread(os.path.realpath, local),)
        explore(scouts, _LocalFolder(local, path, above), lambda f: visit(f, copiers))

    def visit(folder: _LocalFolder, copiers: Crew) -> list[_LocalFolder]:
        inner, files = [], []
        for entry in in_thread(_local_entries, folder):
            there = remote.join(folder.target, encode(entry.name))
            kind = entry_kind(entry.status.st_mode)
            if kind is EntryKind.FILE:
                files.append((entry.path, there))
            elif kind is EntryKind.DIRECTORY:
                inner.append((_LocalFolder(entry.path, there, entry.above), entry.status))
            else:
                _left_out(entry.path, entry.status.st_mode)
        # Until it is full, a directory has to be one that we can write to.
        modes = [stat.S_IMODE(status.st_mode) for _, status in inner]
        answers = remote.ask_for_directories(
            copy.session,
            [(f.target, m | stat.S_IRWXU) for (f, _), m in zip(inner, modes, strict=True)],
        )
        for source, there in files:
            copiers.start(copy.put, source, there)
        for (each, _), mode, new in zip(inner, modes, answers, strict=True):
            if new:
                made.append((each.target, mode))
        return [each for each, _ in inner]

    copy_tree(copy, walk)
    # The inner ones first: an outer one may not let us in any more.
    made.sort(key=lambda each: each[0].count(b"/"), reverse=True)
    answers = [
        (there, copy.session.ask(requests.setstat(there, Attributes(permissions=mode))))
        for there, mode in made
    ]
    for there, answer in answers:
        reply = copy.session.wait_for(answer, "set the attributes")
        if isinstance(reply, Status) and not reply.is_ok:
            raise copy.session.refusal(reply, "set the mode of", there)


def _local_entries(folder: _LocalFolder) -> list[_LocalEntry]:
    """List a directory. Links are what they lead to; those to nowhere or back are left out."""
    found = []
    with os.scandir(folder.path) as entries:
        for entry in entries:
            try:
                made = _LocalEntry(entry.name, entry.path, entry.stat())
            except FileNotFoundError:
                _left_out(entry.path, stat.S_IFLNK)
                continue
            if stat.S_ISDIR(made.status.st_mode):
                real = os.path.realpath(entry.path)
                if real in folder.above:
                    logger.warning("%s leads back to %s: it is left out", entry.path, real)
                    continue
                made.above = (*folder.above, real)
            found.append(made)
    return found


# From the server


def get_tree(copy: SFTPCopy, path: bytes, local: str) -> None:
    """Copy what is in a remote directory to a local one, which is made where it is missing.

    :param copy: what copies a file.
    :param path: the remote directory.
    :param local: the local one. Nothing outside of it is written.
    :raises SFTPIOError: when the server cannot read something.
    :raises OSError: when something cannot be written.
    :raises SFTPError: when the server names an entry that would lead out of the directory.
    """
    made: list[tuple[str, int]] = []
    target = ""

    def walk(scouts: Crew, copiers: Crew) -> None:
        nonlocal target
        in_thread(_make_folder, local, None, None)
        target = in_thread(os.path.realpath, local)
        explore(scouts, (path, local, 0), lambda folder: visit(folder, copiers))

    def visit(folder: _RemoteFolder, copiers: Crew) -> list[_RemoteFolder]:
        directory, local_folder, depth = folder
        if depth > MAX_DEPTH:
            raise _too_deep(copy, directory)
        inner = []
        for name, there, attributes in _remote_entries(copy, directory):
            here = join(local_folder, name)
            kind = entry_kind(attributes.permissions or 0)
            if kind is EntryKind.FILE:
                copiers.start(_get, copy, there, here, attributes)
            elif kind is EntryKind.DIRECTORY:
                if in_thread(_make_folder, here, attributes.mode, target):
                    made.append((here, attributes.mode or 0o777))
                inner.append((there, here, depth + 1))
            else:
                _left_out(printable(there), attributes.permissions or 0)
        return inner

    copy_tree(copy, walk)
    in_thread(_set_modes, made)


#: Remote path, local path, and how deep it is.
_RemoteFolder = tuple[bytes, str, int]


def _get(copy: SFTPCopy, path: bytes, local: str, attributes: Attributes) -> None:
    copy.get(path, local, follow=False, known=attributes)


def _remote_entries(copy: SFTPCopy, directory: bytes) -> Iterator[tuple[bytes, bytes, Attributes]]:
    """List a directory; links are what they lead to, unless that is above them."""
    for entry in remote.entries(copy.session, directory):
        if not is_entry_name(entry.filename):
            raise SFTPError(
                "Host %s:%s named an entry %r in directory %s, which is no file name",
                copy.session.host,
                copy.session.port,
                printable(entry.filename),
                printable(directory),
                host=copy.session.host,
                port=copy.session.port,
            )
        there = remote.join(directory, entry.filename)
        attributes = entry.attributes
        if attributes.is_symlink or attributes.file_type is None:
            try:
                attributes = remote.stat(copy.session, there)
            except SFTPIOError as ex:
                logger.warning("%s: it is left out", ex)
                continue
            if attributes.is_dir and entry.attributes.is_symlink and _leads_up(copy, there):
                logger.warning("%s leads to a directory above it: left out", printable(there))
                continue
        yield entry.filename, there, attributes


def _leads_up(copy: SFTPCopy, link: bytes) -> bool:
    """Whether a remote link leads to a directory that it is in."""
    session = copy.session
    real = session.request(requests.realpath(link), Names, "resolve", link).entries[0].filename
    parent = remote.parent_of(link) or b"."
    reply = session.request(requests.realpath(parent), Names, "resolve", parent)
    return is_within(decode_name(real), decode_name(reply.entries[0].filename))


def _make_folder(path: str, mode: int | None, target: str | None) -> bool:
    """Make a local directory, unless it is there; whether it was made. In a thread.

    :param target: what is written must be within it: its resolved path.
    """
    if mode is None:
        os.makedirs(path, exist_ok=True)
        return False
    try:
        # Until it is full, it has to be one that we can write to.
        os.mkdir(path, mode | stat.S_IRWXU)
        return True
    except FileExistsError:
        if os.path.islink(path) and target is not None:
            check_link(target, path, os.path.realpath(path))
        if not os.path.isdir(path):
            raise
        return False


def _set_modes(folders: list[tuple[str, int]]) -> None:
    # The inner ones first: an outer one may not let us in any more.
    for path, mode in sorted(folders, key=lambda each: each[0].count("/"), reverse=True):
        os.chmod(path, mode)


def _left_out(path: str, mode: int) -> None:
    what = "a link that leads nowhere" if stat.S_ISLNK(mode) else describe(mode)
    logger.warning("%s is %s: it is left out", path, what)


def _too_deep(copy: SFTPCopy, directory: bytes) -> SFTPError:
    session = copy.session
    return SFTPError(
        "Directory %s on host %s:%s is nested too deeply",
        printable(directory),
        session.host,
        session.port,
        host=session.host,
        port=session.port,
    )
