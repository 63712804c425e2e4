"""`pssh.clients.reader`: bytes between a writer and a reader, in bounded memory."""

from __future__ import annotations

import os
from typing import Any

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pssh.clients import reader
from pssh.clients.reader import ConcurrentRWBuffer

#: What happens to a buffer: a chunk is written, or so many are taken.
ACTIONS = st.lists(st.one_of(st.binary(min_size=1, max_size=40), st.integers(1, 4)), max_size=40)


def temporary_files() -> int:
    """How many unnamed files this process has open."""
    found = 0
    for entry in os.listdir("/proc/self/fd"):
        try:
            found += "(deleted)" in os.readlink(f"/proc/self/fd/{entry}")
        except FileNotFoundError:
            continue  # the folder's own
    return found


@given(ACTIONS, st.integers(1, 60), st.sampled_from(["file", "block"]))
@settings(max_examples=60, deadline=None)
def test_bytes_come_back_in_order(actions: list[Any], limit: int, overflow: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "SEGMENT_SIZE", 64)
        patch.setattr(reader, "CHUNK_SIZE", 16)
        before = temporary_files()
        buffer = ConcurrentRWBuffer(limit, overflow)
        written = taken = b""
        for action in actions:
            if isinstance(action, bytes):
                buffer.write(action)
                written += action
            else:
                for _ in range(action):
                    taken += buffer.take() or b""
            assert len(buffer) == len(written) - len(taken)
            assert written.startswith(taken)
            if overflow == "block":
                assert buffer.full == (len(buffer) >= limit)
            else:
                assert not buffer.full
        buffer.close()
        assert not buffer.full
        assert taken + b"".join(buffer) == written
        assert buffer.take() is None
        assert len(buffer) == 0
        assert temporary_files() == before


def test_memory_up_to_the_limit_then_files() -> None:
    before = temporary_files()
    buffer = ConcurrentRWBuffer(10, "file")
    buffer.write(b"12345")
    buffer.write(b"67890")
    assert temporary_files() == before
    buffer.write(b"x")
    assert temporary_files() == before + 1
    assert list(buffer.read()) == [b"12345", b"67890", b"x"]
    assert temporary_files() == before
    buffer.write(b"in memory again")
    assert temporary_files() == before
    assert buffer.take() == b"in memory again"


def test_read_segments_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "SEGMENT_SIZE", 100)
    before = temporary_files()
    buffer = ConcurrentRWBuffer(1, "file")
    buffer.write(b"first")
    for number in range(10):
        buffer.write(bytes([number]) * 100)
    assert temporary_files() == before + 10
    assert buffer.take() == b"first"
    for number in range(10):
        assert buffer.take() == bytes([number]) * 100
        assert temporary_files() == before + 9 - number


def test_discard() -> None:
    before = temporary_files()
    buffer = ConcurrentRWBuffer(1, "file")
    buffer.write(b"a")
    buffer.write(b"b")
    buffer.discard()
    assert temporary_files() == before
    assert (len(buffer), buffer.take()) == (0, None)


def test_iteration_waits_for_each_chunk_and_for_the_end() -> None:
    buffer = ConcurrentRWBuffer()
    taken: list[bytes] = []

    def consume() -> None:
        for chunk in buffer:
            taken.append(chunk)

    consumer = gevent.spawn(consume)
    for chunk in (b"one", b"two"):
        gevent.sleep(0)
        buffer.write(chunk)
    gevent.sleep(0.001)
    assert taken == [b"one", b"two"]
    assert not consumer.ready()
    buffer.close()
    consumer.get(timeout=10)
    assert taken == [b"one", b"two"]


def test_an_error_comes_after_the_last_chunk() -> None:
    buffer = ConcurrentRWBuffer()
    buffer.write(b"one")
    error = ConnectionError("cut")
    buffer.close(error)
    assert buffer.eof
    iterator = iter(buffer)
    assert next(iterator) == b"one"
    with pytest.raises(ConnectionError, match="cut"):
        next(iterator)


def test_a_held_back_writer_is_told_of_space() -> None:
    told: list[int] = []
    buffer = ConcurrentRWBuffer(10, "block", on_space=lambda: told.append(len(buffer)))
    buffer.write(b"x" * 9)
    buffer.take()
    assert told == []
    buffer.write(b"x" * 10)
    buffer.write(b"y" * 10)
    assert buffer.full
    buffer.take()
    assert buffer.full
    buffer.take()
    assert not buffer.full
    assert told[-1] == 0


def test_at_the_end_nobody_is_held_back() -> None:
    buffer = ConcurrentRWBuffer(10, "block")
    buffer.write(b"x" * 20)
    assert buffer.full
    buffer.close()
    assert not buffer.full


def test_crowded_only_when_somebody_waits() -> None:
    buffer = ConcurrentRWBuffer(10)
    buffer.write(b"x" * 9)
    assert not buffer.crowded
    buffer.take()
    consumer = gevent.spawn(buffer.wait_for_data)
    gevent.sleep(0)
    buffer.write(b"x" * 9)
    assert buffer.crowded
    consumer.get(timeout=10)
    buffer.take()
    assert not buffer.crowded


def test_a_consumer_that_keeps_pace_with_a_spilling_writer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader, "SEGMENT_SIZE", 5000)
    monkeypatch.setattr(reader, "CHUNK_SIZE", 300)
    buffer = ConcurrentRWBuffer(1, "file")

    def write() -> None:
        for number in range(300):
            buffer.write(b"%099d\n" % number)
        buffer.close()

    writer = gevent.spawn(write)
    data = b"".join(buffer)
    writer.get(timeout=10)
    assert data == b"".join(b"%099d\n" % number for number in range(300))


def test_no_room_for_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    buffer = ConcurrentRWBuffer(1, "file")
    buffer.write(b"a")
    with pytest.raises(OSError, match="No space left"):
        buffer.write(b"b")
