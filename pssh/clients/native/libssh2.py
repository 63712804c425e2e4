"""What libssh2 can do and its binding does not offer, with guards.

The C functions are called through :mod:`ctypes`, with pointers read from the binding's
objects. That is only safe while those objects look as they are known to: every pointer is
checked before its first use, and where a check fails the caller learns that the information
or the ability is not there, instead of getting a wrong one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ssh2.channel
import ssh2.session
import ssh2.utils

from pssh.clients.base.seam import ExitStatus

if TYPE_CHECKING:
    from ssh2.channel import Channel as RawChannel
    from ssh2.session import Session as RawSession

_POINTER = ctypes.sizeof(ctypes.c_void_p)

# struct __pyx_obj_4ssh2_7channel_Channel: head, vtable or pointer, LIBSSH2_CHANNEL *, Session
_CHANNEL_SIZE, _CHANNEL_POINTER, _CHANNEL_SESSION = 32, 16, 24
# struct __pyx_obj_4ssh2_7session_Session: head, LIBSSH2_SESSION *, int, sock, callback
_SESSION_SIZE, _SESSION_POINTER, _SESSION_SOCK = 48, 16, 32
# struct _LIBSSH2_CHANNEL of libssh2 1.11: list node, type, length of the type, exit status
_TYPE, _TYPE_LENGTH, _EXIT_STATUS = 24, 32, 40

#: Stands for "the server has not sent an exit status", which libssh2 does not keep apart
#: from 0. A real one is a uint32, of which POSIX systems use 0 to 255.
_NO_EXIT_STATUS = 0x7FFF5A5A

#: libssh2 calls this to have data signed (LIBSSH2_USERAUTH_PUBLICKEY_SIGN_FUNC).
SIGN_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_size_t),
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_void_p,
)

_lib = ctypes.CDLL(ssh2.channel.__file__)
_malloc = ctypes.CDLL(None).malloc
_malloc.restype = ctypes.c_void_p
_malloc.argtypes = [ctypes.c_size_t]


def _declare(name: str, *argtypes: Any) -> Callable[..., int]:
    function = getattr(_lib, name)
    function.restype = ctypes.c_int
    function.argtypes = argtypes
    return function  # type: ignore[no-any-return]


_get_exit_signal = _declare("libssh2_channel_get_exit_signal", *[ctypes.c_void_p] * 7)
_window_read = _lib.libssh2_channel_window_read_ex
_window_read.restype = ctypes.c_ulong
_window_read.argtypes = [ctypes.c_void_p] * 3
_request_pty = _declare(
    "libssh2_channel_request_pty_ex",
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_uint,
    ctypes.c_char_p,
    ctypes.c_uint,
    *[ctypes.c_int] * 4,
)
_userauth_publickey = _declare(
    "libssh2_userauth_publickey",
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_size_t,
    SIGN_CALLBACK,
    ctypes.c_void_p,
)
_free = _lib.libssh2_free
_free.restype = None
_free.argtypes = [ctypes.c_void_p, ctypes.c_void_p]


def _word(address: int) -> int:
    return ctypes.c_size_t.from_address(address).value


def _layout_known() -> bool:
    """Whether this build of the binding and of libssh2 is one whose layout is known."""
    version = ssh2.utils.version() or b""
    return (
        _POINTER == 8
        and version.startswith(b"1.11.")
        and ssh2.channel.Channel.__basicsize__ == _CHANNEL_SIZE
        and ssh2.session.Session.__basicsize__ == _SESSION_SIZE
    )


LAYOUT_KNOWN = _layout_known()


def channel_pointer(raw: RawChannel) -> int | None:
    """Return the ``LIBSSH2_CHANNEL *`` of a channel, ``None`` where that is not certain."""
    if not LAYOUT_KNOWN or _word(id(raw) + _CHANNEL_SESSION) != id(raw.session):
        return None
    return _word(id(raw) + _CHANNEL_POINTER) or None


def session_pointer(raw: RawSession) -> int | None:
    """Return the ``LIBSSH2_SESSION *`` of a session, ``None`` where that is not certain.

    The session must have begun its handshake: its socket is what the check goes by.
    """
    if not LAYOUT_KNOWN or raw.sock is None or _word(id(raw) + _SESSION_SOCK) != id(raw.sock):
        return None
    return _word(id(raw) + _SESSION_POINTER) or None


def mark_exit_status_unknown(raw: RawChannel, channel: int | None) -> bool:
    """Make "no exit status" recognizable on a channel that was just opened.

    :param raw: the channel.
    :param channel: its pointer, if that is known.
    :returns: whether that worked; if not, a missing exit status reads as 0.
    """
    if channel is None or _word(channel + _TYPE_LENGTH) != len(b"session"):
        return False
    if ctypes.string_at(_word(channel + _TYPE), len(b"session")) != b"session":
        return False
    exit_status = ctypes.c_int.from_address(channel + _EXIT_STATUS)
    if exit_status.value != 0:
        return False
    exit_status.value = _NO_EXIT_STATUS
    if raw.get_exit_status() == _NO_EXIT_STATUS:
        return True
    exit_status.value = 0
    return False


def exit_status(raw: RawChannel, channel: int | None, marked: bool) -> ExitStatus:
    """Read how a command ended.

    :param raw: the channel of the command.
    :param channel: its pointer, if that is known.
    :param marked: what :func:`mark_exit_status_unknown` returned for it.
    """
    status = raw.get_exit_status()
    if marked and status != _NO_EXIT_STATUS:
        return ExitStatus(status=status)
    # A server sends the one or the other (RFC 4254 section 6.10).
    signal = _exit_signal(channel, session_pointer(raw.session))
    if signal is not None:
        return ExitStatus(signal=signal)
    return ExitStatus() if marked else ExitStatus(status=status)


def _exit_signal(channel: int | None, session: int | None) -> str | None:
    if channel is None or session is None:
        return None
    text, length = ctypes.c_void_p(), ctypes.c_size_t()
    code = _get_exit_signal(
        channel, ctypes.addressof(text), ctypes.addressof(length), None, None, None, None
    )
    if code != 0 or not text.value:
        return None
    try:
        name = ctypes.string_at(text.value, length.value).decode("ascii", "replace")
    finally:
        _free(session, text)
    return name or None


def bytes_queued(channel: int) -> int:
    """Count the bytes of both streams that libssh2 has received and nobody has read.

    :param channel: the channel's pointer.
    """
    available = ctypes.c_ulong()
    _window_read(channel, ctypes.addressof(available), None)
    return available.value


def request_pty(channel: int, term: str, columns: int, rows: int) -> int:
    """Ask for a pseudo terminal of a size (RFC 4254 section 6.2).

    :param channel: the channel's pointer.
    :returns: libssh2's code.
    """
    name = term.encode("ascii")
    return _request_pty(channel, name, len(name), None, 0, columns, rows, 0, 0)


def userauth_publickey(raw: RawSession, user: str, blob: bytes, callback: Any) -> int | None:
    """Authenticate with a public key whose signatures a callback makes.

    :param raw: the session.
    :param user: the user name.
    :param blob: the public key (RFC 4253 section 6.6).
    :param callback: a ``SIGN_CALLBACK``.
    :returns: libssh2's code, ``None`` where the binding's layout is not known.
    """
    session = session_pointer(raw)
    if session is None:
        return None
    abstract = ctypes.c_void_p()
    return _userauth_publickey(
        session, user.encode(), blob, len(blob), callback, ctypes.addressof(abstract)
    )


def allocate(data: bytes) -> int:
    """Copy bytes into memory that libssh2 will free."""
    memory = _malloc(len(data) or 1)
    if not memory:
        raise MemoryError
    ctypes.memmove(memory, data, len(data))
    return int(memory)
