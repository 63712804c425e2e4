"""What a session of libssh2 remembers of the one channel that it is opening.

To open several at once, it is made to remember another one for each call.
"""

from __future__ import annotations

import ctypes
import struct
import sys

from pssh.clients.base.seam import Destination
from pssh.clients.native.libssh2 import LAYOUT_KNOWN, POINTER, ChannelHead, memory_of

#: What is remembered: the bytes themselves.
OpeningState = bytes

# struct _LIBSSH2_SESSION of libssh2 1.11, from open_state to direct_message_len: state, start,
# channel, packet, its length, answer, its length, number | state, message, and the lengths of
# host, origin and message
_OPENING = struct.Struct("=ixxxxqQQQQQIiQQQQ")
_LENGTHS = struct.Struct("=QQQ")
#: What of it can be told: the rest may be anything.
_TELLING = (0, 2, 3, 4, 8, 9)
#: Where in it the channel's pointer is.
_CHANNEL = 16
#: libssh2_NB_state_created, libssh2_NB_state_sent
_CREATED, _SENT = 2, 3
_DIRECT_TCPIP = b"direct-tcpip"

#: What a session remembers while it opens no channel.
NOTHING: OpeningState = bytes(_OPENING.size)

#: Where in a session all that is; ``None`` until it has been found.
_offset: int | None = None


def is_found() -> bool:
    """Whether it is known what a session remembers of the channel that it opens."""
    return _offset is not None


def find(session: int, destination: Destination) -> bool:
    """Find out where a session remembers the channel that it opens. Once for a process.

    It is looked for by what must be there now, rather than where it is in some build.

    :param session: the session's pointer; it has just begun to open its first channel.
    :param destination: where that leads.
    :returns: whether it was found, in one place and no other.
    """
    global _offset
    memory = memory_of(session)
    if not LAYOUT_KNOWN or memory is None:
        return False
    host, origin = len(destination.host.encode()), len(destination.origin_host.encode())
    # Two strings and two numbers (RFC 4254 section 7.2).
    lengths = _LENGTHS.pack(host, origin, host + origin + 16)
    found = []
    position = memory.find(lengths)
    while position >= 0:
        offset = position + _LENGTHS.size - _OPENING.size
        if offset >= 0 and offset % POINTER == 0 and _is_opening(memory, offset):
            found.append(offset)
        position = memory.find(lengths, position + 1)
    if len(found) != 1:
        return False
    _offset = found[0]
    return True


def _is_opening(memory: bytes, offset: int) -> bool:
    fields = _OPENING.unpack_from(memory, offset)
    state, channel, packet, packet_length, direct, message = (fields[i] for i in _TELLING)
    if state not in (_CREATED, _SENT) or direct != _CREATED or not (channel and packet and message):
        return False
    # The packet begins with the type of the channel and what is said of every channel.
    is_long_enough = packet_length == len(_DIRECT_TCPIP) + 17
    return is_long_enough and ChannelHead.from_address(channel).is_of_type(_DIRECT_TCPIP)


def channel_of(state: OpeningState) -> int:
    """Return the pointer of the channel that is being opened."""
    return int.from_bytes(state[_CHANNEL : _CHANNEL + POINTER], sys.byteorder)


def swap(session: int, state: OpeningState) -> OpeningState:
    """Have a session remember something else of the channel that it opens.

    :param session: the session's pointer.
    :param state: what it is to remember.
    :returns: what it has remembered until now.
    """
    assert _offset is not None
    address = session + _offset
    before = ctypes.string_at(address, _OPENING.size)
    ctypes.memmove(address, state, _OPENING.size)
    return before
