"""What libssh2 can do and its binding does not offer, with guards.

The C functions are called through :mod:`ctypes`, with pointers read from the binding's
objects. That is only safe while those objects look as they are known to: every pointer is
checked before its first use, and where a check fails the caller learns that the information
or the ability is not there, instead of getting a wrong one.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import ssh2.channel
import ssh2.session
import ssh2.utils
from ssh2.exceptions import SSH2Error

from pssh.clients.base.seam import NOT_SAID, ExitStatus, exited
from pssh.exceptions import InvalidAPIUseError

if TYPE_CHECKING:
    from ssh2.channel import Channel as RawChannel
    from ssh2.session import Session as RawSession

POINTER = ctypes.sizeof(ctypes.c_void_p)

# struct __pyx_obj_4ssh2_7channel_Channel: head, vtable or pointer, LIBSSH2_CHANNEL *, Session
_CHANNEL_SIZE, _CHANNEL_POINTER, _CHANNEL_SESSION = 32, 16, 24
# struct __pyx_obj_4ssh2_7session_Session: head, LIBSSH2_SESSION *, int, sock, callback
_SESSION_SIZE, _SESSION_POINTER, _SESSION_SOCK = 48, 16, 32


class ChannelHead(ctypes.Structure):
    """How ``struct _LIBSSH2_CHANNEL`` of libssh2 1.11 begins."""

    _fields_ = [
        ("list_node", ctypes.c_void_p * 3),
        ("type", ctypes.c_void_p),
        ("type_length", ctypes.c_size_t),
        ("exit_status", ctypes.c_int),
    ]

    def is_of_type(self, name: bytes) -> bool:
        """Whether it is a channel of a type (RFC 4254 section 5.1)."""
        # No zero follows the name: no more of it is read than its length says.
        return self.type_length == len(name) and ctypes.string_at(self.type, len(name)) == name


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
_usable_size = getattr(ctypes.CDLL(None), "malloc_usable_size", None)
if _usable_size is not None:
    _usable_size.restype = ctypes.c_size_t
    _usable_size.argtypes = [ctypes.c_void_p]


def _declare(name: str, *argtypes: Any) -> Callable[..., int]:
    function = getattr(_lib, name)
    function.restype = ctypes.c_int
    function.argtypes = argtypes
    return function  # type: ignore[no-any-return]


def _declare_quick(name: str, *argtypes: Any) -> Any:
    """Declare a function that takes so little time that Python's lock may stay with it."""
    function = getattr(ctypes.PyDLL(ssh2.channel.__file__), name)
    function.argtypes = argtypes
    return function


_get_exit_signal = _declare("libssh2_channel_get_exit_signal", *[ctypes.c_void_p] * 7)
_window_read = _declare_quick("libssh2_channel_window_read_ex", *[ctypes.c_void_p] * 3)
_window_read.restype = ctypes.c_ulong
#: Where it leaves how much is there.
_available = ctypes.c_ulong()
_available_address = ctypes.addressof(_available)
_request_pty = _declare(
    "libssh2_channel_request_pty_ex",
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_uint,
    ctypes.c_char_p,
    ctypes.c_uint,
    *[ctypes.c_int] * 4,
)
_request_pty_size = _declare(
    "libssh2_channel_request_pty_size_ex", ctypes.c_void_p, *[ctypes.c_int] * 4
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
_set_callback = _lib.libssh2_session_callback_set2
_set_callback.restype = ctypes.c_void_p
_set_callback.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
#: LIBSSH2_SEND_FUNC and LIBSSH2_RECV_FUNC, and what libssh2_session_callback_set2 calls them.
_IO_ARGTYPES = (
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_void_p,
)
IO_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_ssize_t, *_IO_ARGTYPES)
#: One of libssh2's own, which do not wait.
_IO_FUNCTION = ctypes.PYFUNCTYPE(ctypes.c_ssize_t, *_IO_ARGTYPES)
CALLBACK_SEND, CALLBACK_RECV = 5, 6
_set_read_timeout = _lib.libssh2_session_set_read_timeout
_set_read_timeout.restype = None
_set_read_timeout.argtypes = [ctypes.c_void_p, ctypes.c_long]
_FOR_EVER = 2**31 - 1
_channel_read = _lib.libssh2_channel_read_ex
_channel_read.restype = ctypes.c_ssize_t
_channel_read.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
_banner_get = _lib.libssh2_session_banner_get
_banner_get.restype = ctypes.c_char_p
_banner_get.argtypes = [ctypes.c_void_p]
_method_pref = _declare(
    "libssh2_session_method_pref", ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
)
#: LIBSSH2_METHOD_SIGN_ALGO, for which the binding has no name.
_METHOD_SIGNATURE = 10
_free = _lib.libssh2_free
_free.restype = None
_free.argtypes = [ctypes.c_void_p, ctypes.c_void_p]


def word(address: int) -> int:
    """Return the pointer or size at an address."""
    return ctypes.c_size_t.from_address(address).value


def _layout_known() -> bool:
    """Whether this build of the binding and of libssh2 is one whose layout is known."""
    version = ssh2.utils.version() or b""
    return (
        POINTER == 8
        and version.startswith(b"1.11.")
        and ssh2.channel.Channel.__basicsize__ == _CHANNEL_SIZE
        and ssh2.session.Session.__basicsize__ == _SESSION_SIZE
    )


LAYOUT_KNOWN = _layout_known()


#: Whether a channel was seen to look as it is known to. Others are no different then.
_channel_seen = False


def channel_pointer(raw: RawChannel) -> int | None:
    """Return the ``LIBSSH2_CHANNEL *`` of a channel, ``None`` where that is not certain."""
    global _channel_seen
    if not _channel_seen:
        if not LAYOUT_KNOWN or word(id(raw) + _CHANNEL_SESSION) != id(raw.session):
            return None
        _channel_seen = True
    return word(id(raw) + _CHANNEL_POINTER) or None


def session_pointer(raw: RawSession) -> int | None:
    """Return the ``LIBSSH2_SESSION *`` of a session, ``None`` where that is not certain.

    The check goes by its socket, which is ``None`` until its handshake has begun.
    """
    if not LAYOUT_KNOWN or word(id(raw) + _SESSION_SOCK) != id(raw.sock):
        return None
    return word(id(raw) + _SESSION_POINTER) or None


def memory_of(session: int) -> bytes | None:
    """Return what a session consists of, ``None`` where it is not known how large that is.

    :param session: the session's pointer.
    """
    if _usable_size is None:
        return None
    return ctypes.string_at(session, _usable_size(session))


def server_version(raw: RawSession) -> str:
    """Return how the server names itself; empty where that cannot be known."""
    session = session_pointer(raw)
    banner = version_received(session) if session is not None else None
    return (banner or b"").decode("utf-8", "replace")


#: Whether the exit status of a channel was seen to be where it is known to be.
_exit_status_seen = False


def mark_exit_status_unknown(raw: RawChannel, channel: int | None) -> bool:
    """Make "no exit status" recognizable on a channel that was just opened.

    :param raw: the channel.
    :param channel: its pointer, if that is known.
    :returns: whether that worked; if not, a missing exit status reads as 0.
    """
    global _exit_status_seen
    if channel is None:
        return False
    if not _exit_status_seen and not ChannelHead.from_address(channel).is_of_type(b"session"):
        return False
    exit_status = ctypes.c_int.from_address(channel + ChannelHead.exit_status.offset)
    if exit_status.value != 0:
        return False
    exit_status.value = _NO_EXIT_STATUS
    if _exit_status_seen or raw.get_exit_status() == _NO_EXIT_STATUS:
        _exit_status_seen = True
        return True
    exit_status.value = 0
    return False


def exit_status(raw: RawChannel, channel: int | None, marked: bool) -> ExitStatus:
    """Read how a command ended.

    :param raw: the channel of the command.
    :param channel: its pointer, if that is known.
    :param marked: what :func:`mark_exit_status_unknown` returned for it.
    """
    status = _status_said(raw, channel, marked)
    if status is not None:
        return exited(status)
    # A server sends the one or the other (RFC 4254 section 6.10).
    signal = _exit_signal(channel, session_pointer(raw.session))
    if signal is not None:
        return ExitStatus(signal=signal)
    return NOT_SAID if marked else _status_or_none_at_all(raw)


def _status_said(raw: RawChannel, channel: int | None, marked: bool) -> int | None:
    if not marked or channel is None:
        return None
    # Not through the binding, which takes what libssh2 has as a signed number for an error where
    # that is negative, as are the statuses of crashes on Windows.
    status = ctypes.c_uint32.from_address(channel + ChannelHead.exit_status.offset).value
    return None if status == _NO_EXIT_STATUS else status


def _status_or_none_at_all(raw: RawChannel) -> ExitStatus:
    """Where it is not known what libssh2 has: no status reads as 0."""
    try:
        return exited(raw.get_exit_status())
    except SSH2Error:
        return NOT_SAID


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
    _window_read(channel, _available_address, None)
    return _available.value


def request_pty(channel: int, term: str, columns: int, rows: int) -> int:
    """Ask for a pseudo terminal of a size (RFC 4254 section 6.2).

    :param channel: the channel's pointer.
    :returns: libssh2's code.
    """
    name = term.encode("ascii")
    return _request_pty(channel, name, len(name), None, 0, columns, rows, 0, 0)


def request_window_change(channel: int, columns: int, rows: int) -> int:
    """Tell the server that a pseudo terminal has another size now (RFC 4254 section 6.7).

    :param channel: the channel's pointer.
    :returns: libssh2's code.
    """
    return _request_pty_size(channel, columns, rows, 0, 0)


def receive(channel: int) -> int:
    """Read everything that has come from the network, for whichever channel it is.

    :param channel: the pointer of any channel of the session, also of one that is being opened.
    :returns: libssh2's code.
    """
    return int(_channel_read(channel, 0, None, 0))


@contextmanager
def receiving_nothing(session: int) -> Iterator[None]:
    """Keep libssh2 from reading from the network.

    :param session: the session's pointer.
    """
    before = set_callback(session, CALLBACK_RECV, address_of(_nothing_comes))
    try:
        yield
    finally:
        set_callback(session, CALLBACK_RECV, before)


_nothing_comes = IO_CALLBACK(lambda *_: -errno.EAGAIN)


def wait_for_ever(session: int) -> None:
    """Let answers take longer than the 60 seconds after which libssh2 forgets the question.

    :param session: the session's pointer.
    """
    _set_read_timeout(session, _FOR_EVER)


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


def set_callback(session: int, kind: int, address: int | None) -> int | None:
    """Have libssh2 call something.

    :param session: the session's pointer.
    :param kind: one of libssh2's ``LIBSSH2_CALLBACK_…``.
    :param address: of a function (:func:`address_of`), or what this has returned.
    :returns: what libssh2 has called until now.
    """
    before: int | None = _set_callback(session, kind, address)
    return before


def address_of(callback: Any) -> int | None:
    """Return where a function is that C can call.

    :param callback: the function, which this does not keep alive.
    """
    return ctypes.cast(callback, ctypes.c_void_p).value


@lru_cache
def io_function(pointer: int | None) -> Any:
    """Return what libssh2 itself sends or receives with.

    :param pointer: what :func:`set_callback` returned.
    """
    function: Any = _IO_FUNCTION
    return function(pointer)


def version_received(session: int) -> bytes | None:
    """Return the server's version (RFC 4253 section 4.2), ``None`` until it has come.

    :param session: the session's pointer.
    """
    banner: bytes | None = _banner_get(session)
    return banner


def prefer_signatures(raw: RawSession, names: Sequence[str]) -> None:
    """Say with which algorithms RSA keys may sign, best first (RFC 8332).

    :param raw: the session.
    :raises InvalidAPIUseError: where the binding's layout is not known.
    """
    session = session_pointer(raw)
    if session is None:
        raise InvalidAPIUseError(
            "public_key_algorithms is not possible with this build of ssh2-python"
        )
    _method_pref(session, _METHOD_SIGNATURE, ",".join(names).encode("ascii"))


def allocate(data: bytes) -> int:
    """Copy bytes into memory that libssh2 will free."""
    memory = _malloc(len(data) or 1)
    if not memory:
        raise MemoryError
    ctypes.memmove(memory, data, len(data))
    return int(memory)
