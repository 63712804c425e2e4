"""Local ports that lead to other hosts through a client."""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
import weakref
from typing import Any

import gevent
import pytest
from gevent import socket

from pssh.clients.base.tunnel import Tunnel
from pssh.exceptions import InvalidAPIUseError, SessionError
from tests.contract.conftest import Connect, Library
from tests.contract.endpoints import GOODBYE, echo, flood, listening, read_all
from tests.contract.outputs import eventually
from tests.servers.fakes import NeverAccepts
from tests.servers.openssh import OpenSSHServer


def ask(port: int, data: bytes, host: str = "127.0.0.1") -> bytes:
    """Send data to a local port, and read what comes back."""
    with socket.create_connection((host, port)) as sock:
        sending = gevent.spawn(lambda: (sock.sendall(data), sock.shutdown(1)))
        answer = read_all(sock)
        sending.get()
        return answer


@pytest.fixture
def module(library: Library) -> Any:
    """Where the names of 2.x are."""
    return importlib.import_module(f"pssh.clients.{library.name}.tunnel")


def test_a_tunnel(connect: Connect, module: Any, sshd: OpenSSHServer) -> None:
    client = connect()
    with listening(echo) as endpoint:
        with module.Tunnel(client, "localhost", endpoint.port) as tunnel:
            data = os.urandom(3_000_000)
            several = [gevent.spawn(ask, tunnel.listen_port, data) for _ in range(3)]
            assert [each.get() for each in several] == [data + GOODBYE] * 3
            # The client's connection has ended, and a new one is made.
            sshd.kill_connections()
            assert ask(tunnel.listen_port, b"again") == b"again" + GOODBYE
            # Nobody but this machine reaches it.
            assert tunnel._listening.getsockname()[0] == "127.0.0.1"
            port = tunnel.listen_port
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
                assert tunnel.connections == 1
                tunnel.close()
                assert sock.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            ask(port, b"")
        with pytest.raises(InvalidAPIUseError):
            assert tunnel.listen_port
        eventually(lambda: not endpoint.open, "the connections behind the tunnel to end")


def test_another_address_and_port(connect: Connect) -> None:
    with NeverAccepts() as server:
        free = server.port
    with listening(echo) as endpoint:
        client = connect()
        with Tunnel(client, "127.0.0.1", endpoint.port, "::1", free) as tunnel:
            assert tunnel.listen_port == free
            assert ask(free, b"x", "::1") == b"x" + GOODBYE
            with pytest.raises(OSError, match="in use"):
                Tunnel(client, "127.0.0.1", endpoint.port, "::1", free).start()


def test_what_is_refused_is_closed_and_told(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    with NeverAccepts() as server:
        pass
    with Tunnel(connect(), "127.0.0.1", server.port) as tunnel:
        assert ask(tunnel.listen_port, b"") == b""
        assert isinstance(tunnel.error, SessionError)
    assert "connect failed" in caplog.text


def test_one_that_is_full_holds_up_no_other(connect: Connect) -> None:
    client = connect()
    with listening(flood) as floods, listening(echo) as endpoint:
        with (
            Tunnel(client, "127.0.0.1", floods.port) as first,
            Tunnel(client, "127.0.0.1", endpoint.port) as second,
            socket.create_connection(("127.0.0.1", first.listen_port)) as unread,
        ):
            data = os.urandom(1_000_000)
            assert ask(second.listen_port, data) == data + GOODBYE
            assert unread.recv(1) == b"x"
        eventually(lambda: not floods.open, "the end of the flood")


def test_one_that_is_forgotten_is_closed(connect: Connect) -> None:
    tunnel = Tunnel(connect(), "127.0.0.1", 22)
    tunnel.start()
    port, reference = tunnel.listen_port, weakref.ref(tunnel)
    del tunnel
    gc.collect()
    assert reference() is None
    with pytest.raises(ConnectionRefusedError):
        ask(port, b"")


def test_the_names_of_2x(connect: Connect, module: Any) -> None:
    client = connect()
    with listening(echo) as endpoint:
        server = module.TunnelServer(client, "127.0.0.1", endpoint.port, timeout=1)
        server.start()
        assert ask(server.listen_port, b"x") == b"x" + GOODBYE
        server.stop()
        forwarder = module.LocalForwarder()
        forwarder.daemon = True
        with pytest.raises(InvalidAPIUseError):
            forwarder.enqueue(client, "127.0.0.1", endpoint.port)
        forwarder.start()
        assert forwarder.started.wait()
        ports = []
        for _ in range(2):
            forwarder.enqueue(client, "127.0.0.1", endpoint.port)
            ports.append(forwarder.out_q.get())
        assert [ask(port, b"x") for port in ports] == [b"x" + GOODBYE] * 2
        forwarder.cleanup_server(client)
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                ask(port, b"")
        forwarder.shutdown()
        forwarder.join()
        assert not forwarder.is_alive()


def test_importing_needs_no_other_library(library: Library) -> None:
    other = {"native": "ssh", "ssh": "ssh2"}[library.name]
    code = (
        f"import sys; sys.modules[{other!r}] = None;"
        f"import pssh.clients.{library.name}.tunnel as t;"
        "print(t.Tunnel, t.TunnelServer, t.LocalForwarder)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
