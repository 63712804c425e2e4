"""Keep-alive: silent servers are found out, idle connections are kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest

from pssh.clients.base import keepalive
from pssh.clients.base.single import BaseSSHClient
from pssh.config import HostConfig
from pssh.exceptions import ConnectionLostError
from tests.contract.access import wait_for_log
from tests.contract.conftest import Connect, ConnectAll
from tests.contract.outputs import eventually, lines, stdout
from tests.servers.cut_proxy import CutProxy
from tests.servers.openssh import OpenSSHServer

StartServer = Callable[..., OpenSSHServer]

#: What OpenSSH's server logs, at DEBUG2 or more, for a keep-alive question.
ASKED = "server_input_global_request: rtype keepalive@"


def connection_id(client: BaseSSHClient) -> str:
    """Which connection a client's commands run on."""
    output = client.run_command("echo $SSH_CONNECTION")
    client.wait_finished(output)
    return str(next(stdout(output)))


@pytest.mark.long
def test_keep_alive_from_end_to_end(
    connect: Connect, sshd: OpenSSHServer, sshd_with: StartServer
) -> None:
    """All that takes many seconds, at the same time."""
    talkative = sshd_with({"LogLevel": "DEBUG2"})
    with CutProxy(sshd.host, sshd.port) as proxy:
        through = {"port": proxy.port, "host_key_policy": "ignore"}
        idle = connect(keepalive_seconds=2, **through)
        running = connect(keepalive_seconds=2, **through)
        output = running.run_command("echo started; exec cat")
        assert next(stdout(output)) == "started"
        kept = connect(talkative, keepalive_seconds=2)
        never = [connect(keepalive_seconds=seconds, **through) for seconds in (0, False)]
        waiting = never[0].run_command("echo started; exec cat")
        assert next(stdout(waiting)) == "started"
        before = connection_id(kept)
        idle_connection = idle.connect()
        never_connections = [client.connect() for client in never]
        proxy.stall()
        started = time.monotonic()

        with pytest.raises(ConnectionLostError) as caught:
            lines(output)

        taken = time.monotonic() - started
        # Asked at 2, 4 and 6 seconds, and given up when the next question is due.
        assert 5 < taken < 13
        assert "has not answered" in str(caught.value)
        assert (caught.value.host, caught.value.port) == (sshd.host, proxy.port)
        assert output.exit_code is None
        assert isinstance(output.exception, ConnectionLostError)
        eventually(lambda: not idle_connection.alive, "the end of the idle connection")
        eventually(lambda: idle_connection.sock.fileno() == -1, "its socket to be closed")
        # Without keep-alive nobody notices.
        assert all(connection.alive for connection in never_connections)
        assert not waiting.finished
        # Through all of this time, an idle connection to a server that answers.
        log = wait_for_log(talkative, ASKED, count=3)
        assert log.count(ASKED) >= 3
        assert connection_id(kept) == before
        # A client whose connection was given up opens a new one.
        proxy.resume()
        assert lines(idle.run_command("echo hello")) == ["hello"]


class FakeConnection:
    """A connection as far as keep-alive knows it, to a server that answers when told to."""

    host = "web1"
    port = 22
    alive = True
    busy = False
    keepalive = None

    def __init__(self) -> None:
        self.session = self
        self.received = 0
        self.unread = 0
        self.asked = 0
        self.takes_more = True
        self.channels = 0
        self.failure: BaseException | None = None

    def send_keepalive(self) -> None:
        self.asked += 1

    def bytes_received(self) -> int:
        return self.received

    def bytes_unread(self) -> int:
        return self.unread

    def writable(self) -> bool:
        return self.takes_more

    def fail(self, reason: BaseException) -> None:
        self.failure, self.alive = reason, False

    def open_session(self) -> FakeConnection:
        self.channels += 1
        return self

    def call(self, operation: Callable[..., Any]) -> Any:
        return operation()

    def close(self) -> None:
        self.unread = 0

    def release(self) -> None:
        pass


def ticking(connection: FakeConnection) -> Callable[[], None]:
    """What happens each time that the interval is over."""
    made = keepalive.KeepAlive(connection, 1000)  # type: ignore[arg-type]
    return made._tick


def test_three_unanswered_questions_end_it() -> None:
    connection = FakeConnection()
    tick = ticking(connection)
    for _ in range(3):
        tick()
        assert connection.failure is None
    assert connection.asked == 3

    tick()

    assert isinstance(connection.failure, ConnectionLostError)
    assert "web1:22" in str(connection.failure)
    assert "3000" in str(connection.failure)
    assert (connection.failure.host, connection.failure.port) == ("web1", 22)


def test_anything_from_the_server_is_an_answer() -> None:
    connection = FakeConnection()
    tick = ticking(connection)

    for _ in range(5):
        tick()
        tick()
        tick()
        connection.received += 1

    assert connection.failure is None


def test_a_server_that_takes_nothing_any_more_is_not_asked_and_ends_too() -> None:
    connection = FakeConnection()
    connection.takes_more = False
    tick = ticking(connection)

    for _ in range(4):
        tick()

    assert connection.asked == 0
    assert isinstance(connection.failure, ConnectionLostError)


def test_answers_that_nobody_reads_are_read() -> None:
    connection = FakeConnection()
    tick = ticking(connection)
    connection.unread = keepalive._UNREAD_MAX + 1
    connection.busy = True
    tick()
    gevent.sleep(0)
    assert connection.channels == 0  # somebody reads

    connection.busy = False
    tick()
    gevent.sleep(0)

    assert connection.channels == 1
    assert connection.unread == 0


@pytest.mark.parametrize("library", ["native"], indirect=True)
def test_answers_that_pile_up_on_a_real_connection_are_read(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With libssh none pile up, see below."""
    monkeypatch.setattr(keepalive, "_UNREAD_MAX", 1)
    client = connect(keepalive_seconds=1000)
    connection = client.connect()
    assert connection.keepalive is not None
    # What OpenSSH says by itself after the authentication has come with that.
    client.wait_finished(client.run_command("true"))
    before = connection_id(client)
    connection.session.send_keepalive()
    eventually(lambda: connection.bytes_unread() > keepalive._UNREAD_MAX, "an unread answer")
    arrived = connection.bytes_taken() + connection.bytes_unread()

    connection.keepalive._tick()

    # More may come: what is said about the channel that was opened to read.
    eventually(lambda: connection.bytes_taken() >= arrived, "somebody to read it")
    assert connection_id(client) == before


@pytest.mark.parametrize("library", ["ssh"], indirect=True)
def test_with_each_question_libssh_reads_the_answer_to_the_one_before(connect: Connect) -> None:
    connection = connect(keepalive_seconds=1000).connect()
    received = connection.bytes_received()
    assert connection.keepalive is not None
    for _ in range(6):
        before = connection.bytes_received()
        connection.keepalive._tick()
        eventually(lambda: connection.bytes_received() > before, "the answer")  # noqa: B023

    assert connection.bytes_unread() <= (connection.bytes_received() - received) / 2


@pytest.mark.parametrize("off", [0, False])
def test_keep_alive_off(connect: Connect, connect_all: ConnectAll, off: Any) -> None:
    assert connect(keepalive_seconds=off).connect().keepalive is None
    client = connect_all(2, host_config=[HostConfig(keepalive_seconds=off), HostConfig()])
    first, second = (out.client for out in client.run_command("true"))
    assert first is not None
    assert second is not None
    assert first.connect().keepalive is None
    assert second.connect().keepalive is not None


def test_the_default_interval(connect: Connect) -> None:
    made = connect().connect().keepalive

    assert made is not None
    assert made.seconds == 60


def test_keep_alive_keeps_no_process_and_no_connection_alive(
    connect: Connect, sshd_with: StartServer, library: Any, keys: dict[str, Path]
) -> None:
    """A client that nobody needs any more goes, with its connection."""
    server = sshd_with()
    client = library.SSHClient(
        server.host,
        user=server.user,
        port=server.port,
        pkey=str(keys["ed25519"]),
        known_hosts=str(server.known_hosts),
        keepalive_seconds=2,
        num_retries=1,
    )
    assert len(server.connections()) == 1

    del client

    eventually(lambda: not server.connections(), "the end of the connection")
