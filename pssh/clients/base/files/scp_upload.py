"""A local file, or what is in a local directory, on its way to a host over SCP."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Final

from pssh.clients.base.files import scp_shell as shell
from pssh.clients.base.files.local import Source
from pssh.clients.base.files.scp_copy import Copy, beside, content, join, parent_of
from pssh.clients.base.files.scp_entries import (
    SMALL,
    LocalEntry,
    list_directory,
    read_small,
    together,
)
from pssh.clients.base.files.scp_send import Sender
from pssh.clients.base.threads import in_thread
from pssh.exceptions import SCPError
from pssh.scp.command import send_command
from pssh.scp.record import Times, file_record
from pssh.utils import logger

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
    with copy.sources.open(local) as source:
        if copy.options.resume:
            _resume(copy, source, path, name)
        elif copy.options.atomic or _is_special(source.status):
            _send_and_finish(copy, source, path, name)
        else:
            _send(copy, source, path, name, path)


def _send_and_finish(copy: Copy, source: Source, path: bytes, name: bytes) -> None:
    """Send a file with which more is to be done when it is there."""
    if path.endswith(b"/") or copy.succeeds(shell.is_directory(path)):
        path = join(path, name)
    written = beside(path) if copy.options.atomic else path
    _send(copy, source, written, name, path)
    unfinished = _Unfinished(copy)
    unfinished.add(written, path, source.status)
    try:
        unfinished.finish()
    except BaseException as ex:
        unfinished.tidy(ex)
        raise


def _is_special(status: os.stat_result) -> bool:
    """Whether the remote scp may lose bits of the mode.

    It sets these bits before it writes, and writing clears them unless it runs as root.
    """
    return bool(status.st_mode & (stat.S_ISUID | stat.S_ISGID))


class _Unfinished:
    """Files that are there and want something more.

    :param copy: what the copy is asked for.
    """

    __slots__ = ("_copy", "_modes", "_renamed")

    def __init__(self, copy: Copy) -> None:
        self._copy = copy
        self._modes: list[tuple[bytes, int]] = []
        self._renamed: list[tuple[bytes, bytes]] = []

    def add(self, written: bytes, path: bytes, status: os.stat_result) -> None:
        """Note a file.

        :param written: the path that it has.
        :param path: the path that it is to have.
        :param status: its mode.
        """
        if _is_special(status):
            self._modes.append((written, stat.S_IMODE(status.st_mode)))
        if written != path:
            self._renamed.append((written, path))

    def __len__(self) -> int:
        return len(self._modes) + len(self._renamed)

    def finish(self) -> None:
        """Set modes and rename."""
        for command in shell.set_modes(self._modes):
            try:
                self._copy.ask(command)
            except SCPError as ex:
                # What is in the file is all there.
                logger.warning("Host %s: %s", self._copy.client.host, ex)
        self._modes.clear()
        for command in shell.move(self._renamed):
            self._copy.ask(command)
        self._renamed.clear()

    def tidy(self, error: BaseException) -> None:
        """Remove what has not got its name."""
        self._copy.tidy(shell.remove_all(written for written, _ in self._renamed), error)


def _send(copy: Copy, source: Source, written: bytes, name: bytes, path: bytes) -> None:
    """Send a file to the path that is written, for one that it may have later."""
    directory = written.endswith(b"/")
    command = send_command(written, preserve=True, directory=directory)
    parent = written if directory else parent_of(written)
    if not _try(copy, command, source, written, name, path, again=bool(parent)):
        command = shell.in_new_directory(parent, command)
        _try(copy, command, source, written, name, path, again=False)


def _try(
    copy: Copy,
    command: bytes,
    source: Source,
    written: bytes,
    name: bytes,
    path: bytes,
    *,
    again: bool,
) -> bool:
    """Send a file; false where it may go well again, once its directory has been made."""
    program = copy.start(command)
    sender = Sender(copy, program)
    try:
        sender.file(name, join(path, name) if path.endswith(b"/") else path, source)
        sender.finish()
    except BaseException as ex:
        program.close(ex)
        if again and not sender.begun and _lacks_directory(ex):
            return False
        if sender.partial is not None or (sender.begun and written != path):
            copy.tidy([shell.remove(written, name)], ex)
        raise
    return True


def _lacks_directory(error: BaseException) -> bool:
    # SCP has no codes for errors. All servers say it in the words of the C library.
    return isinstance(error, SCPError) and "no such file or directory" in str(error).lower()


# Going on after an earlier copy


def _resume(copy: Copy, source: Source, path: bytes, name: bytes) -> None:
    in_directory = path.endswith(b"/")
    path = join(path, name) if in_directory else path
    there = _look(copy, [_wanted(copy, path, source.status)])[0]
    if there == b"directory" and not in_directory:
        path = join(path, name)
        there = _look(copy, [_wanted(copy, path, source.status)])[0]
    if not _is_complete(copy, path, source.status, there):
        _append(copy, source, path, there)


def _wanted(copy: Copy, path: bytes, status: os.stat_result) -> shell.Wanted:
    times = Times(status.st_mtime_ns, status.st_atime_ns)
    mode = stat.S_IMODE(status.st_mode)
    return shell.Wanted(path, status.st_size, mode, times if copy.options.preserve_times else None)


def _look(copy: Copy, files: Sequence[shell.Wanted]) -> list[bytes]:
    """Ask how much of each file there is; see :func:`pssh.clients.base.files.scp_shell.look`."""
    found: list[bytes] = []
    for batch in shell.look_batches(files):
        words = copy.ask(shell.look(batch)).split()
        if len(words) != len(batch):
            raise SCPError("the remote shell did not say how much there is of each file")
        found += words
    return found


def _is_complete(copy: Copy, path: bytes, status: os.stat_result, there: bytes) -> bool:
    """Whether a file is there whole; its mode and times are set then."""
    if there in (b"directory", b"other"):
        what = "a directory" if there == b"directory" else "no regular file"
        raise SCPError("%s is %s there", copy.shown(path), what)
    if there != b"%d" % status.st_size:
        return False
    copy.meter(path, status.st_size).tell(status.st_size)
    return True


def _append(copy: Copy, source: Source, path: bytes, there: bytes) -> None:
    """Send what is missing of a file; all where what is there is not its begin."""
    start = int(there) if there.isdigit() and int(there) <= source.size else 0
    meter = copy.meter(path, source.size)
    command = shell.append(_wanted(copy, path, source.status), start)
    parent = parent_of(path)
    if there == b"missing" and parent:
        command = shell.in_new_directory(parent, command)
    program = copy.start(command)

    def write(data: memoryview) -> None:
        while data:
            count = program.write(data)
            data = data[count:]
            if not count:
                # It has nothing to say while it takes what it is sent.
                program.end()
                raise SCPError("%s", program.reason())

    try:
        content(source, start, copy.rate, meter, write)
        program.end()
    except BaseException as ex:
        program.close(ex)
        raise
    if not program.succeeded:
        raise SCPError("%s", program.reason())
    meter.tell(source.size)


# What is in a directory


def send_directory(copy: Copy, local: str, path: bytes) -> None:
    """Send what is in a local directory to a remote one, which is made if it is missing.

    :param copy: what the copy is asked for.
    :param local: its path.
    :param path: the remote path.
    """
    real = in_thread(os.path.realpath, local)
    command = send_command(path, recursive=True, preserve=True, directory=True)
    program = copy.start(shell.in_new_directory(path, command))
    walk = _Walk(copy, Sender(copy, program))
    try:
        walk.contents(local, path, (real,))
        walk.finish()
    except BaseException as ex:
        program.close(ex)
        walk.tidy(ex)
        raise


class _Walk:
    """Sends what is in directories.

    :param copy: what the copy is asked for.
    :param sender: sends.
    """

    __slots__ = ("_copy", "_locked", "_sender", "_unfinished")

    def __init__(self, copy: Copy, sender: Sender) -> None:
        self._copy = copy
        self._unfinished = _Unfinished(copy)
        #: Directories that are to get modes with which nothing can be put into them.
        self._locked: list[tuple[bytes, int]] = []
        self._sender = sender

    def contents(self, local: str, path: bytes, above: Sequence[str]) -> None:
        """Send what is in a directory, once the host has entered it.

        :param local: its path.
        :param path: the remote path.
        :param above: the directories that are open, without links; this one is the last.
        """
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
            self.contents(entry.path, there, (*above, entry.real))
            self._sender.end_directory()

    def finish(self) -> None:
        """Wait until the host has everything."""
        self._sender.finish()
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
            with self._copy.sources.open(entry.path) as source:
                self._sender.file(name, path, source)

    def _finish_files(self) -> None:
        if self._unfinished:
            self._sender.confirm()
            self._unfinished.finish()

    def _incomplete(self, files: Sequence[LocalEntry], path: bytes) -> list[LocalEntry]:
        """Complete the files that are there in part, and return those that are not at all."""
        copy, missing = self._copy, []
        paths = [join(path, file.name) for file in files]
        wanted = [
            _wanted(copy, there, file.status) for there, file in zip(paths, files, strict=True)
        ]
        for file, there, found in zip(files, paths, _look(copy, wanted), strict=True):
            if _is_complete(copy, there, file.status, found):
                continue
            if found in (b"missing", b"0"):
                missing.append(file)
                continue
            with copy.sources.open(file.path) as source:
                _append(copy, source, there, found)
        return missing

    def tidy(self, error: BaseException) -> None:
        """Leave nothing that is no whole file, where it cannot be of use.

        :param error: why the copy has failed.
        """
        copy, partial = self._copy, self._sender.partial
        if copy.options.atomic:
            self._unfinished.tidy(error)
        elif partial is not None and not copy.options.resume:
            copy.tidy([shell.remove(partial[0], b"")], error)
