"""A local file on its way to a host, block by block."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator, Iterator

import gevent

from pssh.clients.base.files.source import BLOCK, Source


def blocks(source: Source, start: int) -> Generator[tuple[int, memoryview], None, None]:
    """Read a local file from an offset on.

    Where it is sent to one host only, what is on a memory file system is read piece by piece just
    before it is sent, and of what is not in memory each block while the one before is being sent.

    To be closed when it is not taken to its end (:func:`contextlib.closing`): a block that is
    being read uses the file.

    :param source: the file.
    :param start: the offset in bytes.
    :returns: an iterator over offsets and what is there. It ends early where the file has become
        shorter than it was when it was opened. One that is made up is read from its beginning to
        its end, wherever that is.
    :raises OSError: when the file cannot be read.
    """
    if source.is_made_up:
        yield from _to_the_end(source)
        return
    offset, size = start, source.size
    ahead: gevent.Greenlet | None = None
    try:
        while offset < size:
            # Where there are several hosts, others are being sent something meanwhile, and what is
            # read for one is there for another; ahead it would take the place of what that needs.
            alone = source.users <= 1
            piece = source.piece_in_memory(offset) if alone else None
            number, skipped = divmod(offset, BLOCK)
            if piece is not None:
                block, expected = memoryview(piece), len(piece)
            else:
                expected = min(BLOCK - skipped, size - offset)
                block = memoryview(source.block(number))[skipped : skipped + expected]
                if len(block) < expected:
                    return
                if alone and not source.in_memory and offset + expected < size:
                    ahead = gevent.spawn(_read_ahead, source, number + 1)
            if skipped + expected == BLOCK:
                # It begins, and others have their turn, however fast the host is.
                gevent.sleep(0)
            yield offset, block
            offset += expected
    finally:
        if ahead is not None:
            ahead.join()


def _to_the_end(source: Source) -> Iterator[tuple[int, memoryview]]:
    for number in itertools.count():
        block = source.block(number)
        if not block:
            return
        yield number * BLOCK, memoryview(block)


def _read_ahead(source: Source, number: int) -> None:
    # Who needs the block learns why it cannot be read.
    with contextlib.suppress(OSError):
        source.block(number)
