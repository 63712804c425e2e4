"""`pssh.sftp.limits`: what is made of what a server says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pssh.sftp.constants import MAX_PACKET
from pssh.sftp.limits import DEFAULT_LIMITS, Limits

KIB = 1024
UINT64 = st.one_of(st.integers(0, 10), st.integers(0, 2**19), st.integers(0, 2**64 - 1))


def test_before_a_server_said_anything() -> None:
    assert DEFAULT_LIMITS == (34000, 32768, 32768, None)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        # OpenSSH
        ((262144, 261120, 261120, 1019), Limits(262144, 261120, 261120, 1019)),
        ((34000, 32768, 32768, 20), Limits(34000, 32768, 32768, 20)),
        # No limit: ours.
        ((0, 0, 0, 0), Limits(MAX_PACKET, 256 * KIB, 256 * KIB, None)),
        ((0, 65536, 0, 0), Limits(MAX_PACKET, 65536, 256 * KIB, None)),
        # More than ours.
        (
            (2**64 - 1, 2**64 - 1, 2**63, 2**64 - 1),
            Limits(MAX_PACKET, 256 * KIB, 256 * KIB, 2**64 - 1),
        ),
        ((1 << 30, 1 << 29, 1 << 29, 5), Limits(MAX_PACKET, 256 * KIB, 256 * KIB, 5)),
        # Data that would not fit into the server's packets.
        ((40000, 65536, 65536, 5), Limits(40000, 38976, 38976, 5)),
        # Less than anybody can work with.
        ((1, 1, 1, 1), Limits(2 * KIB, KIB, KIB, 1)),
        ((100000, 7, 4096, 1), Limits(100000, KIB, 4096, 1)),
    ],
)
def test_what_a_server_says(said: tuple[int, int, int, int], meant: Limits) -> None:
    assert Limits.from_server(*said, max_packet=MAX_PACKET) == meant


@given(UINT64, UINT64, UINT64, UINT64, st.integers(34000, 2**20))
def test_nothing_is_beyond_what_can_be_done(
    packet: int, read: int, write: int, handles: int, ours: int
) -> None:
    limits = Limits.from_server(packet, read, write, handles, max_packet=ours)
    assert 2 * KIB <= limits.max_packet <= ours
    for data in (limits.max_read, limits.max_write):
        assert KIB <= data <= limits.max_packet - KIB
    assert limits.max_handles is None or limits.max_handles > 0
