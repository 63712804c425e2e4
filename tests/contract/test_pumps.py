"""Bytes between a channel and a socket: all of them, in both directions, and held back."""

from __future__ import annotations

import contextlib
import os

import gevent
import pytest
from gevent import socket

from pssh.clients.base import pumps
from pssh.clients.base.connection import Connection
from pssh.clients.base.pump import Pump
from pssh.clients.base.seam import STDOUT, WOULD_BLOCK, Destination
from pssh.clients.base.task import Task
from pssh.exceptions import ConnectionLostError, SessionError
from tests.conftest import StartServer
from tests.contract.conftest import Connect
from tests.contract.endpoints import (
    GOODBYE,
    Endpoint,
    echo,
    flood,
    listening,
    read_all,
    socket_pair,
)
from tests.contract.outputs import eventually, lines
from tests.servers.cut_proxy import CutProxy
from tests.servers.fakes import NeverAccepts
from tests.servers.server import Server


def exchange(connection: Connection, endpoint: Endpoint, data: bytes) -> Pump:
    """Send data to an :func:`echo` through a tunnel, and check what comes back."""
    channel = connection.open_direct_tcpip(endpoint.destination)
    pumped, sock = socket_pair()
    pump = pumps.start(connection, channel, pumped)
    with sock:
        sending = gevent.spawn(lambda: (sock.sendall(data), sock.shutdown(1)))
        assert read_all(sock) == data + GOODBYE
        sending.get()
    pump.done.wait()
    assert pump.error is None
    assert pump.passed_on == len(data + GOODBYE)
    return pump


@pytest.mark.parametrize("name", ["sshd", "dropbear"])
def test_both_ways_and_half_closed(
    connect: Connect, request: pytest.FixtureRequest, name: str
) -> None:
    server: Server = request.getfixturevalue(name)
    connection = connect(server).connect()
    with listening(echo) as endpoint:
        exchange(connection, endpoint, b"")
        exchange(connection, endpoint, os.urandom(8_000_000))
        sizes = [1, 100, 10_000, 1_000_000] * 5
        several = [gevent.spawn(exchange, connection, endpoint, os.urandom(size)) for size in sizes]
        gevent.joinall(several, raise_error=True)
        eventually(lambda: not endpoint.open, "the connections behind the tunnel to end")
    assert connection.alive


def test_what_has_come_is_acknowledged_before_it_waits(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a bastion each wait for room in a window would take 40 ms otherwise."""
    acknowledged: list[object] = []
    monkeypatch.setattr(pumps, "acknowledge", acknowledged.append)
    connection = connect().connect()
    with listening(echo) as endpoint:
        exchange(connection, endpoint, os.urandom(8_000_000))
    assert set(acknowledged) == {connection.sock}


def test_what_is_not_read_is_held_back(connect: Connect) -> None:
    connection = connect().connect()
    with listening(flood) as floods, listening(lambda _: gevent.sleep(60)) as takes_none:
        channel = connection.open_direct_tcpip(floods.destination)
        pumped, sock = socket_pair()
        held = pumps.start(connection, channel, pumped)
        channel = connection.open_direct_tcpip(takes_none.destination)
        pumped, full = socket_pair()
        pumps.start(connection, channel, pumped)
        sent = gevent.spawn(full.sendall, b"x" * 100_000_000)
        eventually(lambda: held.stalled, "the socket to be full")
        # Neither is in the way of others, and neither fills our memory.
        with listening(echo) as endpoint:
            exchange(connection, endpoint, os.urandom(5_000_000))
        assert held.passed_on < 4_000_000
        assert not sent.ready()
        before = held.passed_on
        while held.passed_on < before + 5_000_000:
            assert sock.recv(1 << 20)
        sent.kill()
        for end in (sock, full):
            end.close()
        eventually(lambda: not floods.open, "the end of the flood")
        held.done.wait()


def greet(sock: socket.socket) -> None:
    """Speak first."""
    sock.sendall(GOODBYE)
    read_all(sock)


def test_what_came_before_its_pump_was_there(connect: Connect) -> None:
    connection = connect().connect()
    with listening(echo) as endpoint, listening(greet) as greeting:
        # While there is a pump, it takes what comes, for whichever channel.
        pumped, idle = socket_pair()
        pumps.start(connection, connection.open_direct_tcpip(endpoint.destination), pumped)
        for _ in range(5):
            channel = connection.open_direct_tcpip(greeting.destination)
            # Somebody else's answer comes behind the greeting, and both have been taken.
            exchange(connection, endpoint, b"x")
            pumped, sock = socket_pair()
            pumps.start(connection, channel, pumped)
            assert sock.recv(100) == GOODBYE
            sock.close()
        idle.close()
        eventually(lambda: not endpoint.open and not greeting.open, "the tunnels to end")


#: Fits into what libssh reads at once, together with the answer before it.
GREETING = b"x" * 1000


def greet_at_length(sock: socket.socket) -> None:
    """Speak first, more than an answer has."""
    sock.sendall(GREETING)
    read_all(sock)


def test_what_comes_with_the_answer(connect: Connect) -> None:
    """Nothing comes after it that would have somebody look again."""
    connection = connect().connect()
    with listening(greet_at_length) as greeting:
        opening, destination = connection.session.open_direct_tcpip, greeting.destination
        assert connection.attempt(opening, destination) is WOULD_BLOCK
        eventually(lambda: connection.bytes_unread() > len(GREETING), "the greeting")
        channel = connection.call(opening, destination)
        data = b""
        while len(data) < len(GREETING):
            data += connection.call(channel.read, STDOUT, len(GREETING))
        assert data == GREETING
        connection.give_back(channel)
        eventually(lambda: not greeting.open, "the tunnel to end")


def leave_early(sock: socket.socket) -> None:
    """Take little of what comes, say something, and go."""
    sock.recv(1)
    sock.sendall(GOODBYE)


def test_an_end_that_leaves_while_it_is_sent_more(connect: Connect) -> None:
    connection = connect().connect()
    with listening(leave_early) as endpoint, listening(echo) as other:
        for _ in range(5):
            channel = connection.open_direct_tcpip(endpoint.destination)
            pumped, sock = socket_pair()
            pump = pumps.start(connection, channel, pumped)
            sending = gevent.spawn(_send_in_vain, sock)
            # What it said is not lost, and nobody else is harmed.
            assert read_all(sock) == GOODBYE
            exchange(connection, other, b"x")
            sending.join()
            pump.done.wait()
            sock.close()
    assert connection.alive


def _send_in_vain(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.sendall(b"x" * 20_000_000)
        sock.shutdown(1)


def test_one_that_takes_long_to_open_holds_up_no_other(connect: Connect) -> None:
    client = connect()
    connection = client.connect()
    with NeverAccepts() as silent, listening(echo) as endpoint:
        waiting = [
            gevent.spawn(connection.open_direct_tcpip, Destination(silent.host, silent.port))
            for _ in range(3)
        ]
        several = [gevent.spawn(exchange, connection, endpoint, b"x" * 1000) for _ in range(20)]
        # A session channel is opened in another way.
        several += [gevent.spawn(lambda: lines(client.run_command("echo x"))) for _ in range(5)]
        gevent.joinall(several, raise_error=True)
        gevent.killall(waiting)
        exchange(connection, endpoint, b"after somebody has given up")
        assert lines(client.run_command("echo x")) == ["x"]
    assert connection.alive


def test_a_refusal_says_why(connect: Connect) -> None:
    connection = connect().connect()
    with NeverAccepts() as closed:
        pass
    with pytest.raises(SessionError, match="connect failed") as refusal:
        connection.open_direct_tcpip(Destination(closed.host, closed.port))
    assert f"open a tunnel to 127.0.0.1:{closed.port}" in str(refusal.value)
    # A library may lose the reasons of those that are refused at the same moment.
    refused = [
        Task(connection.open_direct_tcpip, Destination(closed.host, closed.port)) for _ in range(9)
    ]
    for attempt in refused:
        attempt.start()
    gevent.joinall(refused)
    assert all(isinstance(attempt.exception, SessionError) for attempt in refused)
    assert connection.alive


def test_a_forbidden_destination(connect: Connect, sshd_with: StartServer) -> None:
    server = sshd_with({"PermitOpen": "none"})
    connection = connect(server).connect()
    with pytest.raises(SessionError, match="administratively prohibited"):
        connection.open_direct_tcpip(Destination("127.0.0.1", 22))


def test_a_lost_connection_ends_all(connect: Connect, proxy: CutProxy) -> None:
    connection = connect(port=proxy.port, host_key_policy="ignore").connect()
    with listening(echo) as endpoint, NeverAccepts() as silent:
        ended: list[Pump] = []
        ends = []
        for _ in range(3):
            channel = connection.open_direct_tcpip(endpoint.destination)
            pumped, sock = socket_pair()
            ends.append(sock)
            pumps.start(connection, channel, pumped, ended.append)
        opening = gevent.spawn(connection.open_direct_tcpip, Destination(silent.host, silent.port))
        ends[0].sendall(b"x")
        assert ends[0].recv(1) == b"x"
        proxy.cut()
        assert [sock.recv(1) for sock in ends] == [b""] * 3
        opening.join()
    assert isinstance(opening.exception, ConnectionLostError)
    assert len(ended) == 3
    assert all(isinstance(pump.error, ConnectionLostError) for pump in ended)


def test_one_that_is_stopped_closes_its_channel(connect: Connect) -> None:
    connection = connect().connect()
    heard = []
    with listening(lambda sock: heard.append(read_all(sock))) as endpoint:
        channel = connection.open_direct_tcpip(endpoint.destination)
        pumped, sock = socket_pair()
        pump = pumps.start(connection, channel, pumped)
        sock.sendall(b"last words")
        sock.close()
        pump.stop()
        pump.done.wait()
        eventually(lambda: bool(heard), "the end of file")
    assert heard == [b"last words"]
    assert pump.error is None
    assert connection.alive


def test_in_turn_where_libssh2_is_not_known(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = pytest.importorskip("pssh.clients.native.opening")
    monkeypatch.setattr(opening, "_offset", None)
    monkeypatch.setattr(opening, "find", lambda *_: False)
    client = connect()
    connection = client.connect()
    with listening(echo) as endpoint:
        several = [gevent.spawn(exchange, connection, endpoint, b"x" * 1000) for _ in range(20)]
        several += [gevent.spawn(lambda: lines(client.run_command("echo x"))) for _ in range(5)]
        gevent.joinall(several, raise_error=True)
