"""Sending to ``scp -t``: files and directories over one channel."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import NoReturn

from pssh.clients.base.files import scp_shell as shell
from pssh.clients.base.files.options import Meter
from pssh.clients.base.files.scp_copy import Copy, content
from pssh.clients.base.files.scp_program import Program
from pssh.clients.base.files.source import Source as LocalFile
from pssh.exceptions import SCPError, SessionError
from pssh.scp.record import Times
from pssh.scp.source import Reply, Source, Step
from pssh.sftp.names import printable
from pssh.utils import logger


class Sender:
    """Sends to ``scp -t``, and stops at the first thing that the host refuses.

    :param copy: what the copy is asked for.
    :param program: the remote scp, just started.
    """

    __slots__ = (
        "_copy",
        "_excused",
        "_program",
        "_source",
        "_unsent",
        "asked",
        "begun",
        "partial",
    )

    def __init__(self, copy: Copy, program: Program) -> None:
        self._copy = copy
        self._program = program
        self._source = Source()
        self._unsent = bytearray()
        self._excused = False
        #: Whether the host has taken anything.
        self.begun = False
        #: The file that the host has been asked to take and has not answered about.
        self.asked: tuple[bytes, Meter] | None = None
        #: The file that the host has taken and has not got whole: its path and its meter.
        self.partial: tuple[bytes, Meter] | None = None

    # What is sent

    def file(self, name: bytes, path: bytes, file: LocalFile) -> None:
        """Send a file.

        :param name: its name in the current directory.
        :param path: its remote path.
        :param file: where it is read.
        :raises SCPError: when the host refuses it, or it changes meanwhile.
        :raises OSError: when it cannot be read.
        """
        meter = self._begin_file(name, path, file.status, file.size)
        content(file, 0, self._copy.rate, meter, self._send)
        self._unsent += self._source.end_file()

    def small_file(self, name: bytes, path: bytes, status: os.stat_result, data: bytes) -> None:
        """Send a file that has been read: together with what comes before and after it.

        :param name: its name in the current directory.
        :param path: its remote path.
        :param status: its mode and its times.
        :param data: what is in it.
        :raises SCPError: when the host refuses it.
        """
        meter = self._begin_file(name, path, status, len(data))
        meter.tell(0)
        self._copy.rate.pause(len(data))
        self._unsent += data
        self._source.sent(len(data))
        self._unsent += self._source.end_file()

    def directory(self, name: bytes, path: bytes, mode: int, status: os.stat_result) -> None:
        """Begin a directory, which becomes the current one.

        :param name: its name in the current directory.
        :param path: its remote path.
        :param mode: its permission bits.
        :param status: its times.
        :raises SCPError: when the host refuses it.
        """
        shown = printable(path)
        self._unsent += self._source.directory(name, mode, self._times(status), shown)
        self._wait_for_leave()

    def end_directory(self) -> None:
        """End the current directory."""
        self._unsent += self._source.end_directory()

    def confirm(self) -> None:
        """Wait until the host has the last file whole."""
        self._flush()
        while self.partial is not None:
            self._take(self._program.read())

    def finish(self) -> None:
        """Wait until the host has everything, and scp has ended well.

        :raises SCPError: when it has not.
        """
        self._flush()
        while not self._source.finished:
            self._take(self._program.read())
        self._program.end()
        if not self._program.succeeded and not self._excused:
            raise SCPError("the remote scp failed: %s", self._program.reason())

    def _begin_file(self, name: bytes, path: bytes, status: os.stat_result, size: int) -> Meter:
        mode, shown = stat.S_IMODE(status.st_mode), printable(path)
        self._unsent += self._source.file(name, mode, size, self._times(status), shown)
        meter = self._copy.meter(path, size)
        self.asked = (path, meter)
        self._wait_for_leave()
        return meter

    def _times(self, status: os.stat_result) -> Times | None:
        if not self._copy.options.preserve_times:
            return None
        return Times(status.st_mtime_ns, status.st_atime_ns)

    def _wait_for_leave(self) -> None:
        self._flush()
        while self._source.waiting:
            self._take(self._program.read())

    def _flush(self) -> None:
        data, self._unsent = self._unsent, bytearray()
        self._write(memoryview(data))

    def _send(self, data: memoryview) -> None:
        self._write(data)
        self._source.sent(len(data))

    def _write(self, data: memoryview) -> None:
        while data:
            count = self._program.write(data)
            if count:
                data = data[count:]
            else:
                self._take(self._program.read())

    # What the host says

    def _take(self, data: bytes) -> None:
        if not data:
            self._ended()
        for reply in self._source.feed(data):
            if reply.error is not None:
                self._refused(reply, reply.error)
            if reply.step is Step.FILE:
                self.partial, self.asked = self.asked, None
            if reply.step is Step.DATA and self.partial is not None:
                meter, self.partial = self.partial[1], None
                meter.finish(meter.total)
            if reply.step in (Step.FILE, Step.DIRECTORY):
                self.begun = True

    def _refused(self, reply: Reply, error: str) -> None:
        if reply.step is Step.FILE:
            self.asked = None
        if reply.step is Step.DATA and ": set mode: " in error:
            # A file of somebody else's that we may write: its mode is not ours to change.
            logger.warning("Host %s: %s", self._copy.client.host, error)
            self._excused = True
            return
        if reply.step is Step.DATA and ": set times: " in error:
            # What is in the file is all there.
            self.partial = None
        raise SCPError("%s", error)

    def _ended(self) -> NoReturn:
        """The program has ended too early."""
        self._program.end()
        try:
            self._source.finish()
        except SCPError as ex:
            raise self._program.error(ex) from ex
        raise SCPError("the remote scp ended too early: %s", self._program.reason())


def attempt(
    copy: Copy,
    command: bytes,
    directory: bytes,
    work: Callable[[Sender], None],
    tidy: Callable[[Sender, BaseException], None],
) -> None:
    """Have something sent; again, once a directory has been made for it, where one is missing.

    :param copy: what the copy is asked for.
    :param command: starts the remote scp.
    :param directory: the directory; empty where none can be missing.
    :param work: sends.
    :param tidy: removes what is left after a failure.
    """
    refusal = _try(copy, copy.start(command), work, tidy, again=bool(directory))
    if refusal is None:
        return
    try:
        program = copy.start(shell.in_new_directory(directory, command))
    except SessionError as ex:
        # The host runs scp and nothing else.
        raise refusal from ex
    _try(copy, program, work, tidy, again=False)


def _try(
    copy: Copy,
    program: Program,
    work: Callable[[Sender], None],
    tidy: Callable[[Sender, BaseException], None],
    *,
    again: bool,
) -> SCPError | None:
    """Have something sent; return the error that a missing directory may be the reason of."""
    sender = Sender(copy, program)
    try:
        work(sender)
        sender.finish()
    except BaseException as ex:
        program.close(ex)
        if again and isinstance(ex, SCPError) and not sender.begun and _is_missing(ex):
            return ex
        tidy(sender, ex)
        raise
    return None


def _is_missing(error: SCPError) -> bool:
    # SCP has no codes for errors. All servers say it in the words of the C library.
    return "no such file or directory" in str(error).lower()


def is_special(status: os.stat_result) -> bool:
    """Whether the remote scp may lose bits of a file's mode.

    It sets these bits before it writes, and writing clears them unless it runs as root.
    """
    return bool(status.st_mode & (stat.S_ISUID | stat.S_ISGID))


class Unfinished:
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
        if is_special(status):
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
