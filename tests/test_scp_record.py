"""`pssh.scp.record`: exact bytes, and the limits of what is taken from a server."""

from __future__ import annotations

import contextlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pssh.exceptions import SCPError
from pssh.local_path import is_safe_name
from pssh.scp.record import (
    MAX_SIZE,
    Entry,
    Times,
    directory_record,
    excerpt,
    file_record,
    is_fatal,
    message,
    parse_entry,
    parse_message,
    parse_times,
    printable,
    times_record,
)


def test_exact_bytes() -> None:
    assert file_record(b"a b", 0o644, 12) == b"C0644 12 a b\n"
    assert file_record(b"\xff'\"", 0o4, 0) == b"C0004 0 \xff'\"\n"
    assert file_record(b"x", 0o4755, MAX_SIZE) == b"C4755 9223372036854775807 x\n"
    assert directory_record(b"d", 0o700) == b"D0700 0 d\n"
    assert times_record(Times(1_500_000_999, 7 * 10**9)) == b"T1 500000 7 0\n"
    assert times_record(Times(-1, -(10**10))) == b"T0 0 0 0\n"
    assert message("no\nspace\x1b") == b"\1scp: no\\nspace\\x1b\n"
    assert message("é\udcff") == b"\1scp: \xc3\xa9\\udcff\n"


def test_a_message_is_short_enough_for_everybody() -> None:
    assert len(message("x" * 5000)) < 2048


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0", b"a\nb", b"n" * 2040])
def test_names_that_no_record_carries(name: bytes) -> None:
    with pytest.raises(SCPError, match="SCP cannot carry a name"):
        file_record(name, 0o644, 0)
    with pytest.raises(SCPError, match="SCP cannot carry a name"):
        directory_record(name, 0o755)


def test_what_is_no_file() -> None:
    for mode, size in ((0o100644, 0), (-1, 0), (0o644, -1), (0o644, MAX_SIZE + 1)):
        with pytest.raises(ValueError, match="No file has"):
            file_record(b"a", mode, size)


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        (b"C0644 12 a b", Entry(0o644, 12, b"a b")),
        (b"C644 0 a", Entry(0o644, 0, b"a")),
        (b"C06755 0 a", Entry(0o6755, 0, b"a")),
        (b"D0755 0 ", Entry(0o755, 0, b"")),
        (b"C0644 9223372036854775807  \r\xff\0", Entry(0o644, MAX_SIZE, b" \r\xff\0")),
    ],
)
def test_parse_entry(line: bytes, entry: Entry) -> None:
    assert parse_entry(line) == entry


@pytest.mark.parametrize(
    "line",
    [
        b"C",
        b"C0644",
        b"C0644 1",
        b"C0644 1a",
        b"C0648 1 a",
        b"C17777 1 a",
        b"C077777 1 a",
        b"C44 1 a",
        b"C-644 1 a",
        b"C0644 -1 a",
        b"C0644 +1 a",
        b"C0644 1_0 a",
        b"C0644  1 a",
        b"C 0644 1 a",
        b"C0644 0x1 a",
        b"C0644 9223372036854775808 a",
        b"C0644 " + b"9" * 4000 + b" a",
        "C0644 \uff11 a".encode(),
    ],
)
def test_malformed_entries(line: bytes) -> None:
    with pytest.raises(SCPError, match=r"The server sent an? .*SCP record"):
        parse_entry(line)


def test_parse_times() -> None:
    assert parse_times(b"T1 500000 7 0") == Times(1_500_000_000, 7 * 10**9)


def test_all_times_that_are_taken_can_be_set(tmp_path: os.PathLike[str]) -> None:
    times = parse_times(b"T9223372036854775807 999999 9223372036854775807 999999")
    os.utime(tmp_path, ns=(times.accessed, times.modified))


@pytest.mark.parametrize(
    "line",
    [
        b"T",
        b"T1 0 1",
        b"T1 0 1 0 ",
        b"T-1 0 1 0",
        b"T1 1000000 1 0",
        b"T9223372036854775808 0 1 0",
        b"T1 0 9223372036854775808 0",
        b"T1.5 0 1 0",
    ],
)
def test_malformed_times(line: bytes) -> None:
    with pytest.raises(SCPError, match=r"The server sent an? .*SCP record"):
        parse_times(line)


def test_messages() -> None:
    assert parse_message(b"\1scp: /a: No such file\r") == "/a: No such file"
    assert parse_message(b"\1something") == "something"
    assert parse_message(b"\2") == "no reason given"
    assert parse_message(b"\1a\x1b[31m\xff\n\xc3\xa9") == "a\\x1b[31m\\xff\\né"
    assert not is_fatal(b"\1")
    assert is_fatal(b"\2")


def test_excerpt() -> None:
    assert excerpt(b"a\n") == r"'a\n'"
    assert excerpt(b"a" * 300) == "'" + "a" * 200 + "' …"


@given(st.binary())
def test_printable(data: bytes) -> None:
    assert printable(data).isprintable()
    assert printable(data).encode("utf-8") is not None


NAMES = st.binary(min_size=1, max_size=50).filter(lambda n: is_safe_name(n) and b"\n" not in n)


@given(NAMES, st.integers(0, 0o7777), st.integers(0, MAX_SIZE))
def test_what_is_made_is_read_back(name: bytes, mode: int, size: int) -> None:
    assert parse_entry(file_record(name, mode, size)[:-1]) == Entry(mode, size, name)
    assert parse_entry(directory_record(name, mode)[:-1]) == Entry(mode, 0, name)


@given(st.integers(0, 2**60), st.integers(0, 2**60))
def test_times_are_read_back(modified: int, accessed: int) -> None:
    times = Times(modified * 1000, accessed * 1000)
    assert parse_times(times_record(times)[:-1]) == times


@given(st.binary(max_size=80))
def test_garbage(data: bytes) -> None:
    for parse in (parse_entry, parse_times):
        with contextlib.suppress(SCPError):
            parse(data)
