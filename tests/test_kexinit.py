"""What a server names as methods of key exchange, however it comes."""

from __future__ import annotations

import pytest

from pssh.kexinit import KexInitReader

COOKIE = bytes(range(16))


def packet(payload: bytes, padding: int = 8) -> bytes:
    """A packet that is not encrypted (RFC 4253 section 6)."""
    length = 1 + len(payload) + padding
    return length.to_bytes(4, "big") + bytes([padding]) + payload + bytes(padding)


def kexinit(names: bytes, length: int | None = None) -> bytes:
    """An SSH_MSG_KEXINIT whose first list are these names, and may pretend to be longer."""
    size = len(names) if length is None else length
    return packet(b"\x14" + COOKIE + size.to_bytes(4, "big") + names + bytes(4 * 9 + 5))


IGNORE = packet(b"\x02" + b"\x14" * 30)


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize(
    "before",
    [b"", IGNORE, IGNORE * 2, bytes(4), b"\x00\x00\x00\x01\x00"],
    ids=["first", "ignored", "ignored twice", "no packet", "padding only"],
)
def test_it_is_found(size: int, before: bytes) -> None:
    reader = KexInitReader()
    said = before + kexinit(b"first,second") + kexinit(b"third")
    methods_at = len(before) + 4 + 1 + 1 + 16 + 4 + len(b"first,second")
    for start in range(0, len(said), size):
        reader.feed(said[start : start + size])
        complete = start + size >= methods_at
        assert reader.methods == ((b"first", b"second") if complete else None)


def test_a_list_that_goes_on_behind_its_packet() -> None:
    reader = KexInitReader()
    reader.feed(kexinit(b"ext-info-c,x", 1 << 31))
    assert reader.methods is not None
    assert reader.methods[0] == b"ext-info-c"
