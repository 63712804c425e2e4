"""The conversation with an SFTP server: requests, and the replies that fit them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, TypeAlias, TypeVar

from pssh.sftp import requests
from pssh.sftp.constants import EXTENSION_REVISIONS, MAX_PACKET, PROTOCOL_VERSION
from pssh.sftp.fields import FieldError
from pssh.sftp.limits import DEFAULT_LIMITS, OVERHEAD, Limits
from pssh.sftp.parser import Chunk, Parser
from pssh.sftp.replies import (
    DataPart,
    ExtendedReply,
    FileAttributes,
    Handle,
    Names,
    Packet,
    Reply,
    Status,
    Version,
    decode_limits,
    decode_statvfs,
)
from pssh.sftp.requests import Expects, Request

Context = TypeVar("Context")

#: A reply that is complete and has a request id.
Answer: TypeAlias = Status | Handle | Names | FileAttributes | ExtendedReply

_ID_MASK: Final = 0xFFFFFFFF

_ACCEPTED: Final[dict[Expects, type[Packet]]] = {
    Expects.STATUS: Status,
    Expects.HANDLE: Handle,
    Expects.DATA: DataPart,
    Expects.NAMES: Names,
    Expects.ONE_NAME: Names,
    Expects.ATTRIBUTES: FileAttributes,
    Expects.STATVFS: ExtendedReply,
    Expects.LIMITS: ExtendedReply,
    Expects.EXTENDED: ExtendedReply,
}

#: For errors.
_WORDS: Final[dict[type[Packet], str]] = {
    Handle: "a handle",
    DataPart: "data",
    Names: "names",
    FileAttributes: "attributes",
    ExtendedReply: "the reply of an extension",
}


class Exchange(Generic[Context]):
    """Sends requests with an object each, and gives that object back with the reply.

    Nothing is read or written here: the packets that the methods return are to be sent in their
    order, and what comes from the server is to be given to :meth:`receive`. A server that answers
    nonsense gets an :class:`pssh.exceptions.SFTPProtocolError`, after which nothing is sent or
    received any more.

    :param host: the server's name or address, for errors.
    :param port: its port.
    :param max_packet: the longest packet that is taken from the server, without its length field,
        in bytes; at least 34000, what every server may send.

    :ivar version: the server's version, ``None`` until it has told.
    :ivar extensions: the server's extensions: their names and data.
    :ivar limits: what requests may ask for. Until the answer to
        :func:`pssh.sftp.requests.limits`, and where there is none, what every server takes.
    """

    def __init__(
        self, *, host: str | None = None, port: int | None = None, max_packet: int = MAX_PACKET
    ) -> None:
        self.version: int | None = None
        self.extensions: dict[bytes, bytes] = {}
        self.limits: Limits = DEFAULT_LIMITS
        self._max_packet = max(max_packet, DEFAULT_LIMITS.max_packet)
        self._parser = Parser(self._max_packet, host=host, port=port)
        self._next_id = 0
        self._outstanding: dict[int, tuple[Request, Context]] = {}
        self._starting: list[Context] = []
        self._started = False
        self._closed = False

    @property
    def outstanding(self) -> int:
        """How many requests are without a complete reply, the first packet among them."""
        return len(self._outstanding) + len(self._starting)

    @property
    def in_packet(self) -> bool:
        """Whether the server has sent a part of a packet: the wrong moment for an end."""
        return self._parser.in_packet

    def start(self, context: Context) -> bytes:
        """Begin; returns the first packet.

        :param context: any object; comes back with the :class:`pssh.sftp.replies.Version`.
        :raises RuntimeError: when it has been called before, or after :meth:`close`.
        """
        if self._started or self._closed:
            raise RuntimeError("An SFTP session starts only once")
        self._started = True
        self._starting.append(context)
        return requests.init()

    def supports(self, extension: bytes) -> bool:
        """Whether the server has an extension, in the revision that is spoken here.

        :param extension: one of those in :mod:`pssh.sftp.constants`.
        """
        revision = EXTENSION_REVISIONS.get(extension)
        return revision is not None and self.extensions.get(extension) == revision

    def send(self, request: Request, context: Context) -> bytes:
        """Return the packet for a request; ``request.payload`` bytes of data have to follow it.

        It may be called before the server told its version, which saves a round trip for what
        needs no extension.

        :param context: any object; comes back with each part of the reply.
        :raises ValueError: when the request is longer than the server takes, or asks for more
            data than is taken here. Nothing has changed then.
        :raises RuntimeError: before :meth:`start` and after :meth:`close`.
        :raises SFTPProtocolError: when the server has broken the protocol.
        """
        self._parser.check()
        if not self._started or self._closed:
            raise RuntimeError("Requests are sent between start() and close()")
        if request.length > self.limits.max_packet:
            raise ValueError(
                f"The request has {request.length} bytes, and the SFTP server takes"
                f" {self.limits.max_packet} at most"
            )
        if request.asked > self._max_packet - OVERHEAD:
            raise ValueError(f"{request.asked} bytes are too much for one request")
        outstanding, request_id = self._outstanding, self._next_id
        while request_id in outstanding:
            request_id = (request_id + 1) & _ID_MASK
        self._next_id = (request_id + 1) & _ID_MASK
        outstanding[request_id] = (request, context)
        return request.packet(request_id)

    def receive(self, *pieces: Chunk) -> Iterator[tuple[Context, Reply]]:
        """Take what was read from the server, and return the replies in it with their contexts.

        A request is answered with what it asks for, or with a :class:`pssh.sftp.replies.Status`
        that says why not. Only data comes in parts: the last one has ``remaining == 0``.

        :param pieces: any number of bytes each; not to be changed while parts of them are in use.
        :returns: an iterator that has to be taken to its end before more is received; requests
            may be sent meanwhile. It raises ``SFTPProtocolError`` behind the last good reply.
            After :meth:`close` it is empty.
        :raises SFTPProtocolError: when the server has broken the protocol.
        :raises RuntimeError: when the previous iterator was not taken to its end.
        """
        if self._closed:
            return iter(())
        return self._replies(self._parser.feed(*pieces))

    def close(self) -> list[Context]:
        """Stop: nothing is sent any more, and what is received is dropped.

        :returns: the contexts of all requests that were not answered completely, in the order in
            which they were sent. The next call returns none.
        """
        self._closed = True
        left = [*self._starting, *(context for _, context in self._outstanding.values())]
        self._starting.clear()
        self._outstanding.clear()
        return left

    def _replies(self, packets: Iterator[Packet]) -> Iterator[tuple[Context, Reply]]:
        outstanding = self._outstanding
        for packet in packets:
            if self._closed:
                return
            if isinstance(packet, DataPart):
                if packet.position == 0:
                    self._check_data(packet)
                if packet.remaining:
                    yield outstanding[packet.request_id][1], packet
                else:
                    yield outstanding.pop(packet.request_id)[1], packet
            elif isinstance(packet, Version):
                yield self._agree(packet), packet
            else:
                request, context = self._request(packet)
                reply = self._reply(packet, request)
                del outstanding[packet.request_id]
                yield context, reply

    def _agree(self, packet: Version) -> Context:
        """Agree on a version; returns what was given to `start`."""
        if self.version is not None:
            raise self._parser.fail("told its version a second time")
        if not self._starting:
            raise self._parser.fail("told its version without being asked")
        if packet.version < PROTOCOL_VERSION:
            raise self._parser.fail(
                f"speaks version {packet.version} of SFTP, and version {PROTOCOL_VERSION} is needed"
            )
        if packet.version > PROTOCOL_VERSION:
            raise self._parser.fail(
                f"was offered version {PROTOCOL_VERSION} of SFTP and chose {packet.version}"
            )
        self.version = packet.version
        self.extensions = packet.extensions
        return self._starting.pop()

    def _request(self, packet: Answer | DataPart) -> tuple[Request, Context]:
        if self.version is None:
            raise self._parser.fail("sent something else before its version")
        try:
            return self._outstanding[packet.request_id]
        except KeyError:
            raise self._parser.fail(
                f"answered request {packet.request_id}, which does not wait for an answer"
            ) from None

    def _reply(self, packet: Answer, request: Request) -> Reply:
        """Check that a packet answers a request, and read what only the request explains."""
        expects = request.expects
        if isinstance(packet, Status):
            if packet.is_ok and expects is not Expects.STATUS:
                raise self._parser.fail(f"answered SSH_FX_OK instead of {expects.value}")
            return packet
        if not isinstance(packet, _ACCEPTED[expects]):
            raise self._wrong_kind(packet, expects)
        if expects is Expects.ONE_NAME and isinstance(packet, Names) and len(packet.entries) != 1:
            raise self._parser.fail(f"answered with {len(packet.entries)} names instead of one")
        if isinstance(packet, ExtendedReply):
            return self._extended_reply(packet, expects)
        return packet

    def _extended_reply(self, packet: ExtendedReply, expects: Expects) -> Reply:
        try:
            if expects is Expects.STATVFS:
                return decode_statvfs(packet)
            if expects is Expects.LIMITS:
                self.limits = decode_limits(packet, self._max_packet)
                return self.limits
        except FieldError as error:
            raise self._parser.fail(f"sent an SSH_FXP_EXTENDED_REPLY that {error}") from error
        return packet

    def _check_data(self, packet: DataPart) -> None:
        request, _ = self._request(packet)
        if request.expects is not Expects.DATA:
            raise self._wrong_kind(packet, request.expects)
        size = len(packet.data) + packet.remaining
        if size > request.asked:
            raise self._parser.fail(f"sent {size} bytes where {request.asked} were asked for")

    def _wrong_kind(self, packet: Packet, expects: Expects) -> Exception:
        return self._parser.fail(f"answered with {_WORDS[type(packet)]} instead of {expects.value}")
