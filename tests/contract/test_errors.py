"""Errors: what is raised when, and that it is a sentence for a person."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import copy
import gc
import inspect
import os
import pickle
import resource
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from pssh import exceptions
from pssh.clients.base.connection import Connection
from pssh.clients.base.single import BaseSSHClient
from pssh.config import HostConfig
from pssh.exceptions import (
    ConnectError,
    ConnectionLostError,
    HostKeyMismatchError,
    PSSHError,
    SSHError,
    Timeout,
    UnknownHostError,
)
from tests.contract.access import access, said_by_the_library, wait_for_log
from tests.contract.conftest import Connect, ConnectAll, Library
from tests.contract.outputs import eventually, lines, stdout
from tests.servers.cut_proxy import CutProxy
from tests.servers.fakes import (
    BANNER,
    ClosesAfterBanner,
    ClosesAtOnce,
    FakeServer,
    NeverAccepts,
    ResetsAtOnce,
)
from tests.servers.openssh import OpenSSHServer
from tests.servers.process import free_port

CHECKOUT = Path(__file__).resolve().parents[2]

#: Every error of the library, by its name.
CLASSES = {
    name: value
    for name, value in vars(exceptions).items()
    if inspect.isclass(value) and issubclass(value, PSSHError) and value.__name__ == name
}

#: Old name -> the name of the class that it has to be.
ALIASES = {
    "UnknownHostException": "UnknownHostError",
    "ConnectionErrorException": "ConnectionError",
    "AuthenticationException": "AuthenticationError",
    "SSHException": "SSHError",
    "HostArgumentException": "HostArgumentError",
    "SessionException": "SessionError",
    "SFTPException": "SFTPError",
    "SFTPIOException": "SFTPIOError",
    "SCPException": "SCPError",
    "ProxyException": "ProxyError",
    "PKeyFileException": "PKeyFileError",
}

#: Class -> the class that scripts may catch instead.
PARENTS = {
    "ConnectionLostError": builtins.ConnectionError,
    "SFTPIOError": exceptions.SFTPError,
    "UnknownHostKeyError": exceptions.HostKeyError,
    "HostKeyMismatchError": exceptions.HostKeyError,
}

NAMES = (
    "UnknownHostError",
    "AuthenticationError",
    "SSHError",
    "SessionError",
    "HostArgumentError",
    "HostConfigError",
    "SFTPError",
    "SFTPIOError",
    "SCPError",
    "ProxyError",
    "Timeout",
    "PKeyFileError",
    "ShellError",
    "InvalidAPIUseError",
    "NoIPv6AddressFoundError",
    "ConnectionLostError",
    "HostKeyError",
    "UnknownHostKeyError",
    "HostKeyMismatchError",
)


def is_sentence(text: str) -> bool:
    """Whether a text can be read as one: no placeholders left, no tuple, no bare code."""
    return (
        " " in text
        and "%s" not in text
        and "%r" not in text
        and not text.startswith("(")
        and text == text.strip()
        and text[0].isupper()
    )


def error_of(library: Library, host: str, **settings: Any) -> PSSHError:
    """What connecting to a host fails with."""
    with pytest.raises(PSSHError) as caught:
        library.SSHClient(
            host,
            **{
                "user": "nobody",
                "num_retries": 1,
                "allow_agent": False,
                "identity_auth": False,
                "host_key_policy": "ignore",
                "timeout": 10,
                **settings,
            },
        )
    return caught.value


# The classes


@pytest.mark.parametrize("name", NAMES)
def test_every_error_has_the_common_base(name: str) -> None:
    assert issubclass(getattr(exceptions, name), PSSHError)
    assert issubclass(PSSHError, Exception)


def test_connection_error_is_the_built_in_one() -> None:
    assert exceptions.ConnectionError is builtins.ConnectionError


@pytest.mark.parametrize(("name", "parent"), PARENTS.items())
def test_what_else_catches_an_error(name: str, parent: type[Exception]) -> None:
    assert issubclass(getattr(exceptions, name), parent)


@pytest.mark.parametrize(("old", "new"), ALIASES.items())
def test_the_old_names_are_aliases(old: str, new: str) -> None:
    assert getattr(exceptions, old) is getattr(exceptions, new)


@pytest.mark.parametrize("name", CLASSES)
def test_str_fills_in_the_format(name: str) -> None:
    error = CLASSES[name]("Host %s:%s is %s", "web1", 22, "away", host="web1", port=22)

    assert str(error) == "Host web1:22 is away"
    assert error.args == ("Host %s:%s is %s", "web1", 22, "away")
    assert (error.host, error.port) == ("web1", 22)


@pytest.mark.parametrize("name", CLASSES)
def test_errors_that_scripts_raise_themselves_can_be_printed(name: str) -> None:
    kind = CLASSES[name]

    assert str(kind("only a text, 100% of it")) == "only a text, 100% of it"
    assert str(kind("no format", "web1", 3)) == "no format, web1, 3"
    assert str(kind()) != ""
    assert kind().host is None
    assert kind().port is None


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("again", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_errors_survive_copying_and_pickling(
    name: str, again: Callable[[PSSHError], PSSHError]
) -> None:
    error = CLASSES[name]("Host %s is %s", "web1", "away", host="web1", port=22)

    twin = again(error)

    assert type(twin) is type(error)
    assert twin.args == error.args
    assert str(twin) == "Host web1 is away"
    assert (twin.host, twin.port) == ("web1", 22)


@pytest.mark.parametrize("again", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_further_fields_survive_copying_and_pickling(
    again: Callable[[Any], Any],
) -> None:
    timeout = again(Timeout("Host %s is slow", "web1", host="web1", step="connect"))
    mismatch = again(
        HostKeyMismatchError(
            "Host %s has changed",
            "web1",
            host="web1",
            fingerprint="SHA256:new",
            known_fingerprint="SHA256:old",
            known_hosts="/etc/known_hosts",
            line=3,
        )
    )

    assert (timeout.step, timeout.finished, timeout.unfinished) == ("connect", [], [])
    assert (mismatch.fingerprint, mismatch.known_fingerprint) == ("SHA256:new", "SHA256:old")
    assert (mismatch.known_hosts, mismatch.line) == ("/etc/known_hosts", 3)


# Connecting


def test_refused(library: Library) -> None:
    port = free_port()

    error = error_of(library, "127.0.0.1", port=port)

    assert isinstance(error, builtins.ConnectionRefusedError)
    assert isinstance(error, exceptions.ConnectionError)
    assert (error.host, error.port) == ("127.0.0.1", port)
    # The order that 2.x has: format, host, port, reason, attempt, attempts.
    assert error.args[1:3] == ("127.0.0.1", port)
    assert error.args[-2:] == (1, 1)
    assert is_sentence(str(error))
    assert f"127.0.0.1:{port}" in str(error)
    assert "refused" in str(error).lower()


def test_unreachable(library: Library) -> None:
    with NeverAccepts() as server:
        error = error_of(library, server.host, port=server.port, timeout=0.2)

    assert isinstance(error, Timeout)
    assert error.step == "connect"
    assert (error.host, error.port) == (server.host, server.port)
    assert str(error) == f"Host 127.0.0.1:{server.port} took longer than 0.2 seconds to connect"


def test_no_route(library: Library) -> None:
    # The kernel refuses the broadcast address at once, as it does a network without a route.
    error = error_of(library, "255.255.255.255", port=22)

    assert isinstance(error, exceptions.ConnectionError)
    assert (error.host, error.port) == ("255.255.255.255", 22)
    assert is_sentence(str(error))


def test_unknown_name(library: Library) -> None:
    error = error_of(library, "no-such-host.invalid", port=2222)

    assert isinstance(error, UnknownHostError)
    assert (error.host, error.port) == ("no-such-host.invalid", 2222)
    # The order that 2.x has: format, host, reason, attempt, attempts.
    assert error.args[1] == "no-such-host.invalid"
    assert error.args[-2:] == (1, 1)
    assert is_sentence(str(error))
    assert "no-such-host.invalid" in str(error)


# A name leads nowhere else because of what is in it: the last one begins with an address.
@pytest.mark.parametrize(
    "host", ["", "a" * 64 + ".invalid", "a..b", "with blank", "nul\0", "127.0.0.1\0.invalid"]
)
def test_names_that_cannot_exist(library: Library, host: str) -> None:
    with pytest.raises((UnknownHostError, ValueError)) as caught:
        library.SSHClient(host, num_retries=1, host_key_policy="ignore")

    assert is_sentence(str(caught.value))


# What is not an SSH server, or not for long


def assert_is_about(error: PSSHError, server: FakeServer | OpenSSHServer) -> None:
    assert (error.host, error.port) == (server.host, server.port)
    assert is_sentence(str(error))
    assert f"{server.host}:{server.port}" in str(error)


class Says(FakeServer):
    """Says something that is not an SSH version, and closes.

    :param text: what it says.
    :param first: whether it has said it before the client looks, or after the client's version.
    """

    def __init__(self, text: bytes, *, first: bool) -> None:
        self._text = text
        self._first = first
        self.said = threading.Event()
        #: Whether a client waits for what is said.
        self.awaited = first
        super().__init__()

    async def talk(self, writer: asyncio.StreamWriter) -> None:
        while not self.awaited:
            await asyncio.sleep(0.001)
        writer.write(self._text)
        writer.write_eof()
        self.said.set()

    def be_looked_at(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have clients begin the handshake in time, or too late."""
        begin, wait = library.SSHClient._new_session, Connection.wait

        def begin_late(_: type[BaseSSHClient], *args: Any) -> Any:
            gevent.get_hub().threadpool.apply(self.said.wait, (10,))
            return begin(*args)

        def be_awaited(connection: Connection) -> None:
            self.awaited = True
            wait(connection)

        if self._first:
            monkeypatch.setattr(library.SSHClient, "_new_session", classmethod(begin_late))
        else:
            # On the same machine an answer may come before a library has come back from sending.
            monkeypatch.setattr(Connection, "wait", be_awaited)


@pytest.mark.parametrize("first", [True, False], ids=["server first", "client first"])
def test_not_an_ssh_server(library: Library, monkeypatch: pytest.MonkeyPatch, first: bool) -> None:
    with Says(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", first=first) as server:
        server.be_looked_at(library, monkeypatch)
        error = error_of(library, server.host, port=server.port, num_retries=3, retry_delay=0)

        assert isinstance(error, SSHError | ConnectionLostError)
        assert_is_about(error, server)
        assert "not an SSH server" in str(error)
        assert "HTTP/1.1 400 Bad Request" in str(error)
        # It will not be one a few seconds later.
        assert server.accepted == 1


@pytest.mark.parametrize("first", [True, False], ids=["server first", "client first"])
def test_an_ssh_server_that_says_why_it_closes(
    library: Library, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    """As OpenSSH does at MaxStartups: that passes, so that another attempt may succeed."""
    with Says(b"Exceeded MaxStartups\r\n", first=first) as server:
        server.be_looked_at(library, monkeypatch)
        error = error_of(library, server.host, port=server.port, num_retries=2, retry_delay=0)

        assert isinstance(error, ConnectionLostError)
        assert_is_about(error, server)
        assert "Exceeded MaxStartups" in str(error)
        assert server.accepted == 2


@pytest.mark.parametrize("kind", [ClosesAtOnce, ClosesAfterBanner, ResetsAtOnce])
def test_closed_in_the_handshake(library: Library, kind: type[FakeServer]) -> None:
    with kind() as server:
        error = error_of(library, server.host, port=server.port)

    assert_is_about(error, server)
    # Not always a lost one: a reset may come before the connection is known to stand.
    assert isinstance(error, builtins.ConnectionError)
    assert "No common algorithm" not in str(error)


@pytest.mark.parametrize("seen", ["as it comes", "before the library looks"])
def test_reset_at_any_point_of_the_handshake(
    library: Library, proxy: CutProxy, monkeypatch: pytest.MonkeyPatch, seen: str
) -> None:
    """Whether the library meets the reset while it reads, while it writes, or right away."""
    attempt = Connection.attempt

    def attempt_late(self: Connection, operation: Callable[..., Any], *args: Any) -> Any:
        if operation == self.session.handshake:
            poll = select.poll()
            poll.register(self.sock.fileno(), select.POLLHUP)
            # Before the server has been answered, or has heard more, it cuts nothing.
            poll.poll(20)
        return attempt(self, operation, *args)

    if seen == "before the library looks":
        monkeypatch.setattr(Connection, "attempt", attempt_late)
    # In the version, after it, in the list of algorithms, and in the key exchange.
    for count in (1, 20, 42, 60, 1000, 1300):
        proxy.cut_after(count)
        error = error_of(library, proxy.host, port=proxy.port)

        # A reset may come before the connection is known to stand; then it was never lost.
        assert isinstance(error, ConnectError | ConnectionLostError), f"{count} bytes: {error!r}"
        assert (error.host, error.port) == (proxy.host, proxy.port)
        assert isinstance(error, ConnectError) or "was lost" in str(error)


def test_a_line_without_end_instead_of_a_version(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Says(b"220 mail.example ESMTP " + b"x" * 100_000, first=False) as server:
        server.be_looked_at(library, monkeypatch)
        error = error_of(library, server.host, port=server.port)

    assert_is_about(error, server)
    assert "220 mail.example" in str(error)
    assert len(str(error)) < 1000


class NonsenseAfterBanner(FakeServer):
    """Introduces itself, and then sends what is no packet."""

    async def talk(self, writer: asyncio.StreamWriter) -> None:
        writer.write(BANNER + b"\xff" * 4096)
        writer.write_eof()


def test_nonsense_in_the_handshake(library: Library) -> None:
    with NonsenseAfterBanner() as server:
        error = error_of(library, server.host, port=server.port)

    assert_is_about(error, server)


# Algorithms


@pytest.mark.parametrize(
    ("server_option", "setting"),
    [
        (("Ciphers", "aes128-ctr"), {"ciphers": ["chacha20-poly1305@openssh.com"]}),
        (("KexAlgorithms", "curve25519-sha256"), {"kex_algorithms": ["ecdh-sha2-nistp256"]}),
        (("HostKeyAlgorithms", "ssh-ed25519"), {"host_key_algorithms": ["rsa-sha2-512"]}),
    ],
    ids=["ciphers", "kex_algorithms", "host_key_algorithms"],
)
def test_no_common_algorithm(
    library: Library,
    sshd_with: Callable[..., OpenSSHServer],
    server_option: tuple[str, str],
    setting: dict[str, list[str]],
) -> None:
    server = sshd_with(dict([server_option]))

    error = error_of(library, server.host, **access(server, **setting, num_retries=3))

    assert isinstance(error, SSHError)
    assert (error.host, error.port) == (server.host, server.port)
    assert is_sentence(str(error))
    assert "No common algorithm" in str(error)
    assert next(iter(setting)) in str(error)
    # Trying again would not help.
    log = wait_for_log(server, "Unable to negotiate")
    assert log.count("Unable to negotiate") == 1


class NamesNoMethod(FakeServer):
    """Names as methods of key exchange what clients say of themselves (RFC 8308 section 2.1)."""

    async def talk(self, writer: asyncio.StreamWriter) -> None:
        lists = [
            "ext-info-c,kex-strict-c-v00@openssh.com",
            "ssh-ed25519",
            *["aes128-ctr", "hmac-sha2-256", "none", ""] * 2,
        ]
        # Both directions stand beside each other (RFC 4253 section 7.1).
        lists = lists[:2] + sorted(lists[2:], key=lists.index)
        names = b"".join(len(each).to_bytes(4, "big") + each.encode() for each in lists)
        payload = b"\x14" + bytes(16) + names + bytes(5)
        padding = bytes(4 + -(len(payload) + 9) % 8)
        length = (1 + len(payload) + len(padding)).to_bytes(4, "big")
        writer.write(BANNER + length + bytes([len(padding)]) + payload + padding)


def test_no_method_among_those_of_key_exchange(library: Library) -> None:
    with NamesNoMethod() as server:
        error = error_of(library, server.host, port=server.port, num_retries=3)

        assert isinstance(error, SSHError)
        assert_is_about(error, server)
        assert "No common algorithm" in str(error)
        assert server.accepted == 1


# Descriptors

TOO_MANY_FILES = """
import os, resource, sys
import gevent
from pssh.exceptions import PSSHError
from {module} import SSHClient

gevent.get_hub().threadpool.apply(os.getpid)  # what the loop itself needs is open now
hold = []
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
while True:
    try:
        hold.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        break
try:
    SSHClient("127.0.0.1", port={port}, user="nobody", num_retries=3, retry_delay=60,
              host_key_policy="ignore")
except PSSHError as error:
    print(type(error).__name__, isinstance(error, ConnectionError), error.errno, error.host)
    print(error)
"""


def test_too_many_open_files(library: Library) -> None:
    module = library.SSHClient.__module__
    ran = subprocess.run(
        [sys.executable, "-c", TOO_MANY_FILES.format(module=module, port=free_port())],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        timeout=30,
    )

    assert ran.stderr == ""
    summary, sentence = ran.stdout.splitlines()
    assert summary.split()[1:] == ["True", "24", "127.0.0.1"]
    assert is_sentence(sentence)
    assert "Too many open files" in sentence
    assert "64" in sentence
    assert "ulimit -n" in sentence


def test_too_many_open_files_harm_nobody_else(
    library: Library, client: BaseSSHClient, sshd: OpenSSHServer
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        error = error_of(library, sshd.host, port=sshd.port)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert "Too many open files" in str(error)
    assert str(lowest_free) in str(error)
    assert lines(client.run_command("echo still here")) == ["still here"]


# Servers that had enough, and connections that end


def test_too_many_connections_for_the_server(
    connect: Connect, sshd_with: Callable[..., OpenSSHServer]
) -> None:
    server = sshd_with({"MaxStartups": "1:100:1"})
    place = socket.create_connection((server.host, server.port))
    # The one place for those who have not authenticated is taken now.
    with place, pytest.raises(ConnectionLostError) as caught:
        connect(server)

    assert_is_about(caught.value, server)
    assert "drop connection" in server.log()


def test_a_server_that_was_too_busy_is_tried_again(
    connect: Connect, sshd_with: Callable[..., OpenSSHServer]
) -> None:
    server = sshd_with({"MaxStartups": "1:100:1"})
    place = socket.create_connection((server.host, server.port))
    with place, said_by_the_library("Trying again", place.close):
        client = connect(server, num_retries=20, retry_delay=0.1)

    assert client.run_command("true").host == server.host
    assert "drop connection" in server.log()


def test_a_lost_connection_is_a_builtin_connection_error(
    connect: Connect, sshd_with: Callable[..., OpenSSHServer]
) -> None:
    server = sshd_with()
    client = connect(server)
    output = client.run_command("echo started; exec cat")
    assert next(stdout(output)) == "started"

    server.kill_connections()

    with pytest.raises(builtins.ConnectionError) as caught:
        lines(output)
    assert isinstance(caught.value, ConnectionLostError)
    assert_is_about(caught.value, server)


def test_refused_by_one_host_of_many(library: Library, connect_all: ConnectAll) -> None:
    """Each error says whose it is."""
    ports = [free_port(), free_port()]
    client = connect_all(2, host_config=[HostConfig(port=port) for port in ports])

    outputs = client.run_command("true", stop_on_errors=False)

    for port, output in zip(ports, outputs, strict=True):
        assert isinstance(output.exception, builtins.ConnectionRefusedError)
        assert output.exception.port == port  # type: ignore[attr-defined]
        assert f"127.0.0.1:{port}" in str(output.exception)
    with pytest.raises(builtins.ConnectionRefusedError) as caught:
        client.run_command("true")
    assert caught.value.port == ports[0]  # type: ignore[attr-defined]


def test_tracebacks_show_what_the_library_raised(library: Library) -> None:
    error = error_of(library, "127.0.0.1", port=free_port())

    assert isinstance(error.__cause__, OSError)


def open_sockets() -> int:
    """How many sockets this process has."""
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")
    return found


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Nothing that refers to itself is found."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_errors_that_are_kept_keep_no_socket_open(
    connect_all: ConnectAll, keys: dict[str, Path], tmp_path: Path
) -> None:
    """A program may keep the errors of thousands of hosts."""
    before = open_sockets()
    refused = connect_all(3, pkey=str(keys["unauthorized"]))
    unknown = connect_all(3, known_hosts=str(tmp_path / "none"), host_key_policy="strict")
    nothing_in_common = connect_all(3, kex_algorithms=["diffie-hellman-group14-sha1"])
    errors = [
        output.exception
        for client in (refused, unknown, nothing_in_common)
        for output in client.run_command("true", stop_on_errors=False)
    ]
    assert all(isinstance(error, PSSHError) for error in errors)
    eventually(lambda: open_sockets() == before, "the sockets of all to be closed", timeout=5)
