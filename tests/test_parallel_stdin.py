"""`pssh.clients.base.parallel_stdin`: read once, complete for each host, and small in memory."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import gevent
import pytest

from pssh.clients.base import parallel_stdin
from pssh.clients.base.parallel_stdin import SharedStdin, SharedStdinReader, for_each_host
from pssh.clients.base.stdin_source import StdinSource
from pssh.exceptions import StoppedError

MEMORY = 1000


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """So little stays in memory, and in a file, that small sources do for the tests."""
    monkeypatch.setattr(parallel_stdin, "MEMORY_SIZE", MEMORY)
    monkeypatch.setattr(parallel_stdin, "SEGMENT_SIZE", 4 * MEMORY)
    monkeypatch.setattr(parallel_stdin, "CHUNK_SIZE", MEMORY // 3)


def source(numbers: random.Random, total: int) -> list[bytes]:
    """Chunks of very different sizes, some of them empty."""
    chunks = []
    while total > 0:
        chunks.append(numbers.randbytes(min(total, numbers.choice([0, 1, 7, 100, 900, 1500]))))
        total -= len(chunks[-1])
    return chunks


def shared(chunks: Iterator[bytes], readers: int) -> tuple[SharedStdin, list[SharedStdinReader]]:
    made = SharedStdin(chunks)
    return made, [SharedStdinReader(made) for _ in range(readers)]


@pytest.mark.parametrize("seed", range(20))
def test_everybody_gets_everything(seed: int) -> None:
    """Each reads at a pace of its own, and some of them stop early."""
    numbers = random.Random(seed)
    chunks = source(numbers, 30_000)
    _, readers = shared(iter(chunks), 5)
    stops = [None, None, 3, None, 40]

    def read(reader: SharedStdinReader, stop: int | None, pace: random.Random) -> bytes:
        got = b""
        for chunk in itertools.islice(reader, stop):
            got += chunk
            for _ in range(pace.choice([0, 0, 1, 5])):
                gevent.sleep(0)
        return got

    everything = b"".join(chunks)
    greenlets = [
        gevent.spawn(read, reader, stop, random.Random(seed + index))
        for index, (reader, stop) in enumerate(zip(readers, stops, strict=True))
    ]
    for greenlet, stop in zip(greenlets, stops, strict=True):
        got = greenlet.get(timeout=20)
        assert everything.startswith(got)
        assert stop is not None or got == everything


def test_a_slow_reader_holds_nobody_up_and_fills_no_memory() -> None:
    made, (fast, slow) = shared(iter([b"x" * 100] * 1000), 2)
    assert sum(map(len, fast)) == 100_000
    assert made._size <= MEMORY + 100
    assert made._files
    assert b"".join(slow) == b"x" * 100_000


def test_nothing_is_kept_for_nobody() -> None:
    made, (first, second, third) = shared(iter([b"x" * 100] * 1000), 3)
    iterator = iter(second)
    next(iterator)
    del third
    reading = iter(first)
    for _ in range(500):
        next(reading)
    assert made._files
    # Those who have stopped, or were forgotten, are waited for no longer.
    iterator.close()  # type: ignore[attr-defined]
    for _ in range(100):
        next(reading)
    assert not made._files
    assert made._size <= 200


def test_ctrl_c_in_the_source_is_no_end() -> None:
    def given() -> Iterator[bytes]:
        yield b"before"
        raise KeyboardInterrupt

    _, (first, second) = shared(given(), 2)
    # gevent would hand more than one of them to the program.
    for reader, error in ((first, KeyboardInterrupt), (second, StoppedError)):
        got: list[bytes] = []
        with pytest.raises(error):
            got.extend(reader)
        assert got == [b"before"]


def test_an_error_of_the_source_comes_after_what_came_before() -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 5000
        raise KeyError("mine")

    _, readers = shared(broken(), 2)
    for reader in readers:
        got: list[bytes] = []
        with pytest.raises(KeyError, match="mine"):
            got.extend(reader)
        # `extend` keeps what came before the error.
        assert b"".join(got) == b"x" * 5000


def test_one_reads_the_source_at_a_time() -> None:
    inside = []

    def slow() -> Iterator[bytes]:
        for number in range(5):
            inside.append(number)
            gevent.sleep(0)
            yield bytes([number])

    _, readers = shared(slow(), 3)
    greenlets = [gevent.spawn(b"".join, reader) for reader in readers]
    assert [greenlet.get(timeout=20) for greenlet in greenlets] == [bytes(range(5))] * 3
    assert inside == list(range(5))


def test_what_is_in_memory_already_is_not_copied() -> None:
    sources: list[StdinSource | None] = [None, b"bytes", ["a", b"b"], ("a",)]
    for given in sources:
        assert for_each_host(given, "utf-8", 2) == [given, given]
    assert for_each_host("é", "latin-1", 2) == [b"\xe9"] * 2
    assert for_each_host("é", None, 1) == ["é".encode()]
