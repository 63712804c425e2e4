"""`pssh.sftp.replies`: what a server sends, byte by byte, and packets for the other tests.

The packets are put together here from the drafts, with nothing of the package but numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from pssh.sftp.attributes import Attributes
from pssh.sftp.fields import FieldError
from pssh.sftp.parser import Parser
from pssh.sftp.replies import (
    DataPart,
    ExtendedReply,
    FileAttributes,
    Handle,
    Name,
    Names,
    Packet,
    Status,
    StatVFS,
    Version,
    decode,
    decode_limits,
    decode_statvfs,
)


def string(data: bytes) -> bytes:
    """A string as in RFC 4251 section 5."""
    return struct.pack(">I", len(data)) + data


def packet(kind: int, content: bytes) -> bytes:
    """A packet with its length."""
    return struct.pack(">IB", len(content) + 1, kind) + content


def version(number: int = 3, extensions: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """SSH_FXP_VERSION."""
    pairs = b"".join(string(name) + string(data) for name, data in extensions)
    return packet(2, struct.pack(">I", number) + pairs)


def status(request_id: int, code: int, message: bytes = b"", language: bytes = b"") -> bytes:
    """SSH_FXP_STATUS."""
    content = struct.pack(">II", request_id, code) + string(message) + string(language)
    return packet(101, content)


def handle(request_id: int, value: bytes) -> bytes:
    """SSH_FXP_HANDLE."""
    return packet(102, struct.pack(">I", request_id) + string(value))


def data(request_id: int, content: bytes) -> bytes:
    """SSH_FXP_DATA."""
    return packet(103, struct.pack(">I", request_id) + string(content))


def names(request_id: int, entries: Sequence[bytes]) -> bytes:
    """SSH_FXP_NAME with names that have no attributes."""
    listed = b"".join(string(name) + string(b"") + bytes(4) for name in entries)
    return packet(104, struct.pack(">II", request_id, len(entries)) + listed)


def attributes(request_id: int, encoded: bytes) -> bytes:
    """SSH_FXP_ATTRS."""
    return packet(105, struct.pack(">I", request_id) + encoded)


def extended_reply(request_id: int, content: bytes) -> bytes:
    """SSH_FXP_EXTENDED_REPLY."""
    return packet(201, struct.pack(">I", request_id) + content)


#: By hand: what a server sends, and what it means.
EXACT: dict[str, tuple[bytes, Packet]] = {
    "version": (
        b"\0\0\0\x20\x02\0\0\0\3\0\0\0\x12limits@openssh.com\0\0\0\x011",
        Version(3, {b"limits@openssh.com": b"1"}),
    ),
    "version without extensions": (b"\0\0\0\5\x02\0\0\0\3", Version(3, {})),
    "status": (
        b"\0\0\0\x1d\x65\0\0\0\7\0\0\0\2\0\0\0\x0cNo such file\0\0\0\0",
        Status(7, 2, "No such file"),
    ),
    "status with a language": (
        b"\0\0\0\x15\x65\0\0\0\7\0\0\0\4\0\0\0\2No\0\0\0\2en",
        Status(7, 4, "No", "en"),
    ),
    "status without a language": (b"\0\0\0\x0f\x65\0\0\0\7\0\0\0\4\0\0\0\2No", Status(7, 4, "No")),
    "status without a message": (b"\0\0\0\x09\x65\0\0\0\7\0\0\0\0", Status(7, 0)),
    "status that is no UTF-8": (
        b"\0\0\0\x12\x65\0\0\0\7\0\0\0\0\0\0\0\1\xff\0\0\0\0",
        Status(7, 0, "�"),
    ),
    "handle": (b"\0\0\0\x0d\x66\1\2\3\4\0\0\0\4\0\0\0\5", Handle(0x01020304, b"\0\0\0\5")),
    "empty handle": (b"\0\0\0\x09\x66\1\2\3\4\0\0\0\0", Handle(0x01020304, b"")),
    "data": (b"\0\0\0\x0c\x67\0\0\0\7\0\0\0\3abc", DataPart(7, 0, memoryview(b"abc"), 0)),
    "no names": (b"\0\0\0\x09\x68\0\0\0\7\0\0\0\0", Names(7, [])),
    "names": (
        b"\0\0\0\x2b\x68\0\0\0\7\0\0\0\2"
        b"\0\0\0\1a\0\0\0\4-rw-\0\0\0\4\0\0\x81\xa4"
        b"\0\0\0\1\xff\0\0\0\0\0\0\0\0",
        Names(
            7,
            [
                Name(b"a", b"-rw-", Attributes(permissions=0o100644)),
                Name(b"\xff", b"", Attributes()),
            ],
        ),
    ),
    "attributes": (
        b"\0\0\0\x25\x69\0\0\0\7\0\0\0\x0f\0\0\0\1\0\0\0\2\0\0\3\xe8\0\0\0\x64\0\0\x41\xed"
        b"\x5e\0\0\0\x5f\0\0\0",
        FileAttributes(7, Attributes((1 << 32) + 2, 1000, 100, 0o40755, 0x5E000000, 0x5F000000)),
    ),
    "extended reply": (b"\0\0\0\x08\xc9\0\0\0\7abc", ExtendedReply(7, b"abc")),
    "empty extended reply": (b"\0\0\0\5\xc9\0\0\0\7", ExtendedReply(7, b"")),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_bytes(name: str) -> None:
    sent, meant = EXACT[name]
    assert list(Parser().feed(sent)) == [meant]


@pytest.mark.parametrize(
    "name",
    [
        *("status", "status with a language", "handle", "empty handle"),
        *("no names", "names", "attributes"),
    ],
)
def test_bytes_after_the_last_field_are_ignored(name: str) -> None:
    sent, meant = EXACT[name]
    longer = struct.pack(">I", len(sent) - 4 + 3) + sent[4:] + b"new"
    assert list(Parser().feed(longer)) == [meant]


@pytest.mark.parametrize("name", [name for name in EXACT if name != "data"])
def test_a_packet_cut_short_misses_a_field(name: str) -> None:
    sent, _ = EXACT[name]
    kind, content = sent[4], sent[5:]
    # Where the packet may end as well: optional fields, and what is taken as it is.
    complete = {
        "version": {4},
        "status": {8, 24},
        "status with a language": {8, 14},
        "status without a language": {8},
        "status that is no UTF-8": {8, 13},
        "extended reply": {4, 5, 6},
    }
    for length in range(len(content)):
        if length in complete.get(name, ()):
            decode(kind, content[:length])
        else:
            with pytest.raises(FieldError):
                decode(kind, content[:length])


def test_later_extension_data_wins() -> None:
    sent = version(3, [(b"a", b"1"), (b"a", b"2"), (b"", b"")])
    assert list(Parser().feed(sent)) == [Version(3, {b"a": b"2", b"": b""})]


def test_version_with_half_a_pair() -> None:
    with pytest.raises(FieldError, match="ends too early"):
        decode(2, struct.pack(">I", 3) + string(b"name"))


def test_handles_have_256_bytes_at_most() -> None:
    assert decode(102, struct.pack(">I", 1) + string(b"h" * 256)) == Handle(1, b"h" * 256)
    with pytest.raises(FieldError, match="257 bytes"):
        decode(102, struct.pack(">I", 1) + string(b"h" * 257))


@pytest.mark.parametrize("count", [3, 1000, 0xFFFFFFFF])
def test_more_names_announced_than_fit(count: int) -> None:
    listed = (string(b"") + string(b"") + bytes(4)) * 2
    with pytest.raises(FieldError, match=f"the {count} names"):
        decode(104, struct.pack(">II", 1, count) + listed)


def test_names_that_end_in_the_last_one() -> None:
    listed = string(b"a") + string(b"b") + bytes(4) + string(b"longer") + string(b"b") + bytes(3)
    with pytest.raises(FieldError, match="ends too early"):
        decode(104, struct.pack(">II", 1, 2) + listed)


def test_statvfs() -> None:
    reply = ExtendedReply(1, struct.pack(">11Q", *range(1, 12)) + b"more")
    found = decode_statvfs(reply)
    assert found == tuple(range(1, 12))
    assert (found.f_bsize, found.f_bavail, found.f_flag, found.f_namemax) == (1, 5, 10, 11)
    assert StatVFS._fields == (
        *("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree"),
        *("f_favail", "f_fsid", "f_flag", "f_namemax"),
    )


@pytest.mark.parametrize("length", [0, 1, 87])
def test_statvfs_cut_short(length: int) -> None:
    with pytest.raises(FieldError, match="ends too early"):
        decode_statvfs(ExtendedReply(1, bytes(length)))


@pytest.mark.parametrize("length", [0, 1, 31])
def test_limits_cut_short(length: int) -> None:
    with pytest.raises(FieldError, match="ends too early"):
        decode_limits(ExtendedReply(1, bytes(length)), 40000)


@pytest.mark.parametrize(
    ("code", "ok", "eof"), [(0, True, False), (1, False, True), (4, False, False)]
)
def test_what_a_status_says(code: int, ok: bool, eof: bool) -> None:
    assert (Status(1, code).is_ok, Status(1, code).is_eof) == (ok, eof)
