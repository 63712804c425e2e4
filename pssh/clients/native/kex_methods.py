"""The methods of key exchange that a session of libssh2 goes by.

In front of those that it is given libssh2 puts what says that a client understands an extension
(RFC 8308 section 2.1, and the answer to CVE-2023-48795), and has it in its table of methods,
without a function. A server that names one of them as well makes libssh2 agree on it and call that
function: the process is gone, with all its connections. They are meant for the first packet of a
connection alone, so they are taken out of the list as soon as that packet has been made of it.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from ssh2.session import LIBSSH2_METHOD_KEX

from pssh.clients.native import libssh2

if TYPE_CHECKING:
    from ssh2.session import Session as RawSession

#: Not methods but signs that we understand an extension.
EXTENSIONS = ("ext-info-c", "kex-strict-c-v00@openssh.com")

_BEFORE_METHODS = f"{','.join(EXTENSIONS)},".encode("ascii")

#: Where in a session the address of its list is; ``None`` until a session has been looked at, and
#: afterwards where it was not found.
_offset: int | None = None
_looked = False


def prefer(raw: RawSession, names: str) -> None:
    """Set the methods of a session.

    With the first session of a process it is found out where that keeps them: at the one place
    that is another afterwards.

    :param raw: a session that has not been shaken hands with.
    :param names: the methods, best first, comma separated.
    """
    global _looked
    if _looked:
        raw.method_pref(LIBSSH2_METHOD_KEX, names)
    else:
        _look(raw, names)
        _looked = True


def _look(raw: RawSession, names: str) -> None:
    global _offset
    session = libssh2.session_pointer(raw)
    before = libssh2.memory_of(session) if session is not None else None
    raw.method_pref(LIBSSH2_METHOD_KEX, names)
    if session is None or before is None:
        return
    place = _difference(before, libssh2.memory_of(session) or b"")
    if place is not None and _list_at(session + place) == _BEFORE_METHODS + names.encode():
        _offset = place


def _difference(before: bytes, after: bytes) -> int | None:
    """Return where a pointer is another, ``None`` unless that is so at one place."""
    size = libssh2.POINTER
    # By halves: a session has 80 KB, and to look at each pointer takes longer than to connect.
    start, end = 0, len(before) // size
    while end - start > 1:
        middle = (start + end) // 2
        if before[start * size : middle * size] == after[start * size : middle * size]:
            start = middle
        else:
            end = middle
    at = start * size
    changed = after[at : at + size]
    is_only_one = before[:at] + changed + before[at + size :] == after
    return at if is_only_one and changed != before[at : at + size] else None


def _list_at(place: int) -> bytes:
    return ctypes.c_char_p.from_address(place).value or b""


def forget_extensions(session: int) -> None:
    """Leave nothing but methods in the list of a session, whose first packet has been made.

    :param session: its pointer.
    """
    if _offset is None:
        return
    names = _list_at(session + _offset)
    if names.startswith(_BEFORE_METHODS):
        address = libssh2.word(session + _offset)
        left = names[len(_BEFORE_METHODS) :] + b"\0"
        ctypes.memmove(address, left, len(left))
