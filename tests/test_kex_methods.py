"""`pssh.clients.native.kex_methods`: where a session keeps its list."""

from __future__ import annotations

import pytest

from pssh.clients.native.kex_methods import _difference

SIZE = 8
BEFORE = bytes(range(10 * SIZE))


def changed(*places: int) -> bytes:
    """What it is when there are other pointers at some places."""
    after = bytearray(BEFORE)
    for place in places:
        after[place : place + SIZE] = b"elsewhere"[:SIZE]
    return bytes(after)


@pytest.mark.parametrize("place", range(0, len(BEFORE), SIZE))
def test_one_place(place: int) -> None:
    assert _difference(BEFORE, changed(place)) == place


@pytest.mark.parametrize(
    "after", [BEFORE, b"", BEFORE + bytes(SIZE), changed(0, 9 * SIZE), changed(8, 16), changed(36)]
)
def test_no_place_or_several(after: bytes) -> None:
    assert _difference(BEFORE, after) is None
