"""`pssh.clients.base.stdin_source`: all of a file is sent, as it comes, and nothing twice."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import gevent
import pytest
from gevent.queue import Queue

from pssh.clients.base.stdin_source import StdinSource, chunks_of


class Pipe:
    """A pipe: what is written, and the chunks that are read of a file at its other end."""

    def __init__(self, mode: str, **options: Any) -> None:
        descriptor, self._writing = os.pipe()
        self.file: IO[Any] = open(descriptor, mode, **options)  # noqa: SIM115 (see `pipe`)
        self.chunks: Queue[bytes | None] = Queue()

    def write(self, data: bytes) -> None:
        os.write(self._writing, data)

    def read(self, encoding: str) -> gevent.Greenlet:
        """Put chunks into the queue, and ``None`` at the end."""
        return gevent.spawn(self._read, encoding)

    def _read(self, encoding: str) -> None:
        for chunk in chunks_of(self.file, encoding):
            self.chunks.put(chunk)
        self.chunks.put(None)

    def next(self) -> bytes | None:
        chunk: bytes | None = self.chunks.get(timeout=20)
        return chunk

    def end(self) -> None:
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1


@contextmanager
def pipe(mode: str, **options: Any) -> Iterator[Pipe]:
    made = Pipe(mode, **options)
    with made.file:
        yield made
        made.end()


@pytest.mark.parametrize("options", [{}, {"buffering": 0}])
def test_bytes_from_a_pipe(options: dict[str, Any]) -> None:
    with pipe("rb", **options) as source:
        source.write(b"one\n")
        source.read("utf-8")
        assert source.next() == b"one\n"
        source.write(b"two")
        assert source.next() == b"two"
        source.end()
        assert source.next() is None


def test_what_the_file_has_read_already_comes_first() -> None:
    with pipe("rb") as source:
        source.write(b"one\ntwo\nthr")
        assert source.file.readline() == b"one\n"
        source.read("utf-8")
        assert source.next() == b"two\nthr"
        source.write(b"ee")
        assert source.next() == b"ee"
        source.end()
        assert source.next() is None
        assert os.get_blocking(source.file.fileno())


@pytest.mark.parametrize("cut", range(4))
def test_text_from_a_pipe(cut: int) -> None:
    """Whatever of a character has come when the text is passed on."""
    character = "€"
    encoded = character.encode()
    with pipe("r", encoding="utf-8") as source:
        source.write(b"one\ntwo " + encoded[:cut])
        assert source.file.readline() == "one\n"
        reading = source.read("utf-16-le")
        gevent.sleep(0)
        source.write(encoded[cut:] + b"\n")
        source.end()
        reading.join(timeout=20)
        chunks = [source.next() for _ in range(len(source.chunks) - 1)]
        assert b"".join(filter(None, chunks)).decode("utf-16-le") == f"two {character}\n"


def test_a_file_that_is_closed_meanwhile() -> None:
    with pipe("rb") as source:
        reading = source.read("utf-8")
        gevent.sleep(0)
        source.file.close()
        source.write(b"still read")
        source.end()
        assert source.next() == b"still read"
        assert source.next() is None
        reading.get()


def test_text_that_is_none_is_an_error() -> None:
    with pipe("r", encoding="utf-8") as source:
        source.write(b"\xff")
        source.end()
        with pytest.raises(UnicodeDecodeError):
            list(chunks_of(source.file, "utf-8"))


def test_other_sources(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xe9" * 1_000_000)
    sources: list[tuple[StdinSource | None, str, bytes]] = [
        (None, "utf-8", b""),
        ("é", "latin-1", b"\xe9"),
        (b"\xff", "utf-8", b"\xff"),
        (["é", b"\xff"], "utf-8", b"\xc3\xa9\xff"),
        (io.StringIO("é"), "utf-8", b"\xc3\xa9"),
        (io.BytesIO(b"\xff"), "utf-8", b"\xff"),
    ]
    with path.open("rb") as binary, path.open(encoding="latin-1") as text, open(os.devnull) as null:
        sources += [
            (binary, "utf-8", b"\xe9" * 1_000_000),
            (text, "utf-8", b"\xc3\xa9" * 1_000_000),
            (null, "utf-8", b""),
        ]
        for source, encoding, expected in sources:
            assert b"".join(chunks_of(source, encoding)) == expected
