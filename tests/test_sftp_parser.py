"""`pssh.sftp.parser`: packets from bytes, however they are cut and whatever they are."""

from __future__ import annotations

import itertools
import struct
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pssh.exceptions import SFTPProtocolError
from pssh.sftp.constants import MAX_PACKET
from pssh.sftp.parser import Parser
from pssh.sftp.replies import DataPart, Handle, Packet, Status
from tests.test_sftp_packets import (
    EXACT,
    attributes,
    data,
    extended_reply,
    handle,
    names,
    packet,
    status,
    string,
    version,
)

ID = st.integers(0, 2**32 - 1)
TEXT = st.binary(max_size=20)

#: Packets as a server may send them.
PACKETS = st.one_of(
    st.builds(version, st.integers(0, 5), st.lists(st.tuples(TEXT, TEXT), max_size=3)),
    st.builds(status, ID, st.integers(0, 40), TEXT, TEXT),
    st.builds(handle, ID, st.binary(max_size=256)),
    st.builds(data, ID, st.binary(min_size=1, max_size=60)),
    st.builds(names, ID, st.lists(TEXT, max_size=4)),
    st.builds(attributes, ID, st.sampled_from([bytes(4), b"\0\0\0\4\0\0\x81\xa4"])),
    st.builds(extended_reply, ID, TEXT),
)
STREAMS = st.lists(PACKETS, max_size=8).map(b"".join)
CUTS = st.lists(st.integers(0, 400), max_size=20)
#: What is changed in a stream: where, and what to put there.
CHANGES = st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=5)), min_size=1, max_size=4)

#: Small, so that lengths beyond it are not rare.
SMALL = 2000


def cut(content: bytes, places: list[int]) -> list[bytes]:
    """Cut bytes into chunks at places."""
    edges = [0, *sorted(min(place, len(content)) for place in places), len(content)]
    return [content[begin:end] for begin, end in itertools.pairwise(edges)]


def change(content: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    """Overwrite parts of a stream, and cut it off where there is nothing to write."""
    for place, new in changes:
        at = min(place, len(content))
        content = content[:at] + new + content[at + len(new) :] if new else content[:at]
    return content


class Taken:
    """What came out of a parser: packets, with the data of each reply joined."""

    def __init__(self, max_packet: int = SMALL) -> None:
        self.parser = Parser(max_packet, host="h", port=22)
        self.packets: list[Packet | tuple[int, bytes, int]] = []
        self.errors: list[SFTPProtocolError] = []
        self.max_packet = max_packet
        self._joined = b""

    def feed(self, chunk: bytes) -> None:
        """Feed, and check what must hold for every packet and part."""
        try:
            for each in self.parser.feed(chunk):
                if isinstance(each, DataPart):
                    self._part(each, chunk)
                else:
                    self.packets.append(each)
        except SFTPProtocolError as caught:
            self.errors.append(caught)
        for error in self.errors[-1:]:
            assert str(error) == self.error
            assert (error.host, error.port) == ("h", 22)
        assert self.parser.buffered <= self.max_packet + 4

    def _part(self, part: DataPart, chunk: bytes) -> None:
        assert part.data.obj is chunk
        assert len(part.data) > 0
        assert part.position == len(self._joined)
        self._joined += bytes(part.data)
        if self.packets and part.position:
            self.packets.pop()
        self.packets.append((part.request_id, self._joined, part.remaining))
        if not part.remaining:
            self._joined = b""

    @property
    def error(self) -> str | None:
        """The first error."""
        return str(self.errors[0]) if self.errors else None

    @property
    def result(self) -> tuple[object, object, bool]:
        """What must not depend on how the bytes were cut."""
        return self.packets, self.error, self.parser.in_packet


def taken(chunks: list[bytes], max_packet: int = SMALL) -> Taken:
    """Feed chunks."""
    found = Taken(max_packet)
    for chunk in chunks:
        found.feed(chunk)
    return found


def error_from(content: bytes, max_packet: int = SMALL) -> str:
    """What a parser says to some bytes."""
    error = taken([content], max_packet).error
    assert error is not None
    assert taken([content[i : i + 1] for i in range(len(content))], max_packet).error == error
    return error


@given(STREAMS, CUTS)
@settings(deadline=None)
def test_cuts_do_not_matter(stream: bytes, places: list[int]) -> None:
    whole = taken([stream])
    assert whole.error is None
    assert not whole.parser.in_packet
    assert taken(cut(stream, places)).result == whole.result


def test_every_cut_of_every_packet() -> None:
    stream = b"".join(sent for sent, _ in EXACT.values())
    whole = taken([stream])
    assert len(whole.packets) == len(EXACT)
    for place in range(len(stream) + 1):
        assert taken(cut(stream, [place])).result == whole.result
    for size in range(1, 30):
        places = list(range(0, len(stream), size))
        assert taken(cut(stream, places)).result == whole.result


@given(STREAMS, CHANGES, CUTS)
@settings(max_examples=300, deadline=None)
def test_cuts_do_not_matter_for_damaged_streams(
    stream: bytes, changes: list[tuple[int, bytes]], places: list[int]
) -> None:
    damaged = change(stream, changes)
    assert taken(cut(damaged, places)).result == taken([damaged]).result


@given(st.binary(max_size=300), CUTS)
@settings(deadline=None)
@example(b"\0\0\0\5\x67\0\0\0\0\0\0\0\0", [9])
@example(b"\0\0\0\x09\x68\0\0\0\0\xff\xff\xff\xff", [])
def test_garbage_is_refused_or_waits_for_more(garbage: bytes, places: list[int]) -> None:
    found = taken(cut(garbage, places))
    assert len(found.packets) <= len(garbage)
    assert found.result == taken([garbage]).result


@given(st.integers(0, 255), st.binary(max_size=100))
@settings(deadline=None)
def test_any_content_of_any_type(kind: int, content: bytes) -> None:
    sent = packet(kind, content)
    assert taken([sent[:5], sent[5:]]).result == taken([sent]).result


@pytest.mark.parametrize("chunk", [bytes, bytearray, memoryview])
def test_what_may_be_fed(chunk: type[bytes]) -> None:
    parts = list(Parser().feed(chunk(data(7, b"abc") + status(8, 0))))
    assert parts == [DataPart(7, 0, memoryview(b"abc"), 0), Status(8, 0)]


def test_data_comes_in_parts_as_it_arrives() -> None:
    parser = Parser()
    stream = data(7, b"abcdef") + data(8, b"x")
    assert list(parser.feed(stream[:13])) == []
    assert parser.in_packet
    assert list(parser.feed(stream[13:15])) == [DataPart(7, 0, memoryview(b"ab"), 4)]
    assert list(parser.feed(stream[15:18])) == [DataPart(7, 2, memoryview(b"cde"), 1)]
    assert list(parser.feed(b"")) == []
    assert list(parser.feed(stream[18:])) == [
        DataPart(7, 5, memoryview(b"f"), 0),
        DataPart(8, 0, memoryview(b"x"), 0),
    ]
    assert not parser.in_packet


def test_packets_come_as_soon_as_they_are_complete() -> None:
    parser = Parser()
    sent = handle(7, b"h")
    for at in range(len(sent) - 1):
        assert list(parser.feed(sent[at : at + 1])) == []
        assert parser.buffered == at + 1
    assert list(parser.feed(sent[-1:] + sent[:2])) == [Handle(7, b"h")]
    assert parser.buffered == 2


# What is refused, as soon as it can be known


@pytest.mark.parametrize("length", [0, 1, 4])
def test_packets_that_are_too_short(length: int) -> None:
    assert error_from(struct.pack(">I", length)) == (
        f"The SFTP server on host h:22 announced a packet of {length} bytes, where 5 is the least"
    )


@pytest.mark.parametrize("length", [SMALL + 1, 2**31, 2**32 - 1])
def test_packets_that_are_too_long(length: int) -> None:
    assert error_from(struct.pack(">I", length)) == (
        f"The SFTP server on host h:22 announced a packet of {length} bytes,"
        f" where {SMALL} is the most"
    )


def test_the_longest_packet() -> None:
    assert taken([data(7, bytes(SMALL - 9))]).error is None
    assert taken([extended_reply(7, bytes(SMALL - 5))]).error is None
    assert "is the most" in error_from(data(7, bytes(SMALL - 8)))
    assert MAX_PACKET == 257 * 1024
    assert taken([data(7, bytes(256 * 1024))], MAX_PACKET).error is None


def test_text_of_a_login_script() -> None:
    assert error_from(b"Welcome to web1!\n").endswith(
        ". Its first bytes are the text 'Welc': does a login script of the user print something?"
    )
    assert error_from(b"\x1b[1mHi").endswith(f"where {SMALL} is the most")
    assert error_from(status(1, 0) + b"Welcome").endswith(f"where {SMALL} is the most")


@pytest.mark.parametrize("kind", [0, 1, 3, 20, 100, 106, 200, 202, 255])
def test_packets_that_are_no_reply(kind: int) -> None:
    assert error_from(packet(kind, bytes(4))[:5]) == (
        f"The SFTP server on host h:22 sent a packet of type {kind}, which no reply has"
    )


@pytest.mark.parametrize("length", [5, 8])
def test_data_without_a_length(length: int) -> None:
    assert error_from(struct.pack(">IB", length, 103)) == (
        "The SFTP server on host h:22 sent an SSH_FXP_DATA that ends too early"
    )


@pytest.mark.parametrize("announced", [0, 9, 11, 2**32 - 1])
def test_data_that_does_not_fill_its_packet(announced: int) -> None:
    sent = packet(103, struct.pack(">II", 7, announced) + bytes(10))
    assert error_from(sent[:13]) == (
        "The SFTP server on host h:22 sent an SSH_FXP_DATA of 19 bytes that announces"
        f" {announced} bytes of data"
    )


def test_no_data() -> None:
    assert error_from(data(7, b"")) == (
        "The SFTP server on host h:22 answered a read with no data instead of SSH_FX_EOF"
    )


@pytest.mark.parametrize(
    ("kind", "name", "content"),
    [
        (2, "SSH_FXP_VERSION", bytes(4) + string(b"name")),
        (101, "SSH_FXP_STATUS", bytes(4)),
        (101, "SSH_FXP_STATUS", bytes(8) + b"\0\0\0\5word"),
        (102, "SSH_FXP_HANDLE", bytes(4) + b"\xff\xff\xff\xff"),
        (104, "SSH_FXP_NAME", bytes(4)),
        (105, "SSH_FXP_ATTRS", bytes(4) + b"\0\0\0\1" + bytes(7)),
    ],
)
def test_fields_beyond_the_packet(kind: int, name: str, content: bytes) -> None:
    assert error_from(packet(kind, content)) == (
        f"The SFTP server on host h:22 sent an {name} that ends too early"
    )


def test_what_came_before_an_error_is_not_lost() -> None:
    stream = status(1, 0) + data(2, b"abc") + b"\0\0\0\0" + status(3, 0)
    found = taken([stream])
    assert found.packets == [Status(1, 0), (2, b"abc", 0)]
    assert found.error is not None


def test_everything_is_refused_after_an_error() -> None:
    parser = Parser()
    with pytest.raises(SFTPProtocolError) as first:
        list(parser.feed(handle(1, b"h") + b"\0\0\0\0"))
    for _ in range(2):
        with pytest.raises(SFTPProtocolError) as again:
            parser.feed(status(1, 0))
        assert str(again.value) == str(first.value)
        assert again.value is not first.value
    with pytest.raises(SFTPProtocolError):
        parser.check()
    assert parser.buffered == 0
    assert str(first.value).startswith("The SFTP server announced a packet of 0 bytes")
    assert (first.value.host, first.value.port) == (None, None)


def test_the_packets_of_a_chunk_have_to_be_taken() -> None:
    parser = Parser()
    packets = parser.feed(status(1, 0) + status(2, 0))
    assert next(packets) == Status(1, 0)
    with pytest.raises(RuntimeError, match="not all been taken"):
        parser.feed(status(3, 0))
    assert list(packets) == [Status(2, 0)]
    assert list(parser.feed(status(3, 0))) == [Status(3, 0)]


# Memory


def peak_of(chunks: list[bytes], max_packet: int) -> int:
    """How much more memory is in use at most while chunks are fed, in bytes."""
    parser = Parser(max_packet)
    tracemalloc.start()
    try:
        for chunk in chunks:
            try:
                for _ in parser.feed(chunk):
                    pass
            except SFTPProtocolError:
                break
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_data_is_not_collected() -> None:
    reply = data(7, bytes(255 * 1024))
    stream = reply * 8
    chunks = [stream[at : at + 32768] for at in range(0, len(stream), 32768)]
    assert peak_of(chunks, MAX_PACKET) < 20_000


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack(">IBII", MAX_PACKET - 100, 104, 7, 2**32 - 1) + bytes(MAX_PACKET),
        struct.pack(">IBII", MAX_PACKET - 100, 104, 7, 21000) + bytes(MAX_PACKET),
        struct.pack(">IBI", MAX_PACKET - 100, 102, 7) + b"\xff" * MAX_PACKET,
        struct.pack(">IBI", MAX_PACKET, 2, 3) + bytes(MAX_PACKET - 5),
        struct.pack(">IBII", MAX_PACKET, 105, 7, 0xFFFFFFFF) + b"\xff" * MAX_PACKET,
        struct.pack(">I", 2**32 - 1) + bytes(MAX_PACKET * 4),
    ],
)
def test_no_packet_takes_much_more_than_its_length(sent: bytes) -> None:
    pieces = [sent[at : at + 1000] for at in range(0, len(sent), 1000)]
    # Joined, copied for reading, and a small object or two for every 12 bytes.
    assert peak_of(pieces, MAX_PACKET) < 30 * MAX_PACKET
    assert peak_of([sent], MAX_PACKET) < 30 * MAX_PACKET
