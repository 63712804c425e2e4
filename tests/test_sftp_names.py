"""`pssh.sftp.names`: any name of a server survives being text."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pssh.sftp.names import decode_name, encode_path, is_entry_name, printable


@given(st.binary().filter(lambda name: b"\0" not in name), st.sampled_from(["utf-8", "ascii"]))
def test_any_bytes_survive(name: bytes, encoding: str) -> None:
    assert encode_path(decode_name(name, encoding), encoding) == name


@given(st.binary().filter(lambda name: b"\0" not in name))
def test_any_bytes_survive_in_an_encoding_with_a_byte_for_each_character(name: bytes) -> None:
    assert encode_path(decode_name(name, "iso-8859-1"), "iso-8859-1") == name


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_text_survives(path: str) -> None:
    assert encode_path(path) == path.encode("utf-8")
    assert decode_name(encode_path(path)) == path


def test_what_a_path_may_be() -> None:
    assert encode_path("ä b") == b"\xc3\xa4 b"
    assert encode_path("ä b", "iso-8859-1") == b"\xe4 b"
    assert encode_path(b"\xff\xfe") == b"\xff\xfe"
    assert encode_path("\udcff") == b"\xff"
    assert encode_path(PurePosixPath("/a/b")) == b"/a/b"
    assert encode_path("") == b""


@pytest.mark.parametrize("path", ["a\0b", b"a\0b", "\0"])
def test_null_bytes_are_refused(path: str | bytes) -> None:
    with pytest.raises(ValueError, match="null byte"):
        encode_path(path)


def test_what_cannot_be_encoded() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode_path("\ud800")
    with pytest.raises(UnicodeEncodeError):
        encode_path("€", "iso-8859-1")
    with pytest.raises(TypeError):
        encode_path(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", [b"a", b"...", b"..a", b" ", b"\n", b"\xff", b"-rf", b"a\\b", b"~"]
)
def test_names_that_stay_in_the_directory(name: bytes) -> None:
    assert is_entry_name(name)


@pytest.mark.parametrize(
    "name",
    [b"", b".", b"..", b"/", b"/etc/passwd", b"../x", b"a/../../x", b"a/", b"a/b", b"a\0", b"\0"],
)
def test_names_that_lead_elsewhere(name: bytes) -> None:
    assert not is_entry_name(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/plain path/ä€", "/plain path/ä€"),
        (b"/b\xc3\xa4", "/bä"),
        (b"/bad\xff\x80", "/bad\\xff\\x80"),
        ("/bad\udcff", "/bad\\xff"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\ud800", "\\ud800"),
        ("", ""),
    ],
)
def test_printable(text: str | bytes, shown: str) -> None:
    assert printable(text) == shown


@given(st.one_of(st.binary(), st.text()))
def test_everything_can_be_printed(text: str | bytes) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode("utf-8")
