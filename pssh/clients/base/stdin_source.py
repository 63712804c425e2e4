"""What a caller gives as standard input, in chunks."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from pssh.clients.base.threads import in_thread

#: A file, or anything else with ``read``, is read in blocks; else iteration gives the chunks.
StdinSource = str | bytes | Iterable[str | bytes] | IO[str] | IO[bytes]

BLOCK_SIZE = 256 * 1024


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
    elif hasattr(source, "read"):
        chunks = _blocks(source)
    else:
        chunks = source
    for chunk in chunks:
        yield chunk.encode(codec) if isinstance(chunk, str) else chunk


def _blocks(file: Any) -> Iterator[str | bytes]:
    # What has come is passed on, rather than a whole block waited for, where a file can do so.
    read: Callable[[int], str | bytes | None] = getattr(file, "read1", file.read)
    while True:
        if isinstance(file, io.BytesIO | io.StringIO) or not isinstance(file, io.IOBase):
            # In memory, or cooperative: gevent's files cannot be used in a thread.
            block = read(BLOCK_SIZE)
        else:
            block = in_thread(read, BLOCK_SIZE, kind="stdin")
        if not block:
            return
        yield block
