"""A local directory with all that is in it, to an SFTP server."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from pssh.clients.base.files import remote
from pssh.clients.base.files.copy_errors import about_file
from pssh.clients.base.files.crew import Crew, copy_tree, explore
from pssh.clients.base.files.local_directory import list_directory
from pssh.clients.base.files.put_file import put_file
from pssh.clients.base.files.remote_path import join
from pssh.clients.base.files.sftp_copy import SFTPCopy, attributes_of
from pssh.clients.base.threads import in_thread
from pssh.exceptions import SFTPPermissionDeniedError
from pssh.sftp import requests
from pssh.sftp.attributes import Attributes
from pssh.sftp.replies import Status
from pssh.utils import logger


@dataclass(slots=True)
class _Folder:
    path: str
    status: os.stat_result
    target: bytes
    #: Its resolved path and those of the directories that led here.
    above: tuple[str, ...]
    made: bool = False


def put_tree(copy: SFTPCopy, local: str, path: bytes) -> None:
    """Copy what is in a local directory to a remote one, which is made where it is missing.

    Directories that are there already keep their modes.

    :param copy: what copies a file.
    :param local: the local directory.
    :param path: the remote one.
    :raises SFTPIOError: when the server cannot write something.
    :raises OSError: when something cannot be read.
    """
    session = copy.session
    folders: list[_Folder] = []

    def walk(scouts: Crew, copiers: Crew) -> None:
        real, status = in_thread(_look, local)
        top = _Folder(local, status, path, (real,))
        top.made = remote.make_directories(session, path, _mode_while_filled(status))
        folders.append(top)
        explore(scouts, top, lambda folder: visit(folder, copiers))

    def visit(folder: _Folder, copiers: Crew) -> list[_Folder]:
        listing = in_thread(list_directory, folder.path, folder.above)
        inner = [
            _Folder(
                each.path, each.status, join(folder.target, each.name), (*folder.above, each.real)
            )
            for each in listing.directories
        ]
        made = remote.ask_for_directories(
            session, [(each.target, _mode_while_filled(each.status)) for each in inner]
        )
        for each, new in zip(inner, made, strict=True):
            each.made = new
        folders.extend(inner)
        for file in listing.files:
            there = join(folder.target, file.name)
            copiers.start(put_file, copy, file.path, there, count=file.status.st_size)
        return inner

    with about_file(session, path, local):
        copy_tree(session, walk)
        _set_attributes(copy, folders)


def _look(path: str) -> tuple[str, os.stat_result]:
    return os.path.realpath(path), os.stat(path)


def _mode_while_filled(status: os.stat_result) -> int:
    # Until it is full, a directory has to be one that we can write to.
    return stat.S_IMODE(status.st_mode) | stat.S_IRWXU


def _set_attributes(copy: SFTPCopy, folders: list[_Folder]) -> None:
    """Give directories the modes and times that they keep, now that nothing changes in them."""
    session = copy.session
    answers = []
    # The inner ones first: an outer one may not let us in any more.
    for folder in sorted(folders, key=lambda each: each.target.count(b"/"), reverse=True):
        wanted = attributes_of(folder.status, times=copy.options.preserve_times)
        if not folder.made:
            wanted = wanted._replace(permissions=None)
        if wanted != Attributes():
            # Servers that take a slash at the end for something else need not see one.
            path = folder.target.rstrip(b"/") or folder.target
            answers.append((folder, session.ask(requests.setstat(path, wanted))))
    for folder, answer in answers:
        reply = session.wait_for(answer, "set the attributes of a directory")
        assert isinstance(reply, Status)
        if not reply.is_ok:
            error = session.refusal(reply, "set the attributes of", folder.target)
            # A directory of somebody else's that was there before: its times are not ours.
            if folder.made or not isinstance(error, SFTPPermissionDeniedError):
                raise error
            logger.warning("%s", error)
