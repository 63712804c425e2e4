"""What a copy with SCP asks of the remote shell, because SCP itself has no word for it. Pure.

The login shell is taken to know quotes and ``&&``, which those for people do; what needs more of
a shell runs in ``sh`` (POSIX). Paths are arguments, never a part of a script.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from pssh.scp.command import quote
from pssh.scp.record import Times

#: How long a command that names many files may become, in bytes.
_COMMAND_MAX: Final = 16 * 1024

_YEAR_9999: Final = 253_402_300_799

_REMOVE: Final = (
    b'if [ -d "$1" ]; then set -- "$1/$2"; fi; '
    # What a link leads to cannot be removed in the same way everywhere, but emptied.
    b'if [ -L "$1" ]; then : > "$1"; elif [ -f "$1" ]; then rm -f "$1"; fi'
)

_REMOVE_EMPTY: Final = (
    b'if [ -d "$1" ]; then set -- "$1/$2"; fi; '
    b'if [ -f "$1" ] && [ ! -s "$1" ] && [ ! -L "$1" ]; then rm -f "$1"; fi'
)

# Without the test, a file would be moved into a directory of that name.
_MOVE: Final = (
    b"while [ $# -gt 0 ]; do "
    b'if [ -d "$2" ]; then echo "$2: Is a directory" >&2; exit 1; fi; '
    b'mv -f "$1" "$2" || exit 1; shift 2; done'
)

_SET_MODES: Final = b'while [ $# -gt 0 ]; do chmod "$1" "$2" || exit 1; shift 2; done'

_SET_ATTRIBUTES: Final = (
    b'chmod "$3" "$1" || exit 1; '
    b'if [ "$4" != - ]; then '
    b'TZ=UTC0 touch -m -t "$4" "$1" && TZ=UTC0 touch -a -t "$5" "$1" || exit 1; fi'
)

_LOOK: Final = (
    b'look() { if [ -d "$1" ]; then echo directory; elif [ ! -e "$1" ]; then echo missing; '
    b'elif [ ! -f "$1" ]; then echo other; else n=$(wc -c < "$1") || exit 1; echo $n; '
    b'if [ $n -eq "$2" ]; then ' + _SET_ATTRIBUTES + b"; fi; fi; }; "
    b'while [ $# -gt 0 ]; do look "$1" "$2" "$3" "$4" "$5"; shift 5; done'
)

_APPEND: Final = (
    b'umask 077; if [ "$6" = 0 ]; then : > "$1" || exit 1; fi; cat >> "$1" || exit 1; '
    b'n=$(wc -c < "$1") || exit 1; '
    b'if [ $n -ne "$2" ]; then echo "$1 has" $n "bytes rather than $2" >&2; exit 1; fi; '
    + _SET_ATTRIBUTES
)


class Wanted(NamedTuple):
    """A remote file as it is to become.

    :ivar path: its path.
    :ivar size: its size in bytes.
    :ivar mode: its permission bits.
    :ivar times: its times; ``None`` to leave them.
    """

    path: bytes
    size: int
    mode: int
    times: Times | None

    def arguments(self) -> tuple[bytes, ...]:
        """What the scripts take: path, size, mode, and the times of ``touch -t`` or ``-``."""
        modified, accessed = (
            (b"-", b"-")
            if self.times is None
            else (_touch_time(self.times.modified), _touch_time(self.times.accessed))
        )
        return (_path(self.path), b"%d" % self.size, b"%04o" % self.mode, modified, accessed)


def in_new_directory(directory: bytes, command: bytes) -> bytes:
    """Make a command that makes a directory first, and those above it, where they are missing."""
    return b"mkdir -p -- " + quote(directory) + b" && " + command


def is_directory(path: bytes) -> bytes:
    """Make the command that succeeds where a path leads to a directory."""
    return b"test -d " + _path(path)


def inode(path: bytes) -> bytes:
    """Make the command that prints the number of the file that a path leads to, and the path."""
    return b"ls -Ldi " + _path(path)


def remove(path: bytes, name: bytes) -> bytes:
    """Make the command that removes a file that is no whole one.

    :param path: its path, or a directory that it is in.
    :param name: its name in that directory.
    """
    # The shell would take a leading "~" for somebody's home.
    return _sh(_REMOVE, _path(path), quote(b"./" + name))


def remove_empty(path: bytes, name: bytes) -> bytes:
    """Make the command that removes a file that may have been begun, if nothing is in it.

    The parameters are those of :func:`remove`.
    """
    return _sh(_REMOVE_EMPTY, _path(path), quote(b"./" + name))


def remove_all(paths: Iterable[bytes]) -> Iterable[bytes]:
    """Make the commands that remove files, as far as they are there."""
    for batch in batches([(_path(path),) for path in paths]):
        yield b" ".join([b"rm -f", *(path for (path,) in batch)])


def move(pairs: Iterable[tuple[bytes, bytes]]) -> Iterable[bytes]:
    """Make the commands that rename files over others.

    :param pairs: the old and the new path of each.
    """
    for batch in batches([(_path(old), _path(new)) for old, new in pairs]):
        yield _sh(_MOVE, *(argument for pair in batch for argument in pair))


def set_modes(files: Iterable[tuple[bytes, int]]) -> Iterable[bytes]:
    """Make the commands that set the permission bits of files.

    :param files: the path and the bits of each.
    """
    for batch in batches([(b"%04o" % mode, _path(path)) for path, mode in files]):
        yield _sh(_SET_MODES, *(argument for pair in batch for argument in pair))


def look(files: Sequence[Wanted]) -> bytes:
    """Make the command that says of each file how many bytes it has.

    One that has as many as it is to have gets its mode and times as well. In place of the number
    there is ``directory``, ``missing`` or ``other`` where it is none.
    """
    return _sh(_LOOK, *(argument for file in files for argument in file.arguments()))


def append(file: Wanted, there: int) -> bytes:
    """Make the command that appends its input to a file, and checks what came of it.

    :param there: how many bytes are there; with 0, whatever is there goes.
    """
    return _sh(_APPEND, *file.arguments(), b"%d" % there)


def rest(path: bytes, there: int) -> bytes:
    """Make the command that prints a file.

    :param there: how many bytes from its begin to leave out.
    """
    return b"tail -c +%d " % (there + 1) + _path(path)


def look_batches(files: Sequence[Wanted]) -> Iterable[Sequence[Wanted]]:
    """Divide files up so that :func:`look` makes no command that is too long."""
    at = 0
    for batch in batches([file.arguments() for file in files]):
        yield files[at : at + len(batch)]
        at += len(batch)


def batches(items: Sequence[tuple[bytes, ...]]) -> Iterable[Sequence[tuple[bytes, ...]]]:
    """Divide arguments up so that no command becomes too long; together what belongs together."""
    start, length = 0, 0
    for at, item in enumerate(items):
        size = sum(map(len, item)) + len(item)
        if at > start and length + size > _COMMAND_MAX:
            yield items[start:at]
            start, length = at, 0
        length += size
    if start < len(items):
        yield items[start:]


def _sh(script: bytes, *arguments: bytes) -> bytes:
    return b" ".join([b"sh -c '" + script + b"' sh", *arguments])


def _path(path: bytes) -> bytes:
    # Not every program knows "--".
    return quote(b"./" + path if path.startswith(b"-") else path)


def _touch_time(nanoseconds: int) -> bytes:
    """Write a time for ``touch -t``, in UTC and whole seconds; before 1970 it is 1970."""
    seconds = min(max(0, nanoseconds) // 10**9, _YEAR_9999)
    return time.strftime("%Y%m%d%H%M.%S", time.gmtime(seconds)).encode()
