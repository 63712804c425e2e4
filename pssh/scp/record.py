"""The control records of SCP: what they look like, and what they may contain. Pure.

======================================================== =========================================
``C<mode> <size> <name>``                                a file; its bytes and a status follow
``D<mode> 0 <name>``                                     a directory; what follows is in it
``E``                                                    the end of a directory
``T<seconds> <microseconds> <seconds> <microseconds>``   modification and access time of the next
byte 1 or 2, text                                        a warning, or an error that ends the copy
======================================================== =========================================

Each ends with a line feed.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from pssh.exceptions import SCPError
from pssh.local_path import is_safe_name

#: The longest line that we take, its line feed included. OpenSSH's own are up to 4 KiB and some.
MAX_LINE: Final = 8 * 1024

#: How deep directories may be nested in one another.
MAX_DEPTH: Final = 256

#: The largest size of a file: that of a signed 64 bit number.
MAX_SIZE: Final = 2**63 - 1

#: The bits of a mode that we take from a server. Set-user-ID, set-group-ID and the sticky bit are
#: not for a server to give to local files; scp leaves them out unless it is given -p.
MODE_MASK: Final = 0o777

OK: Final = b"\0"
END: Final = b"E\n"

#: What to say where the very first thing that a server sends makes no sense.
START_UP_HINT: Final = " (does a start-up file of the login shell there print something?)"

_WARNING: Final = 1
_FATAL: Final = 2

# OpenSSH reads a record into 2 KiB and takes the rest for the next record.
_MAX_SENT_LINE: Final = 2047

_ENTRY = re.compile(rb"[CD]([0-7]{3,5}) ([0-9]{1,19}) (.*)", re.DOTALL)
_TIMES = re.compile(rb"T([0-9]{1,19}) ([0-9]{1,6}) ([0-9]{1,19}) ([0-9]{1,6})")


class Times(NamedTuple):
    """When a file was changed and read, in nanoseconds since 1970, as :func:`os.utime` takes.

    The protocol carries microseconds, and OpenSSH sends whole seconds.
    """

    modified: int
    accessed: int


class Entry(NamedTuple):
    """A file or directory, as its record describes it.

    :ivar mode: all of its bits, up to 0o7777.
    :ivar size: in bytes.
    :ivar name: unchecked.
    """

    mode: int
    size: int
    name: bytes


def file_record(name: bytes, mode: int, size: int) -> bytes:
    """Build the record of a file.

    :param name: its name in the directory that it goes to.
    :param mode: its permission bits.
    :param size: how many bytes of data will follow.
    :raises SCPError: when no record can carry the name.
    """
    if not 0 <= size <= MAX_SIZE:
        raise ValueError(f"No file has a size of {size} bytes")
    return _entry_record(b"C", name, mode, size)


def directory_record(name: bytes, mode: int) -> bytes:
    """Build the record of a directory.

    :param name: its name in the directory that it goes to.
    :param mode: its permission bits.
    :raises SCPError: when no record can carry the name.
    """
    return _entry_record(b"D", name, mode, 0)


def times_record(times: Times) -> bytes:
    """Build the record of the times of what comes next.

    What is before 1970 is sent as 1970, as scp does, because the receiver refuses a sign.
    """
    modified, accessed = (max(0, nanoseconds) // 1000 for nanoseconds in times)
    return b"T%d %d %d %d\n" % (*divmod(modified, 10**6), *divmod(accessed, 10**6))


def message(reason: str) -> bytes:
    """Build the reply, or the status of a file, that says why something failed on our side."""
    text = printable(reason.encode("utf-8", "backslashreplace")).encode()
    return b"%cscp: %b\n" % (_WARNING, text[:1000])


def is_message(first: int) -> bool:
    """Whether a line that begins with this byte is a message."""
    return first in (_WARNING, _FATAL)


def is_fatal(line: bytes) -> bool:
    """Whether the sender of a message gives up with it."""
    return line[0] == _FATAL


def parse_message(line: bytes) -> str:
    """Return the text of a message, fit to be shown.

    :param line: the line, without its line feed.
    """
    text = line[1:].rstrip(b"\r").removeprefix(b"scp: ")
    return printable(text) or "no reason given"


def parse_entry(line: bytes) -> Entry:
    """Read the record of a file or directory.

    :param line: the line, without its line feed.
    :raises SCPError: when it is malformed.
    """
    match = _ENTRY.fullmatch(line)
    if match is None:
        raise SCPError("The server sent a malformed SCP record: %s", excerpt(line))
    mode, size = int(match[1], 8), int(match[2])
    if mode > 0o7777 or size > MAX_SIZE:
        raise SCPError("The server sent an SCP record beyond all limits: %s", excerpt(line))
    return Entry(mode, size, match[3])


def parse_times(line: bytes) -> Times:
    """Read the record of times.

    :param line: the line, without its line feed.
    :raises SCPError: when it is malformed.
    """
    match = _TIMES.fullmatch(line)
    if match is None:
        raise SCPError("The server sent a malformed SCP record: %s", excerpt(line))
    seconds, microseconds, *accessed = map(int, match.groups())
    if max(seconds, accessed[0]) > MAX_SIZE:
        raise SCPError("The server sent an SCP record beyond all limits: %s", excerpt(line))
    return Times(seconds * 10**9 + microseconds * 1000, accessed[0] * 10**9 + accessed[1] * 1000)


def printable(text: bytes) -> str:
    """Return text of a server's as characters that do nothing to a terminal."""
    decoded = text.decode("utf-8", "backslashreplace")
    if decoded.isprintable():
        return decoded
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in decoded
    )


def excerpt(data: bytes) -> str:
    """The begin of what a server sent, in quotes, for an error message."""
    return repr(data[:200])[1:] + (" …" if len(data) > 200 else "")


def _entry_record(kind: bytes, name: bytes, mode: int, size: int) -> bytes:
    if not 0 <= mode <= 0o7777:
        raise ValueError(f"No file has the mode {mode:o}: it is made of permission bits only")
    if not is_safe_name(name) or b"\n" in name:
        reason = "a line feed" if b"\n" in name else "what is no file name"
        raise SCPError("SCP cannot carry a name with %s: %s", reason, excerpt(name))
    # Exactly four digits, or OpenSSH refuses it.
    record = b"%b%04o %d %b\n" % (kind, mode, size, name)
    if len(record) > _MAX_SENT_LINE:
        raise SCPError("SCP cannot carry a name of %s bytes: %s", len(name), excerpt(name))
    return record
