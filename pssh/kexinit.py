"""What the other side says of key exchange before anything is encrypted."""

from __future__ import annotations

_SSH_MSG_KEXINIT = 20
#: The length of a packet, and the length of its padding (RFC 4253 section 6).
_LENGTH, _PADDING_LENGTH = 4, 1
#: Where its first list of names begins: behind the message's number, and a cookie of 16 bytes.
_NAMES = _LENGTH + _PADDING_LENGTH + 1 + 16


class KexInitReader:
    """Finds the first SSH_MSG_KEXINIT among the packets of a connection.

    :ivar methods: the methods of key exchange that it names, best first (RFC 4253 section 7.1);
        ``None`` until they have come.
    """

    __slots__ = ("_data", "methods")

    def __init__(self) -> None:
        self._data = bytearray()
        self.methods: tuple[bytes, ...] | None = None

    def feed(self, data: bytes) -> None:
        """Look at more of what has come, from the first packet on.

        :param data: of any length.
        """
        waiting = self._data
        waiting += data
        while self.methods is None and len(waiting) > _LENGTH + _PADDING_LENGTH:
            end = _LENGTH + int.from_bytes(waiting[:_LENGTH], "big")
            kind = waiting[_LENGTH + _PADDING_LENGTH] if end > _LENGTH + _PADDING_LENGTH else None
            if kind == _SSH_MSG_KEXINIT:
                start = _NAMES + 4
                # A list that goes on behind its packet is for others to complain of.
                stop = min(end, start + int.from_bytes(waiting[_NAMES:start], "big"))
                if len(waiting) < start or len(waiting) < stop:
                    return
                self.methods = tuple(bytes(waiting[start:stop]).split(b","))
            elif len(waiting) < end:
                return
            del waiting[:end]
