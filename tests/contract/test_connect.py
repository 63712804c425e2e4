"""Connecting: time-outs, attempts, addresses, and that no host waits for another one."""

from __future__ import annotations

import builtins
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from pssh.clients.base import names
from pssh.config import HostConfig
from pssh.exceptions import (
    NoIPv6AddressFoundError,
    PSSHError,
    Timeout,
    UnknownHostError,
)
from tests.contract.access import said_by_the_library
from tests.contract.conftest import Connect, ConnectAll, Library
from tests.contract.outputs import eventually, lines
from tests.servers.asyncssh_server import AsyncSSHServer
from tests.servers.cut_proxy import CutProxy
from tests.servers.fakes import (
    BannerThenSilent,
    ClosesAtOnce,
    NeverAccepts,
    Silent,
    Slow,
)
from tests.servers.openssh import OpenSSHServer

StartServer = Callable[..., OpenSSHServer]


def own(server: Any, **settings: Any) -> HostConfig:
    """The settings of one host in a list whose other hosts are elsewhere."""
    return HostConfig(port=server.port, host_key_policy="ignore", **settings)


# Time-outs

STEPS = (
    "connect",
    "handshake",
    "handshake",
    "handshake",
    "authenticate",
    "open a channel",
    "start the command",
)


@pytest.fixture
def slow_servers(
    asyncssh_with: Callable[..., AsyncSSHServer],
) -> Iterator[list[HostConfig]]:
    """The settings of hosts that never come to an end of the steps in ``STEPS``."""
    with (
        NeverAccepts() as connects,
        Silent() as silent,
        BannerThenSilent() as banner,
        Slow() as slow,
    ):
        hanging = [asyncssh_with(hang=[step]) for step in ("auth", "open", "exec")]
        yield [
            *(own(server, user="pssh") for server in (connects, silent, banner, slow)),
            *(own(server, user="pssh") for server in hanging),
        ]


def test_every_step_has_a_time_out(connect_all: ConnectAll, slow_servers: list[HostConfig]) -> None:
    client = connect_all(len(STEPS), host_config=slow_servers, timeout=0.5)

    started = time.monotonic()
    outputs = client.run_command("true", stop_on_errors=False)
    taken = time.monotonic() - started

    for step, config, output in zip(STEPS, slow_servers, outputs, strict=True):
        error = output.exception
        assert isinstance(error, Timeout), (step, error)
        assert error.step == step
        assert (error.host, error.port) == ("127.0.0.1", config.port)
        assert str(error) == (
            f"Host 127.0.0.1:{config.port} took longer than 0.5 seconds to {step}"
        )
    assert taken < 5  # all of them at the same time


def test_a_slow_name_has_a_time_out(library: Library, slow_names: list[str]) -> None:
    with pytest.raises(Timeout) as caught:
        library.SSHClient("slow.example", port=2222, num_retries=1, timeout=0.1)

    assert (caught.value.host, caught.value.port) == ("slow.example", 2222)
    assert caught.value.step == "resolve the name"


def test_a_time_out_of_one_host(connect_all: ConnectAll) -> None:
    with Silent() as one, Silent() as other:
        client = connect_all(
            2, timeout=60, host_config=[own(one, timeout=0.1), own(other, timeout=0.2)]
        )
        outputs = client.run_command("true", stop_on_errors=False)

    assert "0.1 seconds" in str(outputs[0].exception)
    assert "0.2 seconds" in str(outputs[1].exception)


def test_no_time_out_is_0_and_none(connect_all: ConnectAll, sshd: OpenSSHServer) -> None:
    # A round trip takes longer than the client's time-out.
    with CutProxy(sshd.host, sshd.port, delay=0.06) as proxy:
        client = connect_all(2, timeout=0.1, host_config=[own(proxy, timeout=0), own(proxy)])
        outputs = client.run_command("echo hello", stop_on_errors=False)
        assert lines(outputs[0]) == ["hello"]
        assert isinstance(outputs[1].exception, Timeout)
        without = connect_all(1, timeout=None, host_config=[own(proxy)])
        assert lines(without.run_command("echo hello")[0]) == ["hello"]


def test_a_time_out_is_for_each_step(connect: Connect, sshd: OpenSSHServer) -> None:
    """All steps together may take longer than any one of them."""
    with CutProxy(sshd.host, sshd.port, delay=0.15) as proxy:
        started = time.monotonic()
        client = connect(port=proxy.port, host_key_policy="ignore", timeout=2)
        output = client.run_command("echo hello")
        assert lines(output) == ["hello"]
        assert time.monotonic() - started > 2


def test_a_time_out_does_not_stop_what_is_running(connect: Connect) -> None:
    output = connect(timeout=0.5).run_command("sleep 0.8; echo done")

    assert lines(output) == ["done"]


# Attempts


def test_attempts(library: Library) -> None:
    with ClosesAtOnce() as server:
        started = time.monotonic()
        with pytest.raises(builtins.ConnectionError):
            library.SSHClient(
                server.host,
                port=server.port,
                user="nobody",
                num_retries=3,
                retry_delay=0.15,
                host_key_policy="ignore",
            )
        assert server.accepted == 3
        assert time.monotonic() - started >= 0.3


def test_attempts_are_counted_in_the_error(connect: Connect) -> None:
    with NeverAccepts() as server:
        port = server.port
    with pytest.raises(builtins.ConnectionRefusedError) as caught:
        connect(port=port, num_retries=2, retry_delay=0)

    assert caught.value.args[-2:] == (2, 2)
    assert "retry 2/2" in str(caught.value)


def test_one_attempt(library: Library) -> None:
    with ClosesAtOnce() as server:
        started = time.monotonic()
        with pytest.raises(builtins.ConnectionError):
            library.SSHClient(
                server.host, port=server.port, num_retries=1, host_key_policy="ignore"
            )
        assert server.accepted == 1
        assert time.monotonic() - started < 5  # the delay before a further one


def test_attempts_of_one_host(connect_all: ConnectAll) -> None:
    with ClosesAtOnce() as one, ClosesAtOnce() as other:
        client = connect_all(
            2,
            num_retries=2,
            retry_delay=0,
            host_config=[own(one), own(other, num_retries=4)],
        )
        client.run_command("true", stop_on_errors=False)
        assert (one.accepted, other.accepted) == (2, 4)


def test_a_time_out_is_tried_again(library: Library) -> None:
    with Silent() as server:
        with pytest.raises(Timeout):
            library.SSHClient(
                server.host,
                port=server.port,
                num_retries=2,
                retry_delay=0,
                timeout=0.1,
                host_key_policy="ignore",
            )
        assert server.accepted == 2


def test_a_server_that_comes_up_is_reached(connect: Connect, sshd_with: StartServer) -> None:
    server = sshd_with()
    server.stop()

    with said_by_the_library("Trying again", server.restart):
        client = connect(server, num_retries=2, retry_delay=0)

    assert lines(client.run_command("echo hello")) == ["hello"]


def test_a_host_that_waits_for_its_next_attempt_delays_nobody(connect_all: ConnectAll) -> None:
    with ClosesAtOnce() as server:
        client = connect_all(
            2, host_config=[HostConfig(), own(server, num_retries=2, retry_delay=20)]
        )
        greenlets = client.connect_auth()
        greenlets[0].get(timeout=10)
        eventually(lambda: server.accepted == 1, "the first attempt")
        assert not greenlets[1].ready()
        gevent.killall(greenlets)


# Addresses


def test_ipv6_only_refuses_an_ipv4_address(library: Library) -> None:
    started = time.monotonic()
    with pytest.raises(NoIPv6AddressFoundError) as caught:
        library.SSHClient("127.0.0.1", port=2222, ipv6_only=True, num_retries=3)

    assert time.monotonic() - started < 5  # waiting would not help
    assert isinstance(caught.value, UnknownHostError)
    assert (caught.value.host, caught.value.port) == ("127.0.0.1", 2222)
    assert "IPv6" in str(caught.value)


def test_ipv6_only_of_one_host(connect_all: ConnectAll) -> None:
    client = connect_all(2, host_config=[HostConfig(ipv6_only=True), HostConfig()])

    outputs = client.run_command("echo hello", stop_on_errors=False)

    assert isinstance(outputs[0].exception, NoIPv6AddressFoundError)
    assert lines(outputs[1]) == ["hello"]


@pytest.fixture
def two_addresses(sshd_with: StartServer) -> OpenSSHServer:
    """A server that listens on 127.0.0.1 and on ::1."""
    if not _has_ipv6():
        pytest.skip("This machine has no ::1.")
    return sshd_with(ipv6=True)


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


PEER = "echo ${SSH_CONNECTION%% *}"


def test_an_ipv6_address(connect: Connect, two_addresses: OpenSSHServer) -> None:
    for ipv6_only in (True, False):
        client = connect(two_addresses, host="::1", ipv6_only=ipv6_only)
        assert lines(client.run_command(PEER)) == ["::1"]


@pytest.mark.parametrize(("ipv6_only", "peer"), [(True, "::1"), (False, "127.0.0.1")])
def test_a_name_with_both_addresses(
    connect: Connect,
    two_addresses: OpenSSHServer,
    monkeypatch: pytest.MonkeyPatch,
    ipv6_only: bool,
    peer: str,
) -> None:
    port = two_addresses.port
    monkeypatch.setattr(names, "_getaddrinfo", lambda *_: [_ipv4(port), _ipv6(port)])

    client = connect(
        two_addresses, host="both.example", ipv6_only=ipv6_only, host_key_policy="ignore"
    )

    assert lines(client.run_command(PEER)) == [peer]


def test_the_next_address_is_tried(
    connect: Connect, sshd_with: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One address refuses, one swallows packets, the third one answers."""
    server = sshd_with()
    with NeverAccepts() as mute:
        refusing = _ipv4(1)
        addresses = [refusing, _ipv4(mute.port), _ipv4(server.port)]
        monkeypatch.setattr(names, "_getaddrinfo", lambda *_: addresses)
        client = connect(server, host="many.example", timeout=1, host_key_policy="ignore")

    assert lines(client.run_command("echo hello")) == ["hello"]


def _ipv4(port: int) -> tuple[Any, ...]:
    return socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)


def _ipv6(port: int) -> tuple[Any, ...]:
    return socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)


# Nobody waits for somebody else


@pytest.fixture
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names in ``.example`` are not resolved before the test ends; which were asked for."""
    asked: list[str] = []
    end = threading.Event()
    real = names._getaddrinfo

    def getaddrinfo(host: str, *args: Any) -> Any:
        if not host.endswith(".example"):
            return real(host, *args)
        asked.append(host)
        end.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(names, "_getaddrinfo", getaddrinfo)
    try:
        yield asked
    finally:
        end.set()


def test_slow_names_delay_nobody(
    connect_all: ConnectAll, slow_names: list[str], sshd: OpenSSHServer
) -> None:
    hosts = ["slow.example", *["localhost"] * 20, "slower.example"]
    client = connect_all(hosts, timeout=None)

    greenlets = client.connect_auth()
    gevent.joinall(greenlets[1:-1], timeout=20, raise_error=True)

    assert all(greenlet.successful() for greenlet in greenlets[1:-1])
    assert sorted(slow_names) == ["slow.example", "slower.example"]
    assert not greenlets[0].ready()
    assert not greenlets[-1].ready()
    gevent.killall(greenlets)


def test_slow_hosts_delay_nobody(
    connect_all: ConnectAll, asyncssh_with: Callable[..., AsyncSSHServer], sshd: OpenSSHServer
) -> None:
    with contextlib.ExitStack() as stack:
        slow = [
            stack.enter_context(server)
            for server in (Silent(), BannerThenSilent(), NeverAccepts(), Slow())
        ]
        slow.append(asyncssh_with(hang=["auth"]))
        config = [own(server, user="pssh") for server in slow]
        config += [HostConfig() for _ in range(20)]
        client = connect_all(len(config), timeout=None, host_config=config)

        greenlets = client.connect_auth()
        gevent.joinall(greenlets[len(slow) :], timeout=20, raise_error=True)

        assert all(greenlet.successful() for greenlet in greenlets[len(slow) :])
        assert not any(greenlet.ready() for greenlet in greenlets[: len(slow)])
        gevent.killall(greenlets)


def test_the_loop_goes_on_while_a_client_connects(connect: Connect, sshd: OpenSSHServer) -> None:
    """A round trip of 0.12 seconds leaves time for hundreds of ticks."""
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        while True:
            gevent.sleep(0.001)
            ticks += 1

    with CutProxy(sshd.host, sshd.port, delay=0.06) as proxy:
        ticker = gevent.spawn(tick)
        try:
            connect(port=proxy.port, host_key_policy="ignore")
        finally:
            ticker.kill()
    assert ticks > 50


# What is left afterwards


def test_a_failed_attempt_leaves_no_connection(library: Library) -> None:
    class Counting(BannerThenSilent):
        left = 0

        async def _listen(self, reader: Any) -> None:
            await super()._listen(reader)
            self.left += 1

    with Counting() as server:
        with pytest.raises(Timeout) as caught:
            library.SSHClient(
                server.host,
                port=server.port,
                num_retries=2,
                retry_delay=0,
                timeout=0.1,
                host_key_policy="ignore",
            )
        # The error is still there, with its traceback, and holds no connection.
        assert caught.value.step == "handshake"
        eventually(lambda: server.left == 2, "the end of both connections")


def test_an_interrupted_connect_can_be_done_again(
    connect_all: ConnectAll, sshd: OpenSSHServer
) -> None:
    with CutProxy(sshd.host, sshd.port) as proxy:
        proxy.stall()
        client = connect_all(1, port=proxy.port, host_key_policy="ignore")
        (greenlet,) = client.connect_auth()
        eventually(lambda: proxy.accepted == 1, "the first connection")
        greenlet.kill()
        proxy.resume()

        assert lines(client.run_command("echo hello")[0]) == ["hello"]


def test_an_idle_connection_that_was_cut_is_opened_again(
    connect: Connect, sshd: OpenSSHServer
) -> None:
    with CutProxy(sshd.host, sshd.port) as proxy:
        client = connect(port=proxy.port, host_key_policy="ignore")
        assert lines(client.run_command("echo one")) == ["one"]
        proxy.cut()

        assert lines(client.run_command("echo two")) == ["two"]
        assert proxy.accepted == 2


def test_every_error_of_connecting_has_the_common_base(connect_all: ConnectAll) -> None:
    with ClosesAtOnce() as closes, Silent() as silent:
        client = connect_all(
            ["127.0.0.1", "127.0.0.1", "no-such-host.invalid"],
            timeout=0.2,
            host_config=[own(closes), own(silent), HostConfig()],
        )
        outputs = client.run_command("true", stop_on_errors=False)

    assert all(isinstance(out.exception, PSSHError) for out in outputs)
