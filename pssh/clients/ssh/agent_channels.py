"""Channels that a server opens to the user's agent, which the binding of libssh does not offer.

libssh asks a callback for a channel (``channel_open_request_auth_agent_function`` in
libssh/callbacks.h), in the middle of whatever call reads the server's message. All that the
callback does is to make a channel object, with the binding's own function, and to note it. A
session that has not asked for this has no callback, and libssh refuses what the server opens.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from pssh.clients.ssh import libssh

_pointer = ctypes.c_void_p

#: ssh_channel (session, userdata)
_AGENT_CALLBACK = ctypes.CFUNCTYPE(_pointer, _pointer, _pointer)


class _SessionCallbacks(ctypes.Structure):
    """``struct ssh_callbacks_struct``; libssh reads as much of it as ``size`` says.

    The binding sets none of them.
    """

    _fields_ = [
        ("size", ctypes.c_size_t),
        ("userdata", _pointer),
        ("auth", _pointer),
        ("log", _pointer),
        ("connect_status", _pointer),
        ("global_request", _pointer),
        ("channel_open_request_x11", _pointer),
        ("channel_open_request_auth_agent", _AGENT_CALLBACK),
    ]


_set_session_callbacks = libssh.declare("ssh_set_callbacks", _pointer, _pointer)

#: Session's pointer -> makes a channel and returns its pointer.
_makers: dict[int, Callable[[], int]] = {}


def _on_open(session: int, _userdata: int) -> int | None:
    """Runs inside libssh: nothing may wait here."""
    maker = _makers.get(session)
    if maker is None:
        return None
    try:
        return maker()
    except Exception:  # noqa: BLE001 (none can pass through C; the server is refused)
        return None


#: One for all sessions, for ever: libssh keeps a pointer to it.
_callbacks = _SessionCallbacks(
    size=ctypes.sizeof(_SessionCallbacks),
    channel_open_request_auth_agent=_AGENT_CALLBACK(_on_open),
)


def take(session: int, maker: Callable[[], int]) -> None:
    """Have a session take channels to the agent.

    :param session: the session's pointer.
    :param maker: makes a channel for one, and returns its pointer; called inside libssh.
    """
    _makers[session] = maker
    _set_session_callbacks(session, ctypes.addressof(_callbacks))


def forget(session: int) -> None:
    """Take none any more. Before the session is freed: its pointer may come again."""
    _makers.pop(session, None)
