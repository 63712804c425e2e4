"""From chunks of bytes to lines. Pure."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from functools import cache


class ByteLines:
    """Splits chunks into lines of bytes without their ending (LF or CR LF).

    Each chunk is split once, whatever the number of lines in it; what follows the last
    line feed stays here for the next chunk.
    """

    __slots__ = ("_partial", "_partial_is_ascii")

    def __init__(self) -> None:
        self._partial: list[bytes] = []
        self._partial_is_ascii = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take a chunk and return the lines that it completes."""
        if b"\n" not in chunk:
            self._keep(chunk)
            return []
        lines = chunk.split(b"\n")
        has_cr = b"\r" in chunk
        if self._partial:
            # Only the first line is copied, not the chunk.
            self._partial.append(lines[0])
            lines[0] = b"".join(self._partial)
            has_cr = has_cr or lines[0].endswith(b"\r")
            self._forget()
        self._keep(lines.pop())
        if has_cr:
            lines = [line[:-1] if line.endswith(b"\r") else line for line in lines]
        return lines

    def feed_ascii(self, chunk: bytes) -> list[str] | None:
        """Take a chunk and return the lines that it completes, decoded.

        Decoding a chunk as a whole costs half of what decoding each of its lines does.

        :returns: ``None``, and the chunk is not taken, where one of the lines is not all ASCII.
        """
        if not self._partial_is_ascii or not chunk.isascii():
            return None
        if b"\n" not in chunk:
            self._keep(chunk)
            return []
        lines = _split_text(chunk.decode("ascii"))
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
        return map(self._decode_function(), lines)

    def _decode_function(self) -> Callable[[bytes], str]:
        encoding, errors = self._encoding or "utf-8", self._errors
        if errors == "strict" and encoding.lower() in ("utf-8", "utf8"):
            return bytes.decode  # The common case, without a Python function for each line.
        return lambda line: line.decode(encoding, errors)

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


#: From this length on finding each end of line is faster than Python's ``split``, which looks at
#: one character after the other: 1,000 characters take two thirds of the time.
_LONG_LINE = 500
#: So much tells how long the lines of a text are. To count them all would take as long as to split.
_SAMPLE = 4096


def _split_text(text: str) -> list[str]:
    """Split a text at its line feeds."""
    if text.count("\n", 0, _SAMPLE) * _LONG_LINE > min(_SAMPLE, len(text)):
        return text.split("\n")
    lines, start, find = [], 0, text.find
    while (end := find("\n", start)) >= 0:
        lines.append(text[start:end])
        start = end + 1
    lines.append(text[start:])
    return lines


def _without_carriage_returns(lines: Iterable[str]) -> list[str]:
    return [line[:-1] if line.endswith("\r") else line for line in lines]
