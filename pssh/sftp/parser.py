"""From the bytes that a server sends to packets (draft-ietf-secsh-filexfer-02 section 3). Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from pssh.exceptions import SFTPProtocolError
from pssh.sftp.constants import MAX_PACKET, REPLY_NAMES, SSH_FXP_DATA
from pssh.sftp.fields import FieldError
from pssh.sftp.replies import DataPart, Packet, decode

Chunk: TypeAlias = bytes | bytearray | memoryview

#: Type and request id, or type and version: no reply has less.
_MIN_PACKET: Final = 5
#: What SSH_FXP_DATA has beside its data: type, request id, and how much data it is.
_DATA_OVERHEAD: Final = 9

# How many bytes of a packet have to be there for the next decision, its length field included.
_LENGTH: Final = 4
_TYPE: Final = 5
_HEADER = struct.Struct(">IBII")  # of SSH_FXP_DATA: all that comes before the data


class Parser:
    """Turns what was read from a channel, cut anywhere, into packets.

    The data of SSH_FXP_DATA is handed on in views of what was fed, and never copied. Every other
    packet is joined first. So no more than one packet is held here, whatever a server sends.

    :param max_packet: what a packet may have at most without its length field, in bytes.
    :param host: the server's name or address, for errors.
    :param port: its port.
    """

    __slots__ = (
        "_begun",
        "_data_id",
        "_data_left",
        "_data_position",
        "_error",
        "_first",
        "_host",
        "_max_packet",
        "_port",
        "_taking",
        "_wanted",
    )

    def __init__(
        self, max_packet: int = MAX_PACKET, *, host: str | None = None, port: int | None = None
    ) -> None:
        self._max_packet = max_packet
        self._host = host
        self._port = port
        self._begun = bytearray()  # the packet that is not complete
        self._wanted = _LENGTH  # how long it has to become for the next decision
        self._first = True  # whether it is the first one
        self._data_id = 0
        self._data_position = 0
        self._data_left = 0
        self._taking = False
        self._error: SFTPProtocolError | None = None

    @property
    def in_packet(self) -> bool:
        """Whether a packet has begun and is not complete: the wrong moment for an end."""
        return bool(self._begun) or self._data_left > 0

    @property
    def buffered(self) -> int:
        """How many bytes are held here."""
        return len(self._begun)

    def feed(self, *pieces: Chunk) -> Iterator[Packet]:
        """Take what was read, and return the packets in it, and the parts of SSH_FXP_DATA.

        :param pieces: any number of bytes each; not to be changed while parts of them are in use.
        :returns: an iterator that has to be taken to its end before more is fed. It raises
            :class:`SFTPProtocolError` behind the last good packet.
        :raises SFTPProtocolError: after an error: nothing is taken any more.
        :raises RuntimeError: when the previous iterator was not taken to its end.
        """
        self.check()
        if self._taking:
            raise RuntimeError("The packets of what was fed before have not all been taken")
        self._taking = True
        return self._packets(pieces)

    def check(self) -> None:
        """Raise the error after which nothing is taken any more, if there was one.

        :raises SFTPProtocolError: when there was.
        """
        error = self._error
        if error is not None:
            # A new one each time: every raise adds to an error's traceback.
            raise SFTPProtocolError(*error.args, host=error.host, port=error.port)

    def fail(self, problem: str) -> SFTPProtocolError:
        """Refuse everything from now on.

        :param problem: what the server did, going on from "The SFTP server on host …".
        :returns: the error to raise.
        """
        where: tuple[object, ...] = ()
        on_host = ""
        if self._host is not None:
            where, on_host = (self._host, self._port), " on host %s:%s"
        self._error = SFTPProtocolError(
            f"The SFTP server{on_host} %s",
            *where,
            problem,
            host=self._host,
            port=self._port,
        )
        self._begun.clear()
        self._data_left = 0
        return self._error

    def _packets(self, pieces: Iterable[Chunk]) -> Iterator[Packet]:
        for piece in pieces:
            yield from self._packets_of(memoryview(piece))
        self._taking = False

    def _packets_of(self, view: memoryview) -> Iterator[Packet]:
        begun = self._begun
        at, end = 0, len(view)
        while at < end:
            left = self._data_left
            if left:
                size = min(left, end - at)
                position = self._data_position
                self._data_position = position + size
                self._data_left = left - size
                yield DataPart(self._data_id, position, view[at : at + size], left - size)
                at += size
            elif begun or end - at < _HEADER.size:
                at = self._join(view, at)
                if len(begun) == self._wanted:
                    packet = self._joined()
                    if packet is not None:
                        yield packet
            else:
                # The same decisions in one step, because this is how nearly every packet comes.
                length, kind, request_id, size = _HEADER.unpack_from(view, at)
                self._check_length(length)
                self._check_kind(kind, length)
                stop = at + _LENGTH + length
                if kind == SSH_FXP_DATA:
                    self._begin_data(length, request_id, size)
                    at += _HEADER.size
                elif stop <= end:
                    yield self._decoded(kind, bytes(view[at + _TYPE : stop]))
                    at = stop
                else:
                    self._wanted = _LENGTH + length
                    at = self._join(view, at)

    def _join(self, view: memoryview, at: int) -> int:
        """Take what is there of a packet; returns where the rest begins."""
        stop = min(at + self._wanted - len(self._begun), len(view))
        self._begun += view[at:stop]
        return stop

    def _joined(self) -> Packet | None:
        """Look at what has been joined; returns the packet when it is one."""
        begun, have = self._begun, self._wanted
        length = int.from_bytes(begun[:_LENGTH], "big")
        if have == _LENGTH:
            self._check_length(length)
            self._wanted = _TYPE
            return None
        kind = begun[_LENGTH]
        if have == _TYPE:
            self._check_kind(kind, length)
            self._wanted = _HEADER.size if kind == SSH_FXP_DATA else _LENGTH + length
            return None
        content = bytes(begun)
        begun.clear()
        self._wanted = _LENGTH
        if kind == SSH_FXP_DATA:
            _, _, request_id, size = _HEADER.unpack(content)
            self._begin_data(length, request_id, size)
            return None
        return self._decoded(kind, content[_TYPE:])

    def _decoded(self, kind: int, content: bytes) -> Packet:
        self._first = False
        try:
            return decode(kind, content)
        except FieldError as error:
            raise self.fail(f"sent an {REPLY_NAMES[kind]} that {error}") from error

    def _begin_data(self, length: int, request_id: int, size: int) -> None:
        self._first = False
        if size != length - _DATA_OVERHEAD:
            raise self.fail(
                f"sent an SSH_FXP_DATA of {length} bytes that announces {size} bytes of data"
            )
        if size == 0:
            # Whoever asks again, as after any short read, might go on forever.
            raise self.fail("answered a read with no data instead of SSH_FX_EOF")
        self._data_id = request_id
        self._data_position = 0
        self._data_left = size

    def _check_length(self, length: int) -> None:
        if _MIN_PACKET <= length <= self._max_packet:
            return
        problem = f"announced a packet of {length} bytes, "
        if length < _MIN_PACKET:
            raise self.fail(problem + f"where {_MIN_PACKET} is the least")
        problem += f"where {self._max_packet} is the most"
        text = length.to_bytes(_LENGTH, "big")
        if self._first and text.isascii() and text.decode().isprintable():
            # The shell that starts the server shares its output with it.
            problem += (
                f". Its first bytes are the text {text.decode()!r}: does a login script of the"
                " user print something?"
            )
        raise self.fail(problem)

    def _check_kind(self, kind: int, length: int) -> None:
        if kind not in REPLY_NAMES:
            raise self.fail(f"sent a packet of type {kind}, which no reply has")
        if kind == SSH_FXP_DATA and length < _DATA_OVERHEAD:
            raise self.fail("sent an SSH_FXP_DATA that ends too early")
