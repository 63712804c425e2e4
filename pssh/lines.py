"""From chunks of bytes to lines. Pure."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain, repeat


class ByteLines:
    """Splits chunks into lines of bytes without their ending (LF or CR LF).

    Each chunk is split once, whatever the number of lines in it; what follows the last
    line feed stays here for the next chunk.
    """

    __slots__ = ("_partial", "_partial_is_ascii")

    def __init__(self) -> None:
        self._partial: list[bytes] = []
        self._partial_is_ascii = True

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take a chunk and return the lines that it completes."""
        end = chunk.rfind(b"\n") + 1
        rest = chunk[end:]
        if not end:
            self._keep(rest)
            return iter(())
        start, first = 0, b""
        if self._partial:
            start = chunk.index(b"\n") + 1
            self._partial.append(chunk[:start])
            first = b"".join(self._partial)
            self._forget()
        self._keep(rest)
        has_cr = b"\r" in chunk or first.endswith(b"\r\n")
        lines = _split(chunk, start, rest)
        if first:
            lines = chain((first[:-1],), lines)
        if has_cr:
            return (line[:-1] if line.endswith(b"\r") else line for line in lines)
        return lines

    def feed_ascii(self, chunk: bytes) -> list[str] | None:
        """Take a chunk and return the lines that it completes, decoded.

        Decoding a chunk of short lines as a whole costs half of what decoding each of them does.

        :returns: ``None``, and the chunk is not taken, where the lines are not short, or one of
            them is not all ASCII.
        """
        if not self._partial_is_ascii or not _has_short_lines(chunk) or not chunk.isascii():
            return None
        lines = chunk.decode("ascii").split("\n")
        has_cr = b"\r" in chunk
        if self._partial:
            lines[0] = b"".join(self._partial).decode("ascii") + lines[0]
            has_cr = has_cr or lines[0].endswith("\r")
            self._forget()
        self._keep(lines.pop().encode("ascii"))
        return _without_carriage_returns(lines) if has_cr else lines

    def _keep(self, rest: bytes) -> None:
        """Keep the beginning of a line."""
        if rest:
            self._partial.append(rest)
            self._partial_is_ascii = self._partial_is_ascii and rest.isascii()

    def _forget(self) -> None:
        self._partial.clear()
        self._partial_is_ascii = True

    def finish(self) -> list[bytes]:
        """Return the last line where it had no line feed. A lone CR at its end stays."""
        if not self._partial:
            return []
        rest = b"".join(self._partial)
        self._forget()
        return [rest]

    @property
    def pending(self) -> bool:
        """Whether a line has begun."""
        return bool(self._partial)


class LineDecoder:
    """Splits chunks into decoded lines, in an encoding that may change from line to line.

    Lines are decoded when they are taken, so that one which does not decode raises and the
    next one can still be read, and a new encoding holds from the next line on.

    :param encoding: a Python codec's name, or ``None`` for lines of bytes.
    :param errors: the codec's error handler.
    :ivar lines: the decoded lines of what has been fed so far and not been taken.
    """

    __slots__ = (
        "_bytes",
        "_encoding",
        "_errors",
        "_extends_ascii",
        "_split",
        "_wide",
        "_wide_partial",
        "lines",
    )

    def __init__(self, encoding: str | None = "utf-8", errors: str = "strict") -> None:
        self._split = ByteLines()
        #: The lines that wait as bytes; ``None`` while they wait decoded, being ASCII.
        self._bytes: Iterator[bytes] | None = iter(())
        self.lines: Iterator[str | bytes] = self._bytes
        self._wide: codecs.IncrementalDecoder | None = None
        self._wide_partial = ""
        self._encoding = encoding
        self._errors = errors
        self._select()

    @property
    def encoding(self) -> str | None:
        """The codec that the next line is decoded with; ``None`` for bytes."""
        return self._encoding

    @encoding.setter
    def encoding(self, encoding: str | None) -> None:
        if encoding == self._encoding:
            return
        if self._bytes is None:
            self._bytes = iter([str(line).encode("ascii") for line in self.lines])
        self._encoding = encoding
        self._select()
        self.lines = self._decoded(self._bytes)

    def feed(self, chunk: bytes) -> None:
        """Add a chunk. Only when the lines so far have been taken."""
        if self._wide is not None:
            self._feed_wide(chunk, final=False)
            return
        lines = self._split.feed_ascii(chunk) if self._extends_ascii else None
        if lines is not None:
            self._bytes = None
            self.lines = iter(lines)
            return
        self._bytes = iter(self._split.feed(chunk))
        self.lines = self._decoded(self._bytes)

    def finish(self) -> None:
        """No more chunks: the last line is complete as it is."""
        if self._wide is not None:
            self._feed_wide(b"", final=True)
            return
        rest = self._split.finish()
        if rest:
            self._bytes = iter(rest)
            self.lines = self._decoded(self._bytes)

    def _select(self) -> None:
        """Choose how to split: a codec in which LF is not one byte is decoded first."""
        self._wide = None
        self._extends_ascii = self._encoding is not None and extends_ascii(self._encoding)
        if self._encoding is not None and is_wide(self._encoding):
            self._wide = codecs.getincrementaldecoder(self._encoding)(self._errors)

    def _decoded(self, lines: Iterator[bytes]) -> Iterator[str | bytes]:
        if self._encoding is None:
            return lines
        # All of it in C, without a Python function for each line.
        if self._errors == "strict" and self._encoding.lower() in ("utf-8", "utf8"):
            return map(bytes.decode, lines)
        return map(str, lines, repeat(self._encoding), repeat(self._errors))

    def _feed_wide(self, chunk: bytes, *, final: bool) -> None:
        assert self._wide is not None
        text = self._wide_partial + self._wide.decode(chunk, final)
        *lines, rest = text.split("\n")
        lines = _without_carriage_returns(lines)
        self._wide_partial = "" if final else rest
        if final and rest:
            lines.append(rest)
        self.lines = iter(lines)


@cache
def is_wide(encoding: str) -> bool:
    """Whether a line feed is more than the one byte in a codec.

    :param encoding: the codec's name.
    :raises LookupError: when there is no such codec.
    """
    return "a\n".encode(encoding) != b"a\n"


@cache
def extends_ascii(encoding: str) -> bool:
    """Whether the bytes of ASCII mean the same in a codec.

    :param encoding: the codec's name.
    """
    ascii_bytes = bytes(range(128))
    try:
        return ascii_bytes.decode(encoding) == ascii_bytes.decode("ascii")
    except UnicodeDecodeError:
        return False


#: From this length on it is faster to have a file in memory find the end of each line than to
#: have ``split`` look at one character after the other: 1,000 take two thirds of the time. The
#: lines are made one by one as they are taken, each where the last one was, in warm memory.
_LONG_LINE = 250
#: So much tells how long the lines of a chunk are. To count them all would take as long as to
#: split.
_SAMPLE = 4096


def _has_short_lines(chunk: bytes) -> bool:
    return chunk.count(b"\n", 0, _SAMPLE) * _LONG_LINE > min(_SAMPLE, len(chunk))


def _split(chunk: bytes, start: int, rest: bytes) -> Iterator[bytes]:
    """Split the whole lines of a chunk.

    :param start: where the first one begins.
    :param rest: what follows the last one.
    """
    if _has_short_lines(chunk):
        lines = chunk[start:].split(b"\n")
        lines.pop()
        return iter(lines)
    file = io.BytesIO(chunk)
    file.seek(start)
    # The rest is the only line without a line feed.
    return map(bytes.rstrip, iter(file.readline, rest), repeat(b"\n"))


def _without_carriage_returns(lines: Iterable[str]) -> list[str]:
    return [line[:-1] if line.endswith("\r") else line for line in lines]
