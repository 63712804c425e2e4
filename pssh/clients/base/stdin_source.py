"""What a caller gives as standard input, in chunks."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import stat
from collections.abc import Iterable, Iterator
from typing import IO, Any

import gevent

from pssh.clients.base.threads import in_thread

#: A file, or anything else with ``read``, is read in blocks; else iteration gives the chunks.
StdinSource = str | bytes | Iterable[str | bytes] | IO[str] | IO[bytes]

BLOCK_SIZE = 256 * 1024
_READABLE = 1


def chunks_of(source: StdinSource | None, encoding: str | None) -> Iterator[bytes]:
    """Iterate over a source's chunks.

    :param source: text, bytes, an open file, or an iterable of text or bytes.
    :param encoding: how text is encoded.
    """
    codec = encoding or "utf-8"
    if source is None:
        return
    chunks: Iterable[str | bytes]
    if isinstance(source, str | bytes):
        chunks = [source]
    elif not hasattr(source, "read"):
        chunks = source
    elif (descriptor := _stream_descriptor(source)) is not None:
        chunks = _arriving(source, descriptor)
    else:
        chunks = _blocks(source)
    for chunk in chunks:
        yield chunk.encode(codec) if isinstance(chunk, str) else chunk


def _stream_descriptor(file: Any) -> int | None:
    """Return the descriptor of a file that somebody else writes: a pipe, a terminal, a socket."""
    if not isinstance(file, io.IOBase):
        # gevent's own files, for instance, do not block.
        return None
    try:
        descriptor = file.fileno()
    except OSError:
        return None
    mode = os.fstat(descriptor).st_mode
    waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)
    return descriptor if waits else None


def _blocks(file: Any) -> Iterator[str | bytes]:
    while True:
        if isinstance(file, io.BytesIO | io.StringIO) or not isinstance(file, io.IOBase):
            block = file.read(BLOCK_SIZE)
        else:
            block = in_thread(file.read, BLOCK_SIZE)
        if not block:
            return
        yield block


def _arriving(file: Any, descriptor: int) -> Iterator[str | bytes]:
    """Read what comes when it comes, at the loop's side and not in a thread.

    Python cannot end in peace while a thread waits in one of its files, such as ``sys.stdin``.
    """
    block, undecoded = _read_ahead(file, descriptor)
    if block:
        yield block
    decoder = None
    if hasattr(file, "encoding"):
        decoder = codecs.getincrementaldecoder(file.encoding)(file.errors or "strict")
        decoder.decode(undecoded)
    # Of our own: whoever has the file may close it at any time, and the loop must not wait for a
    # number that is another file's by then.
    ours = os.dup(descriptor)
    try:
        while data := _wait_and_read(ours):
            block = decoder.decode(data) if decoder is not None else data
            if block:
                yield block
    finally:
        os.close(ours)
    if decoder is not None:
        yield decoder.decode(b"", final=True)


def _wait_and_read(descriptor: int) -> bytes:
    hub = gevent.get_hub()
    watcher = hub.loop.io(descriptor, _READABLE)
    try:
        hub.wait(watcher)
    finally:
        watcher.close()
    return os.read(descriptor, BLOCK_SIZE)


def _read_ahead(file: Any, descriptor: int) -> tuple[str | bytes, bytes]:
    """Take what the file's object has read and not given out, which nothing but reading tells.

    :returns: that, and the bytes of a character that is not complete.
    """
    with _nothing_to_read(descriptor):
        if hasattr(file, "read1"):
            return file.read1(), b""
        if not hasattr(file, "encoding"):
            return b"", b""
        characters: list[str] = []
        try:
            # One at a time: those of a read that fails would be lost.
            while character := file.read(1):
                characters.append(character)
        except UnicodeDecodeError as ex:
            return "".join(characters), ex.object
        return "".join(characters), b""


@contextlib.contextmanager
def _nothing_to_read(descriptor: int) -> Iterator[None]:
    """For a moment, have a descriptor lead to a pipe in which nothing is, and never will be."""
    kept, (empty, writing) = os.dup(descriptor), os.pipe()
    inheritable = os.get_inheritable(descriptor)
    try:
        os.dup2(empty, descriptor, inheritable)
        os.set_blocking(descriptor, False)
        yield
    finally:
        os.dup2(kept, descriptor, inheritable)
        for each in (kept, empty, writing):
            os.close(each)
