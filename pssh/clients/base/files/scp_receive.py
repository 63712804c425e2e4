"""Receiving from ``scp -f``: what it sends goes to the local disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Final, NoReturn

from pssh.clients.base.files import scp_shell as shell
from pssh.clients.base.files.options import Meter
from pssh.clients.base.files.remote_path import join
from pssh.clients.base.files.scp_copy import Copy
from pssh.clients.base.files.scp_program import READ_SIZE, Program
from pssh.clients.base.files.scp_target import LocalTarget
from pssh.clients.base.files.scp_writer import Writer
from pssh.clients.base.threads import in_thread
from pssh.exceptions import SCPError
from pssh.scp.sink import (
    DirectoryEnd,
    DirectoryStart,
    Event,
    FileData,
    FileEnd,
    FileStart,
    RemoteWarning,
    Sink,
)
from pssh.utils import logger

#: OpenSSH's reasons why something in a directory cannot be copied by anybody.
_LEFT_OUT: Final = (
    ": not a regular file",
    # A link that leads nowhere, or a file that has gone meanwhile.
    ": No such file or directory",
    ": Too many levels of symbolic links",
)

#: OpenSSH's word for a line feed in a name.
_LINE_FEED: Final = r"\^J"


class Receiver:
    """Receives from ``scp -f``, and stops at the first thing that fails.

    :param copy: what the copy is asked for.
    :param program: the remote scp, just started.
    :param sink: what it may send.
    :param target: where it goes.
    :param path: the remote path that was asked for.
    """

    __slots__ = (
        "_copy",
        "_done",
        "_excused",
        "_last",
        "_meter",
        "_program",
        "_remote",
        "_sink",
        "_target",
        "_unsent",
        "_writer",
        "begun",
    )

    def __init__(
        self, copy: Copy, program: Program, sink: Sink, target: LocalTarget, path: bytes
    ) -> None:
        self._copy = copy
        self._program = program
        self._sink = sink
        self._target = target
        self._writer = Writer(target)
        #: The remote paths of what is open: directories, and the path that was asked for.
        self._remote = [path]
        self._unsent = b""
        self._meter = Meter(copy.client.host, "", 0, None)
        self._done = 0
        self._last = False
        self._excused = False
        #: Whether the host has sent anything.
        self.begun = False

    def run(self) -> None:
        """Receive everything.

        :raises SCPError: when the host cannot send it, or sends what it may not.
        :raises OSError: when it cannot be written.
        """
        try:
            self._receive()
            self._program.end()
            if not self._program.succeeded and not self._excused:
                raise SCPError("the remote scp failed: %s", self._program.reason())
            if self._last:
                # Only now it is certain that it is whole.
                self._writer.do(self._target.finish)
            self._writer.settle()
            if self._last:
                self._meter.finish(self._meter.total)
        except BaseException as ex:
            self._program.close(ex)
            raise
        finally:
            self._writer.stop()

    def _receive(self) -> None:
        sink, program, writer, rate = self._sink, self._program, self._writer, self._copy.rate
        size = rate.piece(READ_SIZE)
        self._reply()
        while not sink.finished:
            data = program.read(size)
            if not data:
                self._ended()
            for event in sink.feed(data):
                self._handle(event)
            self._reply()
            writer.keep_up()
            rate.pause(len(data))

    def _reply(self) -> None:
        self._unsent += self._sink.replies()
        while self._unsent:
            count = self._program.write(self._unsent)
            if not count:
                # First comes what it has said.
                return
            self._unsent = self._unsent[count:]

    def _ended(self) -> NoReturn:
        """The program has ended too early."""
        self._program.end()
        try:
            self._sink.finish()
        except SCPError as ex:
            raise self._program.error(ex) from ex
        raise SCPError("the remote scp ended too early: %s", self._program.reason())

    # What the host sends

    def _handle(self, event: Event) -> None:
        if isinstance(event, FileData):
            self._data(event.data)
        elif isinstance(event, FileStart):
            self._begin_file(event)
        elif isinstance(event, FileEnd):
            self._end_file(event.error)
        elif isinstance(event, DirectoryStart):
            self._enter(event)
        elif isinstance(event, DirectoryEnd):
            self._remote.pop()
            self._writer.do(self._target.leave)
        else:
            self._warned(event)

    def _data(self, data: memoryview) -> None:
        self._writer.write(data)
        self._done += len(data)
        self._meter.tell(self._done)

    def _begin_file(self, event: FileStart) -> None:
        self.begun = True
        if event.depth:
            path = join(self._remote[-1], self._checked(event.name))
            name = os.fsdecode(event.name)
            begin = partial(self._target.begin, name, event.mode, event.size, event.times)
        else:
            path = self._remote[-1]
            begin = partial(self._target.begin_top, event.mode, event.size, event.times)
        self._meter = self._copy.meter(path, event.size)
        self._done = 0
        if self._copy.options.resume:
            self._resume(path, event.size, begin)
        else:
            self._writer.do(begin)
            self._meter.tell(0)

    def _end_file(self, error: str | None) -> None:
        if error is not None:
            raise SCPError("%s", error)
        if self._sink.finished:
            self._last = True
        else:
            self._writer.do(self._target.finish)
            self._meter.finish(self._meter.total)

    def _enter(self, event: DirectoryStart) -> None:
        self.begun = True
        if event.depth:
            self._remote.append(join(self._remote[-1], self._checked(event.name)))
            name = os.fsdecode(event.name)
            self._writer.do(self._target.enter, name, event.mode, event.times)
        else:
            self._remote.append(self._remote[-1])
            self._writer.do(self._target.enter_top)

    def _checked(self, name: bytes) -> bytes:
        if _LINE_FEED.encode() in name:
            raise self._line_feed(self._copy.shown(name))
        return name

    def _line_feed(self, name: str) -> SCPError:
        # Whether the name has this in place of a line feed, or really, cannot be told.
        return SCPError(
            "SCP cannot carry the name of a file or directory in %s with a line feed in it: %s",
            self._copy.shown(self._remote[-1]),
            name,
        )

    def _warned(self, warning: RemoteWarning) -> None:
        text = warning.text
        if _LINE_FEED in text:
            raise self._line_feed(text)
        # In the case of what was asked for itself, the program's end will tell.
        if not text.endswith(_LEFT_OUT):
            raise SCPError("%s", text)
        if self.begun:
            logger.warning("Host %s: %s: it is left out", self._copy.client.host, text)
            self._excused = True

    # Going on after an earlier copy

    def _resume(self, path: bytes, size: int, begin: Callable[[], int]) -> None:
        """Begin a file, and fetch only the rest of it where there is a part of it."""
        self._writer.settle()
        there = in_thread(begin)
        if not 0 < there <= size:
            in_thread(self._target.restart)
            self._meter.tell(0)
            return
        self._meter.tell(there)
        self._sink.refuse("its begin is here already")
        self._excused = True
        if there < size:
            self._fetch_rest(path, there, size)
        self._writer.do(self._target.finish)
        self._writer.settle()
        self._meter.finish(size)

    def _fetch_rest(self, path: bytes, there: int, size: int) -> None:
        program, rate = self._copy.start(shell.rest(path, there)), self._copy.rate
        self._done = there
        try:
            while data := program.read(rate.piece(READ_SIZE)):
                if self._done + len(data) > size:
                    raise self._changed(path)
                self._data(memoryview(data))
                self._writer.keep_up()
                rate.pause(len(data))
            program.end()
        except BaseException as ex:
            program.close(ex)
            raise
        if program.succeeded and self._done < size:
            raise self._changed(path)
        if not program.succeeded:
            raise SCPError("%s", program.reason())

    def _changed(self, path: bytes) -> SCPError:
        return SCPError("%s changed while it was copied", self._copy.shown(path))
