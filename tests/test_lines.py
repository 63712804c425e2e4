"""`pssh.lines`: from chunks to lines, however the chunks are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pssh.lines import ByteLines, LineDecoder, is_wide

#: Bytes in which what matters for lines is frequent.
DATA = st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"\xff", b"\0", b"xyz"])).map(
    b"".join
)
TEXT = st.text(alphabet=st.sampled_from("aé€😀Ċ\n\r\x85\u2028"))
CUTS = st.lists(st.integers(min_value=0, max_value=200), max_size=8)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut bytes into chunks at places."""
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


def expected(data: bytes) -> list[bytes]:
    """The lines of all bytes together: each without its LF or CR LF."""
    parts = data.split(b"\n")
    last = parts.pop()
    lines = [part[:-1] if part.endswith(b"\r") else part for part in parts]
    return [*lines, last] if last else lines


@given(DATA, CUTS)
def test_chunks_do_not_matter(data: bytes, places: list[int]) -> None:
    split = ByteLines()
    lines = [line for chunk in cut(data, places) for line in split.feed(chunk)]
    assert split.pending == (not data.endswith(b"\n") and data != b"")
    assert [*lines, *split.finish()] == expected(data)
    assert not split.pending
    assert split.finish() == []


@given(st.lists(st.integers(0, 3000), min_size=1), st.booleans(), st.integers(1, 5000))
def test_long_lines_and_short_ones(lengths: list[int], has_cr: bool, size: int) -> None:
    """Chunks of long lines are split in another way than those of short ones."""
    wanted = ["x" * length for length in lengths]
    data = ("\r\n" if has_cr else "\n").join([*wanted, "the rest"]).encode()
    decoder = LineDecoder()
    lines: list[str | bytes] = []
    for start in range(0, len(data), size):
        decoder.feed(data[start : start + size])
        lines += decoder.lines
    decoder.finish()
    lines += decoder.lines

    assert lines == [*wanted, "the rest"]


def test_lines_come_as_soon_as_they_are_complete() -> None:
    split = ByteLines()
    assert list(split.feed(b"one\ntw")) == [b"one"]
    assert list(split.feed(b"o")) == []
    assert list(split.feed(b"\r")) == []
    assert list(split.feed(b"\n\nthree")) == [b"two", b""]
    assert split.finish() == [b"three"]


def test_only_line_feeds_end_lines() -> None:
    split = ByteLines()
    assert list(split.feed("a\rb\fc\vd\x1ce\x85f\u2028g\n".encode())) == [
        "a\rb\fc\vd\x1ce\x85f\u2028g".encode()
    ]


@given(DATA, CUTS)
def test_decoder_gives_bytes(data: bytes, places: list[int]) -> None:
    decoder = LineDecoder(None)
    assert read(decoder, cut(data, places)) == expected(data)


@given(
    TEXT,
    CUTS,
    st.sampled_from(["utf-8", "utf8", "UTF-8", "utf-16", "utf-16-be", "utf-32", "utf-32-le"]),
)
def test_decoder_gives_text(text: str, places: list[int], encoding: str) -> None:
    decoder = LineDecoder(encoding)
    chunks = cut(text.encode(encoding), places)
    assert read(decoder, chunks) == [line.decode() for line in expected(text.encode("utf-8"))]


@given(st.binary(), CUTS)
def test_every_byte_is_a_latin_1_character(data: bytes, places: list[int]) -> None:
    assert read(LineDecoder("latin-1"), cut(data, places)) == [
        line.decode("latin-1") for line in expected(data)
    ]


@given(DATA, CUTS)
def test_an_error_handler(data: bytes, places: list[int]) -> None:
    assert read(LineDecoder("utf-8", "replace"), cut(data, places)) == [
        line.decode("utf-8", "replace") for line in expected(data)
    ]


@given(DATA)
def test_a_line_that_does_not_decode_costs_no_other(data: bytes) -> None:
    decoder = LineDecoder("utf-8")
    found: list[object] = []
    decoder.feed(data)
    take_all(decoder, found)
    decoder.finish()
    take_all(decoder, found)
    assert found == [line if b"\xff" in line else line.decode() for line in expected(data)]


def take_all(decoder: LineDecoder, found: list[object]) -> None:
    """Take the lines, and the bytes of those that do not decode."""
    while True:
        try:
            for line in decoder.lines:
                found.append(line)
        except UnicodeDecodeError as ex:
            found.append(ex.object)
        else:
            return


def test_encoding_changes_with_the_next_line() -> None:
    decoder = LineDecoder("utf-8")
    decoder.feed(b"\xc3\xa9\n\xe9\n\xff\n\xe9")
    assert next(decoder.lines) == "é"
    decoder.encoding = "latin-1"
    assert decoder.encoding == "latin-1"
    assert next(decoder.lines) == "é"
    decoder.encoding = None
    assert list(decoder.lines) == [b"\xff"]
    decoder.encoding = "latin-1"
    decoder.finish()
    assert list(decoder.lines) == ["é"]


@pytest.mark.parametrize(
    ("encoding", "wide"),
    [
        ("utf-8", False),
        ("latin-1", False),
        ("shift_jis", False),
        ("utf-16", True),
        ("utf-16-le", True),
        ("utf-32", True),
        ("utf-8-sig", True),
    ],
)
def test_is_wide(encoding: str, wide: bool) -> None:
    assert is_wide(encoding) is wide


def test_a_codec_that_does_not_exist() -> None:
    with pytest.raises(LookupError):
        is_wide("no-such-codec")


def read(decoder: LineDecoder, chunks: list[bytes]) -> list[str | bytes]:
    """Feed chunks to a decoder and take all lines."""
    lines: list[str | bytes] = []
    for chunk in chunks:
        decoder.feed(chunk)
        lines += decoder.lines
    decoder.finish()
    return [*lines, *decoder.lines]
