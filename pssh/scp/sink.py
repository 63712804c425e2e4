"""Our side of an SCP copy when we fetch: from the remote side's bytes to events. Pure.

The remote side (``scp -f``) sends nothing before it is told to, and waits for a reply after each
record and after each file. A round trip for each reply is what makes scp slow, so replies can be
sent ahead (``ahead``): as far as they reach the remote side never waits. OpenSSH and asyncssh's
server take them as they come. The price is that a file or directory can no longer be refused
before it is sent: one that is refused is read and dropped. And the remote side may have ended,
with all its data on the way, while we still send replies: a failed write is then no error, for
:meth:`Sink.finish` knows whether everything has arrived.

The server may be hostile. What it may send is one thing: a file, or a directory and what is in it
if the copy is recursive. Every name in it is a safe one (:func:`pssh.local_path.is_safe_name`;
CVE-2018-20685, CVE-2019-6111), lines, sizes and depth are bounded, and no memory grows with what
is sent. The name of the first file or directory is the server's choice too: who fetches one thing
should call it what the *user* asked for (:func:`pssh.scp.command.last_name`), not that.

The protocol cannot carry a name with a line feed. OpenSSH sends such a file (no directory) as if
it had the name ``\\^J`` there, and so its name arrives here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pssh.exceptions import SCPError
from pssh.local_path import is_safe_name
from pssh.scp.record import (
    MAX_DEPTH,
    MAX_LINE,
    MODE_MASK,
    OK,
    START_UP_HINT,
    Times,
    excerpt,
    is_fatal,
    is_message,
    message,
    parse_entry,
    parse_message,
    parse_times,
    printable,
)

#: How many replies to send ahead: enough for thousands of small files in a round trip, and not
#: more than what the smallest pipe (one page) holds while the remote side reads none.
AHEAD: Final = 4096


@dataclass(frozen=True, slots=True)
class FileStart:
    """A file begins; :class:`FileData` as long as there is any, and :class:`FileEnd` follow.

    :ivar name: its name in the current directory, a safe one.
    :ivar mode: its permission bits, without set-user-ID, set-group-ID and the sticky bit.
    :ivar size: how many bytes follow.
    :ivar times: its times, if the server sent them.
    :ivar depth: in how many directories it is.
    """

    name: bytes
    mode: int
    size: int
    times: Times | None
    depth: int


@dataclass(frozen=True, slots=True)
class FileData:
    """The next bytes of the file: a slice of what was fed, not a copy."""

    data: memoryview


@dataclass(frozen=True, slots=True)
class FileEnd:
    """The file has ended.

    :ivar error: ``None``, or why the remote side could not read all of it; then the data is not
        the file's.
    """

    error: str | None


@dataclass(frozen=True, slots=True)
class DirectoryStart:
    """A directory begins, and becomes the current one.

    :ivar name: its name in the directory above, a safe one.
    :ivar mode: its permission bits, without set-user-ID, set-group-ID and the sticky bit. They are
        for the end of the directory: it may well be read-only.
    :ivar times: its times, if the server sent them; for its end too.
    :ivar depth: in how many directories it is.
    """

    name: bytes
    mode: int
    times: Times | None
    depth: int


@dataclass(frozen=True, slots=True)
class DirectoryEnd:
    """The current directory ends."""


@dataclass(frozen=True, slots=True)
class RemoteWarning:
    """The remote side leaves something out and goes on, such as a file it may not read."""

    text: str


Event = FileStart | FileData | FileEnd | DirectoryStart | DirectoryEnd | RemoteWarning


class Sink:
    """Reads what ``scp -f`` sends.

    What is received goes to :meth:`feed`, and its end to :meth:`finish`; what :meth:`replies`
    returns is sent, at the begin and after each :meth:`feed`. After an :class:`SCPError` the copy
    has failed, and each further call of the first two raises it again.

    :param recursive: a directory may be sent. Otherwise one file.
    :param unnamed: the path that was asked for has no name at its end (``.``, ``..``, ``/``), so
        that the first record need not have one: its event has the name ``b""``.
    :param ahead: how many replies to send before they are due (:data:`AHEAD`).
    """

    def __init__(self, *, recursive: bool = False, unnamed: bool = False, ahead: int = 0) -> None:
        self._recursive = recursive
        self._unnamed = unnamed
        self._ahead = ahead
        self._replies = bytearray(OK * (1 + ahead))
        self._due = False  # a reply to the last event, which may still be refused
        self._last: type[Event] | None = None
        self._data = b""
        self._at = 0
        self._partial = b""
        self._started = False
        self._finished = False
        self._depth = 0
        self._times: Times | None = None
        self._file: bytes | None = None
        self._remaining = 0
        self._file_error: str | None = None  # ours; the rest of the file is dropped
        self._dropped_depth: int | None = None  # from here on directories are dropped
        self._last_warning = ""
        self._failure: SCPError | None = None

    @property
    def finished(self) -> bool:
        """Whether all that was asked for has arrived, or was refused."""
        return self._finished

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take what the remote side sent, cut anywhere.

        :returns: the events that it completes. They are made as they are taken, and all have to
            be taken before the next call.
        :raises SCPError: when the remote side gave up, or sent what it may not; at the event
            where that is.
        """
        if self._failure is not None:
            raise self._failure
        if self._at < len(self._data):
            raise RuntimeError("All events have to be taken before there are further ones")
        self._data, self._at = data, 0
        return self._events()

    def refuse(self, reason: str) -> None:
        """Refuse what the last event was about: nothing of it comes any more, not even its end.

        After a :class:`FileStart` or :class:`DirectoryStart` the remote side leaves it out, or,
        if replies are sent ahead, it is read and dropped. After :class:`FileData` or
        :class:`FileEnd` the remote side is told that the file could not be written.

        :param reason: what to tell the remote side.
        """
        last, self._last = self._last, None
        if last in (FileStart, DirectoryStart) and self._due and not self._ahead:
            self._due = False
            self._replies += message(reason)
            self._file, self._remaining = None, 0
            if last is DirectoryStart:
                self._depth -= 1
            self._finished = self._depth == 0
        elif last is DirectoryStart:
            self._dropped_depth = self._depth
        elif last in (FileStart, FileData) or (last is FileEnd and self._due):
            self._file_error = reason
        else:
            raise RuntimeError("There is nothing to be refused")

    def replies(self) -> bytes:
        """Return what is to be sent now. What was not refused until now is accepted.

        Replies that are sent ahead come in large pieces, and none when all has arrived.
        """
        self._accept()
        if self._ahead and (self._finished or len(self._replies) <= self._ahead // 4):
            return b""
        replies = bytes(self._replies)
        self._replies.clear()
        return replies

    def finish(self) -> None:
        """Take the end of what the remote side sends.

        :raises SCPError: when that is before everything has arrived.
        """
        if self._failure is not None:
            raise self._failure
        if self._finished:
            return
        if self._file is not None:
            self._failure = SCPError(
                "The remote scp ended in the middle of %s, %s bytes before its end",
                printable(self._file),
                self._remaining,
            )
        elif not self._started and not self._partial and self._last_warning:
            self._failure = SCPError("The remote scp sent nothing: %s", self._last_warning)
        else:
            self._failure = SCPError(
                "The remote scp ended before it had sent everything%s", self._said()
            )
        raise self._failure

    def _events(self) -> Iterator[Event]:
        try:
            while self._at < len(self._data):
                event = self._next()
                if event is not None:
                    self._last = type(event)
                    yield event
                self._accept()
        except SCPError as ex:
            self._failure = ex
            raise
        finally:
            if self._failure is not None or self._at == len(self._data):
                self._data, self._at = b"", 0

    def _accept(self) -> None:
        """Send the reply that is due: nobody has refused."""
        if not self._due:
            return
        self._due = False
        error = None
        if self._file is None:  # it has ended; at its start it is too early for its error
            error, self._file_error = self._file_error, None
        self._replies += OK if error is None or self._ahead else message(error)

    def _next(self) -> Event | None:
        """Read one thing; ``None`` where it is incomplete, or no event of its own, or dropped."""
        if self._remaining:
            return self._file_data()
        first = self._partial[0] if self._partial else self._data[self._at]
        if self._file is not None and first == 0:
            self._at += 1
            return self._file_end(None)
        if not is_message(first) and (self._file is not None or first not in b"CDET"):
            raise self._nonsense()
        line = self._line()
        if line is None:
            return None
        if is_message(first):
            return self._message(line)
        if self._finished:
            raise SCPError("The server sent more than was asked for: %s", excerpt(line))
        if line.startswith(b"T"):
            self._take_times(line)
            return None
        if line.startswith(b"E"):
            return self._directory_end(line)
        return self._start(line)

    def _line(self) -> bytes | None:
        end = self._data.find(b"\n", self._at, self._at + MAX_LINE - len(self._partial))
        if end >= 0:
            line = self._partial + self._data[self._at : end]
            self._partial, self._at = b"", end + 1
            return line
        if len(self._partial) + len(self._data) - self._at >= MAX_LINE:
            raise SCPError(
                "The server sent a line of more than %s bytes: %s",
                MAX_LINE,
                excerpt(self._partial + self._data[self._at : self._at + MAX_LINE]),
            )
        self._partial += self._data[self._at :]
        self._at = len(self._data)
        return None

    def _start(self, line: bytes) -> FileStart | DirectoryStart | None:
        entry = parse_entry(line)
        name, mode, depth = self._checked(entry.name), entry.mode & MODE_MASK, self._depth
        times, self._times = self._times, None
        event: FileStart | DirectoryStart
        if line.startswith(b"C"):
            self._file, self._remaining = name, entry.size
            event = FileStart(name, mode, entry.size, times, depth)
        else:
            if not self._recursive:
                raise SCPError("The server sent a directory instead of a file: %s", excerpt(name))
            if depth >= MAX_DEPTH:
                raise SCPError("The server sent directories nested more than %s deep", MAX_DEPTH)
            self._depth += 1
            event = DirectoryStart(name, mode, times, depth)
        self._started = self._due = True
        return event if self._dropped_depth is None else None

    def _checked(self, name: bytes) -> bytes:
        if self._depth == 0 and self._unnamed and name in (b"", b".", b".."):
            return b""
        if not is_safe_name(name):
            raise SCPError("The server sent a name that is no file name: %s", excerpt(name))
        return name

    def _file_data(self) -> FileData | None:
        begin = self._at
        end = min(begin + self._remaining, len(self._data))
        self._at = end
        self._remaining -= end - begin
        if self._dropping:
            return None
        return FileData(memoryview(self._data)[begin:end])

    def _file_end(self, error: str | None) -> FileEnd | None:
        dropped = self._dropping
        self._file = None
        self._due = True
        self._finished = self._depth == 0
        return None if dropped else FileEnd(error)

    @property
    def _dropping(self) -> bool:
        return self._file_error is not None or self._dropped_depth is not None

    def _directory_end(self, line: bytes) -> DirectoryEnd | None:
        if line != b"E" or self._depth == 0 or self._times is not None:
            raise SCPError("The server ended a directory where none ends: %s", excerpt(line))
        self._replies += OK
        dropped = self._dropped_depth is not None
        if self._depth == self._dropped_depth:
            self._dropped_depth = None
        self._depth -= 1
        self._finished = self._depth == 0
        return None if dropped else DirectoryEnd()

    def _take_times(self, line: bytes) -> None:
        if self._times is not None:
            raise SCPError("The server sent times for nothing: %s", excerpt(line))
        self._times = parse_times(line)
        self._replies += OK

    def _message(self, line: bytes) -> FileEnd | RemoteWarning | None:
        text = parse_message(line)
        if is_fatal(line):
            raise SCPError("The remote scp gave up: %s", text)
        if self._file is not None:
            return self._file_end(text)
        self._last_warning = text
        return RemoteWarning(text)

    def _nonsense(self) -> SCPError:
        line = self._data[self._at :].partition(b"\n")[0]
        what = "the end of a file" if self._file is not None else "an SCP record"
        hint = "" if self._started or self._last_warning else START_UP_HINT
        return SCPError(
            "The server sent %s instead of %s%s%s", excerpt(line), what, self._said(), hint
        )

    def _said(self) -> str:
        # A path with a line feed in it breaks the message that contains it into lines.
        return f"; it had said: {self._last_warning}" if self._last_warning else ""
