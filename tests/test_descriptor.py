"""Descriptors that threads work on."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from pssh.clients.base.files.descriptor import Descriptor


@pytest.fixture
def number(tmp_path: Path) -> int:
    """The number of an open file."""
    return os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)


def is_open(number: int) -> bool:
    return os.path.lexists(f"/proc/self/fd/{number}")


def test_a_function_gets_the_number(number: int) -> None:
    file = Descriptor(number)
    assert file.call(os.pwrite, b"content", 2) == 7
    assert file.call(os.pread, 10, 0) == b"\0\0content"
    file.close()
    assert not is_open(number)
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        file.call(os.fstat)
    assert caught.value.errno == errno.EBADF


def test_closing_waits_for_threads(number: int) -> None:
    file = Descriptor(number)
    begun, leave = threading.Event(), threading.Event()
    found: list[bool] = []

    def work(descriptor: int) -> None:
        begun.set()
        leave.wait(20)
        found.append(is_open(descriptor))

    thread = threading.Thread(target=file.call, args=(work,))
    thread.start()
    assert begun.wait(20)
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.call(os.fstat)
    leave.set()
    thread.join()
    # It was somebody's still: another file could have got its number.
    assert found == [True]
    assert not is_open(number)


def test_a_forgotten_one_is_closed(number: int) -> None:
    file = Descriptor(number)
    assert is_open(number)
    del file
    assert not is_open(number)


def test_an_error_of_closing_is_raised(number: int) -> None:
    os.close(number)
    with pytest.raises(OSError, match="Bad file descriptor"):
        Descriptor(number).close()
