"""`pssh.clients.base.connection`: who is woken when, over a session that reads byte by byte."""

from __future__ import annotations

import contextlib
import gc
import socket
import sys
import time
import weakref
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from pssh.clients.base.connection import Connection
from pssh.clients.base.seam import READ, WOULD_BLOCK, WouldBlock
from pssh.clients.base.task import Task
from pssh.clients.base.transport import TransportSocket
from pssh.exceptions import ConnectionLostError, SessionError

#: Seconds after which somebody has slept through what is there for him.
TIME_LIMIT = 10.0

#: After so many callbacks gevent's loop asks whether it has spent its time on them.
_CALLBACKS_AT_ONCE = 1000


class ByteSession:
    """Takes one byte from its socket each time that it is asked to, and keeps them all."""

    keeps_unsent = True
    opens_in_turn = False

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.taken = b""

    def take(self) -> None:
        self.taken += self._sock.recv(1)

    def find(self, wanted: bytes) -> bytes | WouldBlock:
        """Look for a byte among those that somebody has taken."""
        return wanted if wanted in self.taken else WOULD_BLOCK

    def directions(self) -> int:
        return READ

    def lost_descriptor(self) -> bool:
        return False

    def disconnect(self) -> None:
        pass


@pytest.fixture
def ends() -> Iterator[tuple[TransportSocket, socket.socket]]:
    """Both ends of a TCP connection; only for TCP the kernel counts what has come."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = TransportSocket(socket.AF_INET, socket.SOCK_STREAM)
        ours.connect(listener.getsockname())
        theirs, _ = listener.accept()
    ours.setblocking(False)
    with theirs:
        yield ours, theirs


def test_who_waits_learns_of_a_byte_that_had_come_long_before_it_was_taken(
    ends: tuple[TransportSocket, socket.socket],
) -> None:
    """It was there already when somebody took the one before it."""
    ours, theirs = ends
    session: Any = ByteSession(ours)
    connection = Connection(session, ours, "host", 22)
    theirs.sendall(b"ab")
    finding = gevent.spawn(connection.call, session.find, b"b")
    for _ in b"ab":
        # It has looked, and waits for the socket, where something is to be read.
        gevent.sleep(0.01)
        # From here on the loop has not asked the socket yet whether it is readable.
        gevent.sleep(0)
        assert not finding.ready()
        connection.attempt(session.take)

    # Nothing more comes.
    assert finding.get(timeout=TIME_LIMIT) == b"b"
    connection.close()


def test_who_waits_is_woken_also_when_ctrl_c_comes_in_between(
    ends: tuple[TransportSocket, socket.socket],
) -> None:
    ours, theirs = ends
    session: Any = ByteSession(ours)
    connection = Connection(session, ours, "host", 22)

    def interrupted() -> None:
        connection.wait()
        raise KeyboardInterrupt

    def waits_again() -> None:
        connection.wait()
        connection.wait()

    gevent.spawn_raw(interrupted)
    other = gevent.spawn(waits_again)
    gevent.sleep(0)
    theirs.sendall(b"a")
    with pytest.raises(KeyboardInterrupt):
        gevent.sleep(TIME_LIMIT)
    # The loop watches the socket still, where nobody reads.
    other.get(timeout=TIME_LIMIT)
    gevent.spawn_raw(interrupted)
    with pytest.raises(KeyboardInterrupt):
        gevent.sleep(TIME_LIMIT)
    gevent.spawn(connection.wait).get(timeout=TIME_LIMIT)
    connection.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="Only Linux can be told.")
def test_what_has_come_is_acknowledged_while_a_server_may_hold_back_an_answer(
    ends: tuple[TransportSocket, socket.socket],
) -> None:
    ours, theirs = ends
    session: Any = ByteSession(ours)
    connection = Connection(session, ours, "host", 22)
    # As after a dialogue, where an acknowledgement waits for something to be sent.
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    finding = gevent.spawn(connection.call_promptly, session.find, b"a")
    gevent.sleep(0)
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 1
    theirs.sendall(b"a")
    gevent.sleep(0.01)
    connection.attempt(session.take)
    finding.get(timeout=TIME_LIMIT)
    connection.close()


class ClosingSession(ByteSession):
    """Closes its socket by itself when it is asked to send, and says that it has sent."""

    def send(self, data: bytes) -> int:
        self._sock.close()
        return len(data)

    def fail_to_send(self) -> None:
        self._sock.close()
        raise SessionError("refused")

    def lost_descriptor(self) -> bool:
        return self._sock.fileno() < 0


@pytest.mark.parametrize("first", ["parked", "sent, waits", "sent, parks"])
def test_nobody_waits_for_a_socket_that_the_library_has_closed(
    ends: tuple[TransportSocket, socket.socket], first: str
) -> None:
    """The event loop would end the process."""
    ours, _ = ends
    session: Any = ClosingSession(ours)
    connection = Connection(session, ours, "host", 22)

    parked = gevent.spawn(connection.park) if first == "parked" else None
    gevent.sleep(0)
    # Something comes of the very call.
    assert connection.attempt(session.send, b"abc") == 3
    then = parked or gevent.spawn(connection.wait if first == "sent, waits" else connection.park)
    with pytest.raises(ConnectionLostError, match="connection to host host:22 was lost"):
        then.get(timeout=TIME_LIMIT)
    connection.close()


def test_who_waits_is_told_of_a_failure_with_which_the_library_closed_the_socket(
    ends: tuple[TransportSocket, socket.socket],
) -> None:
    ours, _ = ends
    session: Any = ClosingSession(ours)
    connection = Connection(session, ours, "host", 22)
    waits = gevent.spawn(connection.call, session.find, b"x")
    gevent.sleep(0)
    with pytest.raises(ConnectionLostError):
        connection.attempt(session.fail_to_send)
    with pytest.raises(ConnectionLostError):
        waits.get(timeout=TIME_LIMIT)
    connection.close()


def test_a_socket_is_left_alone_once_the_connection_has_failed(
    ends: tuple[TransportSocket, socket.socket],
) -> None:
    """Somebody may have the library close it before whoever waits has been woken."""
    ours, _ = ends
    session: Any = ClosingSession(ours)
    connection = Connection(session, ours, "host", 22)
    waits = gevent.spawn(connection.call, session.find, b"x")

    def fail() -> None:
        # In the same turn of the loop in which the socket began to be watched.
        connection.fail(ConnectionLostError("gone"))
        session.send(b"")

    gevent.spawn(fail)
    # As with thousands of hosts: the loop looks at its sockets before it wakes everybody.
    loop = gevent.get_hub().loop
    loop.run_callback(time.sleep, sys.getswitchinterval())
    for _ in range(_CALLBACKS_AT_ONCE):
        loop.run_callback(int)
    with pytest.raises(ConnectionLostError):
        waits.get(timeout=TIME_LIMIT)
    connection.close()


class Made:
    """What a call has made before it failed."""


def test_who_forgets_a_failure_keeps_nothing_of_it(
    ends: tuple[TransportSocket, socket.socket],
) -> None:
    """A socket of libssh is open for as long as anything refers to its session."""
    all_made: list[weakref.ref[Made]] = []

    def fail(kind: type[BaseException]) -> None:
        made = Made()
        all_made.append(weakref.ref(made))
        raise kind

    session: Any = ByteSession(ends[0])
    connection = Connection(session, ends[0], "host", 22)
    gc.disable()  # it would find what refers to itself, some time
    try:
        for kind in (KeyError, KeyboardInterrupt):
            with contextlib.suppress(kind):
                connection.attempt(fail, kind)
        Task(fail, KeyError).start()
        gevent.sleep(0)
        gevent.sleep(0)
        assert len(all_made) == 3
        assert [made() for made in all_made] == [None] * 3
    finally:
        gc.enable()
        connection.close()


def test_a_failure_that_is_kept_keeps_nothing_of_what_the_library_made(
    ends: tuple[TransportSocket, socket.socket],
) -> None:
    """A program may keep the errors of thousands of hosts."""
    all_made: list[weakref.ref[Made]] = []

    def break_off() -> None:
        made = Made()
        all_made.append(weakref.ref(made))
        raise KeyError

    def fail() -> None:
        made = Made()
        all_made.append(weakref.ref(made))
        try:
            break_off()
        except KeyError as ex:
            raise SessionError("refused") from ex

    session: Any = ByteSession(ends[0])
    connection = Connection(session, ends[0], "host", 22)
    with pytest.raises(SessionError) as kept:
        connection.attempt(fail)
    assert [made() for made in all_made] == [None] * 2
    # It still says where it came from.
    assert [each.name for each in kept.traceback][-1] == "fail"
    connection.close()
