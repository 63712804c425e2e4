"""Channels that a server opens to the user's agent, which the binding of libssh2 does not offer.

libssh2 hands such a channel to a callback, in the middle of whatever call reads the server's
message. All that the callback does is to note the channel: what the library's caller waits for
goes on, and the channel is taken afterwards. A session that has not asked for this has no
callback.

As in :mod:`pssh.clients.native.libssh2`, nothing is done with a build that is not known: not only
the layout of objects counts here, but also how the binding makes a channel of a pointer, which is
looked up by its signature.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ssh2.channel

from pssh.clients.native import libssh2
from pssh.exceptions import InvalidAPIUseError

if TYPE_CHECKING:
    from ssh2.channel import Channel as RawChannel
    from ssh2.session import Session as RawSession

#: LIBSSH2_CALLBACK_AUTHAGENT: void (session, channel, abstract)
_AGENT_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_CALLBACK_AUTHAGENT = 7

#: The binding's own function that makes its object of a channel's pointer.
_MAKER, _MAKER_SIGNATURE = (
    "PyChannel",
    b"PyObject *(LIBSSH2_CHANNEL *, struct __pyx_obj_4ssh2_7session_Session *)",
)


def _find_maker() -> Callable[[int, Any], Any] | None:
    capsule = getattr(ssh2.channel, "__pyx_capi__", {}).get(_MAKER)
    if capsule is None or not libssh2.LAYOUT_KNOWN:
        return None
    is_valid = ctypes.pythonapi.PyCapsule_IsValid
    is_valid.restype, is_valid.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]
    if not is_valid(capsule, _MAKER_SIGNATURE):
        return None
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype = ctypes.c_void_p
    get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    made = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object)
    return made(get_pointer(capsule, _MAKER_SIGNATURE))


_make_channel = _find_maker()

#: Session's pointer -> what takes its channels.
_takers: dict[int, AgentChannels] = {}


def _on_open(session: int, channel: int, _abstract: int) -> None:
    """Runs inside libssh2: nothing may wait here, nor call the library."""
    taker = _takers.get(session)
    if taker is not None:
        taker.opened(channel)


#: One for all sessions, for ever: libssh2 keeps a pointer to it.
_callback = _AGENT_CALLBACK(_on_open)


class AgentChannels:
    """The channels of a session to the agent that nobody has taken yet.

    :param raw: the session, after its handshake.
    :param notify: called for each, inside of libssh2.
    :raises InvalidAPIUseError: where the build of the binding is not known.
    """

    __slots__ = ("_notify", "_pointer", "_raw", "_waiting")

    def __init__(self, raw: RawSession, notify: Callable[[], None]) -> None:
        pointer = libssh2.session_pointer(raw)
        if pointer is None or _make_channel is None:
            raise InvalidAPIUseError(
                "forward_ssh_agent is not possible with this build of ssh2-python; another "
                "version of it, or the client pssh.clients.ssh, can"
            )
        self._raw = raw
        self._pointer = pointer
        self._notify = notify
        self._waiting: deque[int] = deque()
        _takers[pointer] = self
        libssh2.set_callback(pointer, _CALLBACK_AUTHAGENT, libssh2.address_of(_callback))

    def opened(self, channel: int) -> None:
        """Note a channel. Runs inside libssh2."""
        self._waiting.append(channel)
        self._notify()

    def take(self) -> RawChannel | None:
        """Return a channel that has been opened, ``None`` when there is none left."""
        if not self._waiting:
            return None
        assert _make_channel is not None
        return _make_channel(self._waiting.popleft(), self._raw)

    def forget(self) -> None:
        """The session ends: its pointer may come again. What nobody has taken it frees."""
        _takers.pop(self._pointer, None)
        self._waiting.clear()
