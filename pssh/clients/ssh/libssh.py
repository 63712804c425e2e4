"""What libssh can do and its binding does not offer, with guards.

The C functions are called through :mod:`ctypes`, with pointers read from the binding's
objects. That is only safe while those objects look as they are known to, which is checked
for the first of each kind: where it does not hold, a session cannot be made, and says why.

What a server sends for a channel comes through callbacks (libssh/callbacks.h) at the moment
when libssh reads it. Asking libssh later would lose it where the connection ends first: a
session that has failed hands nothing out any more.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import ssh.channel
import ssh.key
import ssh.session
from ssh.key import copy_cert_to_privkey

from pssh.exceptions import InvalidAPIUseError

if TYPE_CHECKING:
    from ssh.channel import Channel as RawChannel
    from ssh.key import SSHKey
    from ssh.session import Session as RawSession

# struct __pyx_obj_3ssh_7session_Session: head, ssh_session, descriptor, socket
_SESSION_SIZE, _SESSION_POINTER, _SESSION_SOCK = 40, 16, 32
# struct __pyx_obj_3ssh_7channel_Channel: head, vtable, ssh_channel, Session, closed
_CHANNEL_SIZE, _CHANNEL_POINTER, _CHANNEL_SESSION = 48, 24, 32

_pointer, _int, _uint32 = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32


def _callback(result: Any, *argtypes: Any) -> Any:
    return ctypes.CFUNCTYPE(result, _pointer, _pointer, *argtypes, _pointer)


_DATA_CALLBACK = _callback(_int, _pointer, _uint32, _int)
_EVENT_CALLBACK = _callback(None)
_EXIT_STATUS_CALLBACK = _callback(None, _int)
_EXIT_SIGNAL_CALLBACK = _callback(None, ctypes.c_char_p, _int, _pointer, _pointer)
_LOG_CALLBACK = ctypes.CFUNCTYPE(None, _int, ctypes.c_char_p, ctypes.c_char_p, _pointer)


class _ChannelCallbacks(ctypes.Structure):
    """``struct ssh_channel_callbacks_struct``; libssh reads as much of it as ``size`` says."""

    _fields_ = [
        ("size", ctypes.c_size_t),
        ("userdata", _pointer),
        ("data", _DATA_CALLBACK),
        ("eof", _EVENT_CALLBACK),
        ("close", _EVENT_CALLBACK),
        ("signal", _pointer),
        ("exit_status", _EXIT_STATUS_CALLBACK),
        ("exit_signal", _EXIT_SIGNAL_CALLBACK),
    ]


_lib = ctypes.CDLL(ssh.session.__file__)
_lib_with_lock = ctypes.PyDLL(ssh.session.__file__)


def declare(name: str, *argtypes: Any, keep_lock: bool = False) -> Callable[..., int]:
    """Return one of libssh's functions that return a number.

    :param name: its name.
    :param argtypes: the types of its arguments.
    :param keep_lock: whether Python's lock stays with it.
    """
    function = getattr(_lib_with_lock if keep_lock else _lib, name)
    function.restype = ctypes.c_int
    function.argtypes = argtypes
    return function  # type: ignore[no-any-return]


_set_channel_callbacks = declare("ssh_set_channel_callbacks", _pointer, _pointer, keep_lock=True)
_set_agent_socket = declare("ssh_set_agent_socket", _pointer, _int)
_set_log_level = declare("ssh_set_log_level", _int)
_set_log_callback = declare("ssh_set_log_callback", _LOG_CALLBACK)

#: Read what has come from the server (4 KiB at a time), and send what waits to be sent. Of
#: what may call libssh's loop it is the one function that does nothing else in a client.
#: Python's lock stays with it: it takes a few microseconds, and giving the lock away for each
#: makes threads that write files fight for it.
exchange_packets = declare("ssh_execute_message_callbacks", _pointer, keep_lock=True)

#: Ask the server for a sign of life, or take note of its answer to the last time.
keepalive = declare("ssh_send_keepalive", _pointer)

#: Send data on a channel; 0 where nothing can be sent at this moment. (The binding's own
#: function calls this in a loop that spins until something can.)
channel_write = declare("ssh_channel_write", _pointer, ctypes.c_char_p, _uint32)


def _word(address: int) -> int:
    return ctypes.c_size_t.from_address(address).value


def _layout_known() -> bool:
    return (
        ctypes.sizeof(ctypes.c_void_p) == 8
        and ssh.session.Session.__basicsize__ == _SESSION_SIZE
        and ssh.channel.Channel.__basicsize__ == _CHANNEL_SIZE
    )


_LAYOUT_KNOWN = _layout_known()


def _unknown_build() -> InvalidAPIUseError:
    return InvalidAPIUseError(
        "The installed build of ssh-python is not one that this client knows how to use. "
        "Install another version of it, or use pssh.clients.native"
    )


def session_pointer(raw: RawSession) -> int:
    """Return the ``ssh_session`` of a session whose socket has been set.

    :raises InvalidAPIUseError: where that is not certain.
    """
    if _LAYOUT_KNOWN and raw.sock is not None and _word(id(raw) + _SESSION_SOCK) == id(raw.sock):
        return _word(id(raw) + _SESSION_POINTER)
    raise _unknown_build()


#: Whether a channel was seen to look as it is known to. Others are no different then.
_channel_seen = False


def channel_pointer(raw: RawChannel) -> int:
    """Return the ``ssh_channel`` of a channel.

    :raises InvalidAPIUseError: where that is not certain.
    """
    global _channel_seen
    if not _channel_seen:
        if not _LAYOUT_KNOWN or _word(id(raw) + _CHANNEL_SESSION) != id(raw.session):
            raise _unknown_build()
        _channel_seen = True
    return _word(id(raw) + _CHANNEL_POINTER)


#: struct ssh_channel_struct: session, number of the channel on this side
_NUMBER = 8


def channel_number(raw: RawChannel, session: int) -> int | None:
    """Return the number that a channel has on this side, ``None`` where that is not certain.

    :param raw: the channel.
    :param session: its session's pointer.
    """
    channel = channel_pointer(raw)
    if _word(channel) != session:
        return None
    return ctypes.c_uint32.from_address(channel + _NUMBER).value


# Certificates

# struct __pyx_obj_3ssh_3key_SSHKey: head, vtable, ssh_key
_KEY_SIZE, _KEY_POINTER = 32, 24
# struct ssh_key_struct with OpenSSL: type, flags, its name, a number, three pointers to keys, the
# application of a security key, the certificate, the certificate's type
_TYPE, _TYPE_NAME, _CERTIFICATE_TYPE = 0, 8, 64
_ED25519 = b"ssh-ed25519"
_ED25519_CERTIFICATE = b"ssh-ed25519-cert-v01@openssh.com"


def copy_certificate(certificate: SSHKey, key: SSHKey) -> None:
    """Give a private key its certificate.

    libssh 0.11 compares the two as if an Ed25519 certificate were no Ed25519 key, and finds
    that they differ: for the comparison the certificate gets the type of its key.

    :raises KeyImportError: when the certificate is for another key.
    """
    theirs, ours = _word(id(certificate) + _KEY_POINTER), _word(id(key) + _KEY_POINTER)
    if (
        not _LAYOUT_KNOWN
        or ssh.key.SSHKey.__basicsize__ != _KEY_SIZE
        or _type_name(theirs) != _ED25519_CERTIFICATE
        or _type_name(ours) != _ED25519
    ):
        copy_cert_to_privkey(certificate, key)
        return
    certificate_type, key_type = _type_at(theirs + _TYPE), _type_at(ours + _TYPE)
    wanted = certificate_type.value
    certificate_type.value = key_type.value
    try:
        copy_cert_to_privkey(certificate, key)
    finally:
        certificate_type.value = wanted
    copied = _type_at(ours + _CERTIFICATE_TYPE)
    if copied.value != key_type.value:
        raise _unknown_build()
    copied.value = wanted


def _type_at(address: int) -> ctypes.c_int:
    return ctypes.c_int.from_address(address)


def _type_name(key: int) -> bytes:
    return ctypes.c_char_p(_word(key + _TYPE_NAME)).value or b""


# What arrives for a channel


class Receiver(Protocol):
    """What a channel is told. None of it may switch to another greenlet."""

    def data_wanted(self, size: int, is_stderr: bool) -> int:
        """How many to take of so many bytes that are there; the rest stays in the library."""

    def data_arrived(self, data: bytes, is_stderr: bool) -> None:
        """Take as many as were wanted."""

    def eof_arrived(self) -> None:
        """The server has sent EOF."""

    def close_arrived(self) -> None:
        """The server has closed the channel."""

    def exit_status_arrived(self, status: int) -> None:
        """The command has ended."""

    def exit_signal_arrived(self, name: str) -> None:
        """The command was killed."""


_receivers: dict[int, Receiver] = {}


def _on_data(
    _session: int, channel: int, data: int, length: int, is_stderr: int, _userdata: int
) -> int:
    receiver = _receivers.get(channel)
    if receiver is None:
        # Nobody will read it any more.
        return length
    # What stays in the library comes again with each packet: it is not copied until it is taken.
    of_stderr = is_stderr != 0
    count = receiver.data_wanted(length, of_stderr)
    if count:
        receiver.data_arrived(ctypes.string_at(data, count), of_stderr)
    return count


def _on_eof(_session: int, channel: int, _userdata: int) -> None:
    if channel in _receivers:
        _receivers[channel].eof_arrived()


def _on_close(_session: int, channel: int, _userdata: int) -> None:
    if channel in _receivers:
        _receivers[channel].close_arrived()


def _on_exit_status(_session: int, channel: int, status: int, _userdata: int) -> None:
    if channel in _receivers:
        # A uint32 (RFC 4254 section 6.10), which libssh hands over as an int.
        _receivers[channel].exit_status_arrived(status & 0xFFFFFFFF)


def _on_exit_signal(
    _session: int, channel: int, name: bytes, _core: int, _text: int, _lang: int, _userdata: int
) -> None:
    if channel in _receivers:
        _receivers[channel].exit_signal_arrived(name.decode("ascii", "replace"))


#: One for all channels, for ever: libssh keeps a pointer to it.
_callbacks = _ChannelCallbacks(
    size=ctypes.sizeof(_ChannelCallbacks),
    data=_DATA_CALLBACK(_on_data),
    eof=_EVENT_CALLBACK(_on_eof),
    close=_EVENT_CALLBACK(_on_close),
    exit_status=_EXIT_STATUS_CALLBACK(_on_exit_status),
    exit_signal=_EXIT_SIGNAL_CALLBACK(_on_exit_signal),
)
_callbacks_address = ctypes.addressof(_callbacks)


def receive(channel: int, receiver: Receiver) -> None:
    """Have a receiver told of everything that arrives for a channel.

    :param channel: the channel's pointer.
    :param receiver: is kept until :func:`forget`.
    """
    _receivers[channel] = receiver
    _set_channel_callbacks(channel, _callbacks_address)


def forget(channel: int) -> None:
    """Tell nobody any more. Before the channel is freed: its pointer may come again."""
    _receivers.pop(channel, None)


# The rest


def set_agent_socket(session: int, descriptor: int) -> None:
    """Have the session talk to its agent over a descriptor; -1 for none."""
    _set_agent_socket(session, descriptor)


#: SSH_LOG_DEBUG, SSH_LOG_NONE
_LOG_DEBUG, _LOG_NONE = 3, 0


@contextlib.contextmanager
def log_messages(messages: list[str]) -> Iterator[None]:
    """Collect what libssh logs in this thread: some reasons it tells nowhere else.

    :param messages: is added to.
    """

    def log(_priority: int, function: bytes, message: bytes, _userdata: int) -> None:
        messages.append(message[len(function) + 2 :].decode("utf-8", "replace"))

    callback = _LOG_CALLBACK(log)
    _set_log_callback(callback)
    _set_log_level(_LOG_DEBUG)
    try:
        yield
    finally:
        _set_log_level(_LOG_NONE)
        _set_log_callback(_NO_LOG)


#: libssh offers no way back to having no callback.
_NO_LOG = _LOG_CALLBACK(lambda *_: None)
