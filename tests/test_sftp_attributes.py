"""`pssh.sftp.attributes`: to bytes and back, and what the permissions say."""

from __future__ import annotations

import itertools
import stat
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pssh.sftp.attributes import Attributes, decode
from pssh.sftp.fields import FieldError

UINT32 = st.integers(0, 2**32 - 1)

#: Which groups of fields are there -> all that a packet can say.
GROUPS = ({"size": 1}, {"uid": 2, "gid": 3}, {"permissions": 4}, {"atime": 5, "mtime": 6})


def string(data: bytes) -> bytes:
    """A string as in RFC 4251 section 5."""
    return struct.pack(">I", len(data)) + data


@st.composite
def all_attributes(draw: st.DrawFn) -> Attributes:
    """Attributes with any of the groups of fields."""
    values = {}
    for group in GROUPS:
        if draw(st.booleans()):
            for name in group:
                values[name] = draw(st.integers(0, 2**64 - 1) if name == "size" else UINT32)
    return Attributes(**values)


@given(all_attributes(), st.binary(max_size=5), st.binary(max_size=5))
def test_there_and_back(attributes: Attributes, before: bytes, after: bytes) -> None:
    encoded = attributes.encode()
    found = decode(before + encoded + after, len(before))
    assert found == (attributes, len(before + encoded))


@pytest.mark.parametrize("present", list(itertools.product([False, True], repeat=4)))
def test_every_combination_of_groups(present: tuple[bool, ...]) -> None:
    values: dict[str, int] = {}
    content = b""
    for is_there, group in zip(present, GROUPS, strict=True):
        if is_there:
            values.update(group)
            form = ">Q" if "size" in group else ">I"
            content += b"".join(struct.pack(form, value) for value in group.values())
    flags = sum(1 << bit for bit, is_there in enumerate(present) if is_there)
    encoded = struct.pack(">I", flags) + content

    assert Attributes(**values).encode() == encoded
    assert decode(encoded, 0) == (Attributes(**values), len(encoded))
    for length in range(len(encoded)):
        with pytest.raises(FieldError, match="ends too early"):
            decode(encoded[:length], 0)


@given(all_attributes(), st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9))))
def test_extended_attributes_are_passed_over(
    attributes: Attributes, pairs: list[tuple[bytes, bytes]]
) -> None:
    encoded = attributes.encode()
    encoded = bytes([encoded[0] | 0x80]) + encoded[1:] + struct.pack(">I", len(pairs))
    encoded += b"".join(string(kind) + string(data) for kind, data in pairs)
    assert decode(encoded + b"next", 0) == (attributes, len(encoded))
    if pairs:
        with pytest.raises(FieldError):
            decode(encoded[:-1], 0)


def test_more_extended_attributes_announced_than_fit() -> None:
    encoded = b"\x80\0\0\0" + b"\xff\xff\xff\xff" + bytes(64)
    with pytest.raises(FieldError, match="ends too early"):
        decode(encoded, 0)


def test_unknown_flags_are_ignored() -> None:
    assert decode(b"\x40\0\1\x14\0\0\1\xa4", 0) == (Attributes(permissions=0o644), 8)


@pytest.mark.parametrize(
    ("incomplete", "names"),
    [
        (Attributes(uid=1), "uid and gid"),
        (Attributes(gid=0), "uid and gid"),
        (Attributes(size=1, atime=1), "atime and mtime"),
        (Attributes(uid=1, gid=1, mtime=0), "atime and mtime"),
    ],
)
def test_half_a_pair_cannot_be_sent(incomplete: Attributes, names: str) -> None:
    with pytest.raises(ValueError, match=f"SFTP sets {names} only together"):
        incomplete.encode()


@pytest.mark.parametrize(
    "impossible",
    [
        Attributes(size=-1),
        Attributes(size=2**64),
        Attributes(uid=2**32, gid=0),
        Attributes(permissions=-1),
        Attributes(atime=-1, mtime=0),
        Attributes(atime=0, mtime=2**32),
        Attributes(atime=0, mtime=1.5),  # type: ignore[arg-type]
    ],
)
def test_values_that_do_not_fit(impossible: Attributes) -> None:
    with pytest.raises(ValueError, match="SFTP version 3 cannot express Attributes"):
        impossible.encode()


@pytest.mark.parametrize(
    ("permissions", "kind", "mode"),
    [
        (None, None, None),
        (0, None, 0),
        (0o644, None, 0o644),
        (0o100644, stat.S_IFREG, 0o644),
        (0o107777, stat.S_IFREG, 0o7777),
        (0o040755, stat.S_IFDIR, 0o755),
        (0o120777, stat.S_IFLNK, 0o777),
        (0o010600, stat.S_IFIFO, 0o600),
        (0o020600, stat.S_IFCHR, 0o600),
        (0o060600, stat.S_IFBLK, 0o600),
        (0o140600, stat.S_IFSOCK, 0o600),
    ],
)
def test_type_and_mode(permissions: int | None, kind: int | None, mode: int | None) -> None:
    attributes = Attributes(permissions=permissions)
    assert attributes.file_type == kind
    assert attributes.mode == mode
    assert attributes.is_file == (kind == stat.S_IFREG)
    assert attributes.is_dir == (kind == stat.S_IFDIR)
    assert attributes.is_symlink == (kind == stat.S_IFLNK)
