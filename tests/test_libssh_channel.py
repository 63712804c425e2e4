"""What the libssh client takes of what libssh has for a channel."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from pssh.clients.base.interrupts import mind_lost
from pssh.clients.base.seam import STDERR, STDOUT
from pssh.clients.ssh import channel as channel_module
from pssh.clients.ssh import libssh
from pssh.clients.ssh.channel import LibsshChannel

POINTER = 4711


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[LibsshChannel]:
    """A channel of a session that only counts."""
    monkeypatch.setattr(libssh, "channel_pointer", lambda raw: POINTER)
    monkeypatch.setattr(libssh, "_set_channel_callbacks", lambda *_: 0)
    session: Any = SimpleNamespace(expect_more=lambda: None)
    made = LibsshChannel(session, SimpleNamespace())
    yield made
    libssh.forget(POINTER)


def offer(data: bytes, is_stderr: bool = False) -> int:
    """Do what libssh does when it has data; how much was taken."""
    buffer = ctypes.create_string_buffer(data, len(data))
    return libssh._on_data(0, POINTER, ctypes.addressof(buffer), len(data), is_stderr, 0)


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes are copied each time."""
    sizes: list[int] = []
    string_at = ctypes.string_at

    def counting(address: int, size: int) -> bytes:
        sizes.append(size)
        return string_at(address, size)

    monkeypatch.setattr(ctypes, "string_at", counting)
    return sizes


def test_what_stays_in_libssh_is_not_copied(
    channel: LibsshChannel, copied: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """libssh offers all that it has kept with each packet: up to 2 MiB."""
    monkeypatch.setattr(channel_module, "_WAITING_MAX", 10)
    assert offer(b"abcdefgh") == 8
    assert offer(b"ijklmnop") == 2
    assert offer(b"klmnopqr" * 1000) == 0
    assert copied == [8, 2]
    assert channel.has_arrived(STDOUT)
    assert not channel.has_arrived(STDERR)
    assert channel.read_arrived(STDOUT, 100) == b"abcdefghij"
    # What libssh still has may be read.
    assert channel.has_arrived(STDOUT)
    assert channel.has_arrived()
    assert offer(b"klmnopqr") == 8
    assert channel.read_arrived(STDOUT, 100) == b"klmnopqr"
    assert not channel.has_arrived()


def test_both_streams_share_the_room(
    channel: LibsshChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_module, "_WAITING_MAX", 10)
    assert offer(b"abcdef") == 6
    assert offer(b"ABCDEF", is_stderr=True) == 4
    assert channel.read_arrived(STDERR, 100) == b"ABCD"
    assert channel.has_arrived(STDERR)
    assert channel.read_arrived(STDOUT, 100) == b"abcdef"
    assert not channel.has_arrived(STDOUT)


def test_the_window_is_opened_in_whole_steps(
    channel: LibsshChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte off, and libssh would open it once where it could do so twice."""
    monkeypatch.setattr(channel_module, "_WINDOW_STEP", 8)
    channel._until_window = 8
    assert offer(b"abcde") == 5
    assert offer(b"fghij") == 3
    assert offer(b"ijklmnopqrst") == 8


def test_nobody_reads_it_any_more() -> None:
    """libssh is to forget what comes for a channel that has been released."""
    assert POINTER not in libssh._receivers
    assert offer(b"abc") == 3


def test_an_interrupt_while_libssh_calls_us_reaches_the_program(
    channel: LibsshChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can pass through C, and Python only reports it."""

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    mind_lost()
    monkeypatch.setattr(LibsshChannel, "data_wanted", interrupted)
    with pytest.raises(KeyboardInterrupt):
        libssh._callbacks.data(0, POINTER, 0, 3, 0, 0)
        gevent.sleep(10)
