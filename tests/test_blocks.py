"""A local file on its way to hosts: blocks in order, and read before they are needed."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gevent
import pytest

from pssh.clients.base.files import page_cache
from pssh.clients.base.files.blocks import blocks
from pssh.clients.base.files.source import BLOCK, PIECE, Source, Sources
from pssh.clients.base.seam import as_bytes
from tests.contract.outputs import eventually

CONTENT = bytes(range(256)) * (3 * BLOCK // 256) + b"the end"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of a little more than three blocks."""
    made = tmp_path / "file"
    made.write_bytes(CONTENT)
    return made


@pytest.fixture
def reads(slow_disk: None, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of each block that is read."""
    found: list[int] = []
    pread = os.pread

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        found.append(offset // BLOCK)
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", counted)
    return found


def has(reads: list[int], count: int) -> bool:
    """Whether so many blocks have been read."""
    return len(reads) == count


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("start", [0, 5, BLOCK - 1, BLOCK, 3 * BLOCK + 1, len(CONTENT)])
def test_everything_in_order(
    path: Path, monkeypatch: pytest.MonkeyPatch, start: int, in_memory: bool
) -> None:
    # Wherever the test's own file is.
    monkeypatch.setattr(page_cache, "is_in_memory", lambda _: in_memory)
    size = PIECE if in_memory else BLOCK
    with Sources().open(str(path)) as source:
        found = list(blocks(source, start))
    assert b"".join(block for _, block in found) == CONTENT[start:]
    assert [offset for offset, _ in found] == [
        max(start, number * size)
        for number in range(start // size, len(CONTENT) // size + 1)
        if max(start, number * size) < len(CONTENT)
    ]
    # What is sent whole need not be copied.
    assert all(as_bytes(block) is block.obj for _, block in found) or not in_memory


def test_a_file_that_is_made_up_when_it_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fstat, pread = os.fstat, os.pread

    def without_a_size(descriptor: int) -> os.stat_result:
        return os.stat_result([*fstat(descriptor)[:6], 0, 1, 1, 1])

    def a_little(descriptor: int, size: int, offset: int) -> bytes:
        return pread(descriptor, min(size, 100_000), offset)

    monkeypatch.setattr(os, "fstat", without_a_size)
    monkeypatch.setattr(os, "pread", a_little)
    with Sources().open(str(path)) as source:
        found = list(blocks(source, 0))
    assert b"".join(block for _, block in found) == CONTENT
    assert [offset for offset, _ in found] == [number * BLOCK for number in range(4)]


def test_several_hosts_share_blocks_of_what_is_in_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_cache, "is_in_memory", lambda _: True)
    sources = Sources()
    with sources.open(str(path)) as source, sources.open(str(path)):
        assert [offset for offset, _ in blocks(source, 0)] == [n * BLOCK for n in range(4)]


def test_the_next_block_is_read_while_one_is_sent(path: Path, reads: list[int]) -> None:
    with Sources().open(str(path)) as source, contextlib.closing(blocks(source, 0)) as found:
        for number, _ in enumerate(found):
            count = min(number + 2, 4)
            eventually(partial(has, reads, count), "the next block to be read")
    assert reads == list(range(4))


def test_several_hosts_read_nothing_ahead(path: Path, reads: list[int]) -> None:
    sources = Sources()
    with sources.open(str(path)) as source, sources.open(str(path)):
        for number, _ in enumerate(blocks(source, 0)):
            gevent.idle()
            assert reads == list(range(number + 1))


@pytest.mark.usefixtures("slow_disk")
def test_it_stays_open_until_nothing_is_read_any_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    pread = os.pread

    def noted(descriptor: int, size: int, offset: int) -> bytes:
        data = pread(descriptor, size, offset)
        done.append(offset)
        return data

    monkeypatch.setattr(os, "pread", noted)
    with Sources().open(str(path)) as source:
        with contextlib.closing(blocks(source, 0)) as found:
            next(found)
        assert done == [0, BLOCK]


def fail(_descriptor: int, _size: int, offset: int) -> bytes:
    if offset:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return CONTENT[:BLOCK]


@pytest.mark.usefixtures("slow_disk")
def test_an_error_comes_where_it_belongs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pread", fail)
    with Sources().open(str(path)) as source:
        found = blocks(source, 0)
        assert bytes(next(found)[1]) == CONTENT[:BLOCK]
        with pytest.raises(OSError, match="Input/output error"):
            next(found)


@pytest.mark.parametrize(
    "shorten", [lambda path: os.truncate(path, 2 * BLOCK), lambda path: os.truncate(path, 5)]
)
def test_it_ends_where_the_file_ends_now(path: Path, shorten: Callable[[Path], None]) -> None:
    source = Source(str(path))
    shorten(path)
    size = path.stat().st_size // BLOCK * BLOCK
    assert b"".join(block for _, block in blocks(source, 0)) == CONTENT[:size]
    source.close()


def test_only_all_of_it_in_order_is_not_copied() -> None:
    data = b"abc"
    assert as_bytes(memoryview(data)) is data
    assert as_bytes(memoryview(data)[::-1]) == b"cba"
    assert as_bytes(memoryview(data)[1:]) == b"bc"
    assert as_bytes(memoryview(bytearray(data))) == b"abc"
