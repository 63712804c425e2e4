"""Our side of an SCP copy when we send: what is sent when, and what the replies belong to. Pure.

The remote side (``scp -t``) sends one reply when it starts, and then one for each record, and one
for each file's data: the replies have no names, each belongs to the oldest that has none yet.

A round trip for each reply is what makes scp slow, so records are sent ahead of replies where
that is safe whatever the reply turns out to be:

- Times (T): the reply is 0, or the remote side gives up. What they belong to goes with them.
- The status after a file's data, and the end of a directory (E): whatever the reply, the next
  thing read is a record. So the next file's record goes with them.
- The first record, before the reply that the remote side has started: it starts, or gives up.

Two must be waited for, as scp(1) does, and :attr:`Source.waiting` tells when:

- A file (C). If it is refused (no permission, a directory of that name …) its data is *not* read
  as data, but as records. OpenSSH gives up on the first line that is none; asyncssh's server
  skips such lines. With either a file's content could so create other files, whoever wrote it.
  That holds for an empty file too, whose status byte would be taken for a record's begin.
- A directory (D). If it is refused, what is sent for it would be put into the directory above,
  without any further error, and its end would end that one.

So a file costs one round trip, not three or four, and so does a directory. To send many small
files faster than that takes several channels, each with a part of them.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass

from pssh.exceptions import SCPError
from pssh.scp.record import (
    END,
    MAX_DEPTH,
    MAX_LINE,
    OK,
    START_UP_HINT,
    Times,
    directory_record,
    excerpt,
    file_record,
    is_fatal,
    is_message,
    message,
    parse_message,
    printable,
    times_record,
)


class Step(enum.Enum):
    """What a reply is for."""

    START = "start"
    """The remote side started."""
    TIMES = "times"
    FILE = "file"
    """The file was opened: its data may be sent."""
    DATA = "data"
    """The file is complete."""
    DIRECTORY = "directory"
    """The directory was made, or existed, and was entered."""
    END = "end"
    """The directory was left."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of the remote side.

    :ivar step: what it is for.
    :ivar path: the path that was given for it, ``""`` for the start.
    :ivar error: ``None`` for success, otherwise the remote side's reason. The remote side goes
        on after it: a refused file or directory is as if it had never been sent; a file whose
        data has an error is incomplete.
    """

    step: Step
    path: str
    error: str | None


class Source:
    """Sends to ``scp -t``; see :mod:`pssh.scp.source` for what may be sent when.

    Methods that send return the bytes to send; they raise :class:`RuntimeError` where it is not
    the time for it. Everything from the remote side goes to :meth:`feed`, and its end to
    :meth:`finish`. After an :class:`SCPError` from one of these two the copy has failed. A write
    that fails because the remote side has ended is no reason yet: these two know it, once they
    are given what it had sent.
    """

    def __init__(self) -> None:
        self._outstanding: deque[tuple[Step, str]] = deque([(Step.START, "")])
        self._directories: list[str] = []
        self._waiting = False
        self._file: str | None = None
        self._remaining = 0
        self._with_times: bool | None = None
        self._partial = b""
        self._last_error = ""
        self._failure: SCPError | None = None

    @property
    def waiting(self) -> bool:
        """Whether nothing may be sent before the reply to a file's or directory's record."""
        return self._waiting

    @property
    def in_file(self) -> bool:
        """Whether a file was accepted and not ended: its data, then its end are to be sent."""
        return self._file is not None

    @property
    def remaining(self) -> int:
        """How many bytes of the file's data are still to be sent."""
        return self._remaining

    @property
    def depth(self) -> int:
        """In how many directories the next record will be."""
        return len(self._directories)

    @property
    def finished(self) -> bool:
        """Whether all that was begun has ended and has its reply: the channel may be closed."""
        return not (self._outstanding or self.in_file or self._directories)

    def file(
        self, name: bytes, mode: int, size: int, times: Times | None = None, path: str = ""
    ) -> bytes:
        """Begin a file. Wait until it is accepted (:attr:`in_file`) before its data.

        :param name: its name in the current directory. For the first record it counts only where
            the path in the command is an existing directory.
        :param mode: its permission bits. How the remote side applies them, see
            :func:`pssh.scp.command.send_command`.
        :param size: how many bytes will follow.
        :param times: its times; all records have them or none has.
        :param path: what :class:`Reply` and errors call it; its name if empty.
        :raises SCPError: when the protocol cannot carry the name. Nothing has been sent then.
        """
        self._check_idle()
        return self._begin(Step.FILE, file_record(name, mode, size), name, size, times, path)

    def directory(
        self, name: bytes, mode: int, times: Times | None = None, path: str = ""
    ) -> bytes:
        """Begin a directory. Wait for its reply before what is in it.

        :param name: its name in the current directory; as for :meth:`file`.
        :param mode: its permission bits. The remote side applies them when the directory ends.
        :param times: its times; all records have them or none has.
        :param path: what :class:`Reply` and errors call it; its name if empty.
        :raises SCPError: when the protocol cannot carry the name, or directories are nested more
            deeply than 256. Nothing has been sent then.
        """
        self._check_idle()
        if self.depth >= MAX_DEPTH:
            raise SCPError(
                "Directories are nested more than %s deep: %s", MAX_DEPTH, path or printable(name)
            )
        return self._begin(Step.DIRECTORY, directory_record(name, mode), name, 0, times, path)

    def end_directory(self) -> bytes:
        """End the current directory."""
        self._check_idle()
        if not self._directories:
            raise RuntimeError("No directory is open")
        self._outstanding.append((Step.END, self._directories.pop()))
        return END

    def sent(self, count: int) -> None:
        """Count data of the file that was sent; the bytes themselves need not come by here.

        :param count: in bytes.
        """
        if self._file is None or not 0 <= count <= self._remaining:
            raise RuntimeError(f"{count} bytes were sent, but {self._remaining} were to be sent")
        self._remaining -= count

    def end_file(self, error: str | None = None) -> bytes:
        """End the file, once all its data has been sent.

        :param error: why the data is not what the file contains, such as a failed read. The
            announced number of bytes has to be sent even so; the other way out is to close
            the channel.
        """
        if self._file is None or self._remaining:
            raise RuntimeError("A file ends after all its data")
        self._outstanding.append((Step.DATA, self._file))
        self._file = None
        return OK if error is None else message(error)

    def feed(self, data: bytes) -> list[Reply]:
        """Take what the remote side sent, cut anywhere.

        :returns: the replies that it completes.
        :raises SCPError: when the remote side gave up, or sent what is no reply. It does so
            ever after.
        """
        if self._failure is not None:
            raise self._failure
        try:
            return self._replies(self._partial + data)
        except SCPError as ex:
            self._failure = ex
            raise

    def finish(self) -> None:
        """Take the end of what the remote side sends.

        :raises SCPError: when something was not ended, or has no reply.
        """
        if self._failure is not None:
            raise self._failure
        if self.finished:
            return
        step, path = self._outstanding[0] if self._outstanding else (Step.END, self._open_path())
        where = "before it started" if step is Step.START else f"in the middle of {path}"
        self._failure = SCPError("The remote scp ended %s%s", where, self._said())
        raise self._failure

    def _open_path(self) -> str:
        return self._directories[-1] if self._file is None else self._file

    def _check_idle(self) -> None:
        if self._waiting or self._file is not None:
            raise RuntimeError("A record is sent when no file is open and none waits for a reply")

    def _begin(
        self, step: Step, record: bytes, name: bytes, size: int, times: Times | None, path: str
    ) -> bytes:
        if self._with_times not in (None, times is not None):
            # The remote side keeps the times of what it refused for whatever comes next.
            raise RuntimeError("Either all files and directories are sent with times or none is")
        self._with_times = times is not None
        path = path or printable(name)
        if times is not None:
            record = times_record(times) + record
            self._outstanding.append((Step.TIMES, path))
        self._outstanding.append((step, path))
        self._waiting = True
        self._remaining = size
        return record

    def _replies(self, data: bytes) -> list[Reply]:
        replies = []
        at = 0
        while at < len(data):
            if data[at] == 0:
                at += 1
                replies.append(self._settle(None))
                continue
            end = data.find(b"\n", at, at + MAX_LINE)
            if not is_message(data[at]):
                raise self._nonsense(data[at : len(data) if end < 0 else end])
            if end < 0:
                if len(data) - at >= MAX_LINE:
                    raise SCPError(
                        "The server sent a message of more than %s bytes: %s",
                        MAX_LINE,
                        excerpt(data[at:]),
                    )
                break
            replies.append(self._settle(data[at:end]))
            at = end + 1
        self._partial = data[at:]
        return replies

    def _settle(self, line: bytes | None) -> Reply:
        """Give a reply to the oldest that has none; ``line`` is its message, where it has one."""
        error = None if line is None else parse_message(line)
        if not self._outstanding:
            if error is None:
                raise SCPError("The server sent a reply to nothing")
            raise SCPError("The remote scp gave up: %s", error)
        step, path = self._outstanding.popleft()
        if line is not None and (is_fatal(line) or step is Step.START):
            raise SCPError("The remote scp gave up%s: %s", f" at {path}" if path else "", error)
        if error is not None:
            self._last_error = error
        if step in (Step.FILE, Step.DIRECTORY):
            self._waiting = False
            if error is not None:
                self._remaining = 0
            elif step is Step.FILE:
                self._file = path
            else:
                self._directories.append(path)
        return Reply(step, path, error)

    def _nonsense(self, line: bytes) -> SCPError:
        started = not self._outstanding or self._outstanding[0][0] is not Step.START
        return SCPError(
            "The server sent %s instead of a reply of scp%s%s",
            excerpt(line),
            self._said(),
            "" if started else START_UP_HINT,
        )

    def _said(self) -> str:
        # A path with a line feed in it breaks the message that contains it into lines.
        return f"; it had said: {self._last_error}" if self._last_error else ""
