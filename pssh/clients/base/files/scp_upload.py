"""A local file, or what is in a local directory, on its way to a host over SCP."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Final

from pssh.clients.base.files import scp_shell as shell
from pssh.clients.base.files.local_directory import LocalEntry, list_directory
from pssh.clients.base.files.remote_path import beside, join, parent_of
from pssh.clients.base.files.scp_copy import Copy
from pssh.clients.base.files.scp_resume import append, is_complete, look, resume
from pssh.clients.base.files.scp_send import Sender, Unfinished, attempt, is_special
from pssh.clients.base.files.scp_small_files import SMALL, read_small, together
from pssh.clients.base.files.source import Source
from pssh.clients.base.threads import in_thread
from pssh.scp.command import send_command
from pssh.scp.record import file_record

#: Files of a directory that wait for their modes and names.
_UNFINISHED_MAX: Final = 256


def send_file(copy: Copy, local: str, path: bytes) -> None:
    """Send a local file.

    :param copy: what the copy is asked for.
    :param local: its path.
    :param path: the remote path: the file's, or that of the directory that it goes to.
    """
    name = os.fsencode(os.path.basename(local))
    # Whatever the way it goes: SCP cannot carry every name.
    file_record(name, 0, 0)
    with copy.open_source(local) as source:
        if copy.options.resume:
            resume(copy, source, path, name)
        elif copy.options.atomic or is_special(source.status):
            _send_and_finish(copy, source, path, name)
        else:
            _send(copy, source, path, name, path)


def _send_and_finish(copy: Copy, source: Source, path: bytes, name: bytes) -> None:
    """Send a file with which more is to be done when it is there."""
    if path.endswith(b"/") or copy.succeeds(shell.is_directory(path)):
        path = join(path, name)
    written = beside(path) if copy.options.atomic else path
    _send(copy, source, written, name, path)
    unfinished = Unfinished(copy)
    unfinished.add(written, path, source.status)
    try:
        unfinished.finish()
    except BaseException as ex:
        unfinished.tidy(ex)
        raise


def _send(copy: Copy, source: Source, written: bytes, name: bytes, path: bytes) -> None:
    """Send a file to the path that is written, for one that it may have later."""
    directory = written.endswith(b"/")
    command = send_command(written, preserve=True, directory=directory)
    told = join(path, name) if path.endswith(b"/") else path

    def work(sender: Sender) -> None:
        sender.file(name, told, source)

    def tidy(sender: Sender, error: BaseException) -> None:
        if sender.partial is not None or (sender.begun and written != path):
            copy.tidy([shell.remove(written, name)], error)
        elif sender.asked is not None:
            copy.tidy([shell.remove_empty(written, name)], error)

    attempt(copy, command, written if directory else parent_of(written), work, tidy)


def send_directory(copy: Copy, local: str, path: bytes) -> None:
    """Send what is in a local directory to a remote one, which is made if it is missing.

    :param copy: what the copy is asked for.
    :param local: its path.
    :param path: the remote path.
    """
    above = (in_thread(os.path.realpath, local),)
    command = send_command(path, recursive=True, preserve=True, directory=True)
    walk = _Walk(copy)
    attempt(copy, command, path, lambda sender: walk.send(sender, local, path, above), walk.tidy)
    walk.lock()


class _Walk:
    """Sends what is in directories.

    :param copy: what the copy is asked for.
    """

    __slots__ = ("_copy", "_locked", "_sender", "_unfinished")

    _sender: Sender

    def __init__(self, copy: Copy) -> None:
        self._copy = copy
        self._unfinished = Unfinished(copy)
        #: Directories that are to get modes with which nothing can be put into them.
        self._locked: list[tuple[bytes, int]] = []

    def send(self, sender: Sender, local: str, path: bytes, above: Sequence[str]) -> None:
        """Send what is in a directory to one that the host has entered, or is about to.

        :param sender: sends.
        :param local: the local path.
        :param path: the remote path.
        :param above: the directories that are open, without links; this one is the last.
        """
        self._sender = sender
        self._unfinished = Unfinished(self._copy)
        self._locked.clear()
        self._contents(local, path, above)

    def _contents(self, local: str, path: bytes, above: Sequence[str]) -> None:
        listing = in_thread(list_directory, local, above)
        files = listing.files
        if self._copy.options.resume:
            files = self._incomplete(files, path)
        for batch in together(files):
            for entry, read in zip(batch, in_thread(read_small, batch), strict=True):
                self._file(entry, join(path, entry.name), read)
            if len(self._unfinished) >= _UNFINISHED_MAX:
                self._finish_files()
        # As long as the directory can be written to: its mode is set at its end.
        self._finish_files()
        for entry in listing.directories:
            there = join(path, entry.name)
            mode = stat.S_IMODE(entry.status.st_mode)
            if mode & stat.S_IRWXU != stat.S_IRWXU:
                # scp gives the mode to a directory that exists before it puts anything into it.
                self._locked.append((there, mode))
            self._sender.directory(entry.name, there, mode | stat.S_IRWXU, entry.status)
            self._contents(entry.path, there, (*above, entry.real))
            self._sender.end_directory()

    def lock(self) -> None:
        """Give directories the modes with which nothing can be put into them."""
        for command in shell.set_modes(reversed(self._locked)):
            self._copy.ask(command)

    def _file(
        self, entry: LocalEntry, path: bytes, read: tuple[os.stat_result, bytes] | None
    ) -> None:
        name = entry.name
        if self._copy.options.atomic:
            # Before it gets a name that SCP can carry.
            file_record(name, 0, 0)
            name = beside(name)
        self._unfinished.add(path[: -len(entry.name)] + name, path, entry.status)
        if read is not None and self._copy.rate.piece(SMALL) >= len(read[1]):
            self._sender.small_file(name, path, *read)
        else:
            with self._copy.open_source(entry.path) as source:
                self._sender.file(name, path, source)

    def _finish_files(self) -> None:
        if self._unfinished:
            self._sender.confirm()
            self._unfinished.finish()

    def _incomplete(self, files: Sequence[LocalEntry], path: bytes) -> list[LocalEntry]:
        """Complete the files that are there in part, and return those that are not at all."""
        copy, missing = self._copy, []
        paths = [join(path, file.name) for file in files]
        found = look(copy, [(at, file.status) for at, file in zip(paths, files, strict=True)])
        for file, at, there in zip(files, paths, found, strict=True):
            if is_complete(copy, at, file.status, there):
                continue
            if there in (b"missing", b"0"):
                missing.append(file)
                continue
            with copy.open_source(file.path) as source:
                append(copy, source, at, there)
        return missing

    def tidy(self, sender: Sender, error: BaseException) -> None:
        """Leave nothing that is no whole file, where it cannot be of use.

        :param sender: has sent.
        :param error: why the copy has failed.
        """
        copy, partial, asked = self._copy, sender.partial, sender.asked
        if copy.options.atomic:
            self._unfinished.tidy(error)
        elif partial is not None and not copy.options.resume:
            copy.tidy([shell.remove(partial[0], b"")], error)
        elif asked is not None and not copy.options.resume:
            copy.tidy([shell.remove_empty(asked[0], b"")], error)
