"""How much a server takes at once (limits@openssh.com). Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from pssh.sftp.constants import DEFAULT_MAX_DATA, DEFAULT_MAX_PACKET

#: What a packet needs beside its data at most: the fields of SSH_FXP_WRITE with a handle of 256
#: bytes are less. OpenSSH keeps the same distance.
OVERHEAD: Final = 1024

#: The least data in a request that is believed, in bytes. No server is that small; one that says
#: so would only make a transfer take forever.
MIN_DATA: Final = 1024


class Limits(NamedTuple):
    """What requests may ask for.

    :ivar max_packet: length of a packet without its length field, in bytes.
    :ivar max_read: what one read may ask for, in bytes.
    :ivar max_write: what one write may carry, in bytes.
    :ivar max_handles: how many files and directories may be open; ``None`` if not known.
    """

    max_packet: int
    max_read: int
    max_write: int
    max_handles: int | None

    @classmethod
    def from_server(
        cls, packet: int, read: int, write: int, handles: int, *, max_packet: int
    ) -> Limits:
        """Make sense of what a server says.

        Zero means that the server sets no limit (OpenSSH's PROTOCOL, section 4.8): ours holds, as
        it does where the server's is higher. A limit that is too small to work with is raised to
        the least that can be used.

        :param packet: max-packet-length, in bytes.
        :param read: max-read-length, in bytes.
        :param write: max-write-length, in bytes.
        :param handles: max-open-handles.
        :param max_packet: our own limit for a packet, in bytes.
        """
        packet = _clamp(packet, MIN_DATA + OVERHEAD, max_packet)
        return cls(
            packet,
            # What is read comes in packets that are ours to limit, but a server whose packets
            # have a limit can hardly send longer ones.
            _clamp(read, MIN_DATA, packet - OVERHEAD),
            _clamp(write, MIN_DATA, packet - OVERHEAD),
            handles or None,
        )


#: What holds until a server says more.
DEFAULT_LIMITS: Final = Limits(DEFAULT_MAX_PACKET, DEFAULT_MAX_DATA, DEFAULT_MAX_DATA, None)


def _clamp(value: int, least: int, most: int) -> int:
    return min(max(value, least), most) if value else most
