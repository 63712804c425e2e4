"""`pssh.sftp.requests`: what is sent, byte by byte."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pssh.sftp import constants, requests
from pssh.sftp.attributes import Attributes
from pssh.sftp.requests import Expects, Request

MODE = Attributes(permissions=0o640)

#: By hand: a request, what follows the id in its packet, and what it is answered with.
EXACT: dict[str, tuple[Request, int, bytes, Expects]] = {
    "open": (
        requests.open_file(b"/f", 0x1A, MODE),
        3,
        b"\0\0\0\2/f\0\0\0\x1a\0\0\0\4\0\0\1\xa0",
        Expects.HANDLE,
    ),
    "open without attributes": (
        requests.open_file(b"\xff", constants.SSH_FXF_READ),
        3,
        b"\0\0\0\1\xff\0\0\0\1\0\0\0\0",
        Expects.HANDLE,
    ),
    "close": (requests.close(b"h\0"), 4, b"\0\0\0\2h\0", Expects.STATUS),
    "read": (
        requests.read(b"h", 0x0102030405060708, 0x8000),
        5,
        b"\0\0\0\1h\1\2\3\4\5\6\7\x08\0\0\x80\0",
        Expects.DATA,
    ),
    "write": (
        requests.write_header(b"h", 0x0102030405060708, 3),
        6,
        b"\0\0\0\1h\1\2\3\4\5\6\7\x08\0\0\0\3",
        Expects.STATUS,
    ),
    "lstat": (requests.lstat(b"/f"), 7, b"\0\0\0\2/f", Expects.ATTRIBUTES),
    "fstat": (requests.fstat(b"h"), 8, b"\0\0\0\1h", Expects.ATTRIBUTES),
    "setstat": (
        requests.setstat(b"/f", Attributes(size=5, uid=1, gid=2)),
        9,
        b"\0\0\0\2/f\0\0\0\3\0\0\0\0\0\0\0\5\0\0\0\1\0\0\0\2",
        Expects.STATUS,
    ),
    "fsetstat": (
        requests.fsetstat(b"h", Attributes(atime=1, mtime=0xFFFFFFFF)),
        10,
        b"\0\0\0\1h\0\0\0\x08\0\0\0\1\xff\xff\xff\xff",
        Expects.STATUS,
    ),
    "opendir": (requests.opendir(b"/d"), 11, b"\0\0\0\2/d", Expects.HANDLE),
    "readdir": (requests.readdir(b"h"), 12, b"\0\0\0\1h", Expects.NAMES),
    "remove": (requests.remove(b"/f"), 13, b"\0\0\0\2/f", Expects.STATUS),
    "mkdir": (
        requests.mkdir(b"/d", MODE),
        14,
        b"\0\0\0\2/d\0\0\0\4\0\0\1\xa0",
        Expects.STATUS,
    ),
    "mkdir without attributes": (
        requests.mkdir(b"/d"),
        14,
        b"\0\0\0\2/d\0\0\0\0",
        Expects.STATUS,
    ),
    "rmdir": (requests.rmdir(b"/d"), 15, b"\0\0\0\2/d", Expects.STATUS),
    "realpath": (requests.realpath(b"."), 16, b"\0\0\0\1.", Expects.ONE_NAME),
    "stat": (requests.stat(b"/f"), 17, b"\0\0\0\2/f", Expects.ATTRIBUTES),
    "rename": (
        requests.rename(b"/old", b"/n"),
        18,
        b"\0\0\0\4/old\0\0\0\2/n",
        Expects.STATUS,
    ),
    "readlink": (requests.readlink(b"/l"), 19, b"\0\0\0\2/l", Expects.ONE_NAME),
    # OpenSSH's order: what it points to, then the link.
    "symlink": (
        requests.symlink(target=b"to", link=b"/l"),
        20,
        b"\0\0\0\2to\0\0\0\2/l",
        Expects.STATUS,
    ),
    "posix-rename": (
        requests.posix_rename(b"/old", b"/n"),
        200,
        b"\0\0\0\x18posix-rename@openssh.com\0\0\0\4/old\0\0\0\2/n",
        Expects.STATUS,
    ),
    "statvfs": (
        requests.statvfs(b"/f"),
        200,
        b"\0\0\0\x13statvfs@openssh.com\0\0\0\2/f",
        Expects.STATVFS,
    ),
    "fstatvfs": (
        requests.fstatvfs(b"h"),
        200,
        b"\0\0\0\x14fstatvfs@openssh.com\0\0\0\1h",
        Expects.STATVFS,
    ),
    "hardlink": (
        requests.hardlink(b"/old", b"/n"),
        200,
        b"\0\0\0\x14hardlink@openssh.com\0\0\0\4/old\0\0\0\2/n",
        Expects.STATUS,
    ),
    "fsync": (requests.fsync(b"h"), 200, b"\0\0\0\x11fsync@openssh.com\0\0\0\1h", Expects.STATUS),
    "limits": (requests.limits(), 200, b"\0\0\0\x12limits@openssh.com", Expects.LIMITS),
    "lsetstat": (
        requests.lsetstat(b"/l", MODE),
        200,
        b"\0\0\0\x14lsetstat@openssh.com\0\0\0\2/l\0\0\0\4\0\0\1\xa0",
        Expects.STATUS,
    ),
    "any extension": (
        requests.extended(b"x@y", b"abc", Expects.EXTENDED),
        200,
        b"\0\0\0\3x@yabc",
        Expects.EXTENDED,
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_bytes(name: str) -> None:
    request, kind, body, expects = EXACT[name]
    payload = 3 if name == "write" else 0
    head = struct.pack(">IBI", 5 + len(body) + payload, kind, 0x01020304)

    assert request.packet(0x01020304) == head + body
    assert request.length == len(head + body) - 4 + payload
    assert request.expects is expects


def test_whole_packets() -> None:
    assert requests.init() == b"\0\0\0\5\1\0\0\0\3"
    assert requests.close(b"ab").packet(7) == b"\0\0\0\x0b\4\0\0\0\7\0\0\0\2ab"
    # The length counts the data, which is not there.
    assert requests.write_header(b"ab", 1, 4).packet(0xFFFFFFFF) == (
        b"\0\0\0\x1b\6\xff\xff\xff\xff\0\0\0\2ab\0\0\0\0\0\0\0\1\0\0\0\4"
    )


def test_open_flags() -> None:
    flags = [getattr(constants, f"SSH_FXF_{name}") for name in ("READ", "WRITE", "APPEND")]
    flags += [getattr(constants, f"SSH_FXF_{name}") for name in ("CREAT", "TRUNC", "EXCL")]
    assert flags == [1, 2, 4, 8, 16, 32]


def test_what_a_request_remembers_of_its_data() -> None:
    assert requests.read(b"h", 0, 100).asked == 100
    assert requests.read(b"h", 0, 100).payload == 0
    assert requests.write_header(b"h", 0, 100).payload == 100
    assert requests.write_header(b"h", 0, 100).asked == 0


@given(st.binary(max_size=300), st.integers(0, 2**64 - 2**32), st.integers(1, 2**32 - 1))
def test_any_part_of_a_file(handle: bytes, offset: int, length: int) -> None:
    for request in (
        requests.read(handle, offset, length),
        requests.write_header(handle, offset, length),
    ):
        size = int.from_bytes(request.body[:4], "big")
        assert request.body[4 : 4 + size] == handle
        assert struct.unpack(">QI", request.body[4 + size :]) == (offset, length)


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 0), (0, -1), (-1, 1), (2**64 - 1, 2), (2**64, 1), (0, 2**32)],
)
def test_no_part_of_a_file(offset: int, length: int) -> None:
    with pytest.raises(ValueError, match=f"{length} bytes"):
        requests.read(b"h", offset, length)
    with pytest.raises(ValueError, match=f"{length} bytes"):
        requests.write_header(b"h", offset, length)


def test_the_last_byte_of_the_longest_file() -> None:
    assert requests.read(b"", 2**64 - 1, 1).body.endswith(b"\xff" * 8 + b"\0\0\0\1")
