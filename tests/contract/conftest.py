"""The clients that the contract holds for, and the servers that they are tried against."""

from __future__ import annotations

import importlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.util import format_run_info

from pssh.clients.base.parallel import BaseParallelSSHClient
from pssh.clients.base.single import BaseSSHClient
from pssh.utils import host_logger
from tests.contract import programs
from tests.contract.programs import RunProgram
from tests.servers.account import Account
from tests.servers.cut_proxy import CutProxy
from tests.servers.openssh import OpenSSHServer
from tests.servers.server import Server
from tests.servers.template import Template

#: Seconds that a test may take; what takes longer hangs.
TIME_LIMIT = 30.0

#: The client libraries that the contract is tried with.
LIBRARIES = ("native", "ssh")

#: The server fixtures that the basic contract is tried against.
SERVERS = ("sshd", "dropbear", "asyncssh_server")

#: Those of them whose connections tests share. What Dropbear makes of many SFTP sessions one after
#: another is a test of its own.
SHARED = ("sshd", "asyncssh_server")

Settings = dict[str, Any]
Connect = Callable[..., BaseSSHClient]
ConnectAll = Callable[..., BaseParallelSSHClient]
SettingsFor = Callable[..., Settings]
ClientOf = Callable[[Server], BaseSSHClient]


@dataclass(frozen=True)
class Library:
    """A client library: its name as in ``pssh.clients.<name>``, and its two clients."""

    name: str
    SSHClient: type[BaseSSHClient]
    ParallelSSHClient: type[BaseParallelSSHClient]


class HungError(BaseException):
    """A test waits for something that does not happen. Not an ``Exception``: nobody may eat it."""


@pytest.fixture(autouse=True)
def time_limit() -> Iterator[None]:
    """Fail a test that hangs, showing what every greenlet waits for."""
    test = gevent.getcurrent()

    def hung() -> None:
        stacks = "\n".join(format_run_info())
        test.throw(HungError(f"The test has not ended after {TIME_LIMIT:g} seconds.\n{stacks}"))

    timer = gevent.get_hub().loop.timer(TIME_LIMIT, ref=False)
    # The loop's clock stands still while a test waits outside it, for instance for a process.
    gevent.get_hub().loop.update_now()
    timer.start(hung)
    try:
        yield
    finally:
        timer.stop()
        timer.close()


@pytest.fixture(scope="session", params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Library:
    """The client library that is tried."""
    module = importlib.import_module(f"pssh.clients.{request.param}")
    return Library(request.param, module.SSHClient, module.ParallelSSHClient)


@pytest.fixture(scope="session")
def settings_for(keys: dict[str, Path]) -> SettingsFor:
    """A function from a server to the settings that let a client in; keyword arguments win."""

    def make(server: Server, **changes: Any) -> Settings:
        settings: Settings = {
            "user": server.user,
            "port": server.port,
            "pkey": str(keys["ecdsa"]),
            "known_hosts": str(server.known_hosts),
            "num_retries": 1,
            "allow_agent": False,
            "identity_auth": False,
            "timeout": 30,
        }
        return {**settings, **changes}

    return make


@pytest.fixture
def settings(settings_for: SettingsFor, sshd: OpenSSHServer) -> Settings:
    """Settings that let a client into :func:`tests.conftest.sshd` at ``sshd.host``."""
    return settings_for(sshd)


@pytest.fixture
def connect(library: Library, settings_for: SettingsFor, sshd: OpenSSHServer) -> Iterator[Connect]:
    """A function that makes a connected client, which is closed after the test.

    ``connect(server=None, **settings)``: the server is ``sshd`` unless another one is given.
    """
    clients: list[BaseSSHClient] = []

    def make(server: Server | None = None, **changes: Any) -> BaseSSHClient:
        chosen = server or sshd
        host = changes.pop("host", chosen.host)
        client = library.SSHClient(host, **settings_for(chosen, **changes))
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def connect_all(
    library: Library, settings_for: SettingsFor, sshd: OpenSSHServer
) -> Iterator[ConnectAll]:
    """A function that makes a parallel client, which is closed after the test.

    ``connect_all(hosts, server=None, **settings)``: a number of hosts means the server's address
    so many times; the server is ``sshd`` unless another one is given.
    """
    clients: list[BaseParallelSSHClient] = []

    def make(hosts: Any = 2, server: Server | None = None, **changes: Any) -> BaseParallelSSHClient:
        chosen = server or sshd
        names = [chosen.host] * hosts if isinstance(hosts, int) else hosts
        client = library.ParallelSSHClient(names, **settings_for(chosen, **changes))
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def shared_clients() -> Iterator[dict[tuple[str, int], BaseSSHClient]]:
    """Library name and port -> a client that is connected there, and that no test has used up."""
    clients: dict[tuple[str, int], BaseSSHClient] = {}
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture
def client_of(
    library: Library,
    settings_for: SettingsFor,
    shared_clients: dict[tuple[str, int], BaseSSHClient],
) -> Iterator[ClientOf]:
    """A function from a server to a client that is connected to it.

    It is the last test's client, if that has left it as it was: to connect takes longer than most
    tests do anything else. So the server must be one that lives as long as all tests.
    """
    used: list[tuple[int, BaseSSHClient, Belongings]] = []

    def find(server: Server) -> BaseSSHClient:
        client = shared_clients.pop((library.name, server.port), None)
        if client is None or not client.connected:
            client = library.SSHClient(server.host, **settings_for(server))
        used.append((server.port, client, Belongings(client)))
        return client

    yield find
    for port, client, before in used:
        if Belongings(client) == before and is_idle(client):
            shared_clients[library.name, port] = client
        else:
            client.close()


@pytest.fixture
def client(client_of: ClientOf, sshd: OpenSSHServer) -> BaseSSHClient:
    """A client that is connected to ``sshd``, as :func:`client_of` finds one."""
    return client_of(sshd)


class Belongings:
    """What a client has: its settings, its connection, and all else that can be assigned to."""

    def __init__(self, client: BaseSSHClient) -> None:
        self._attributes = dict(vars(client))
        self._config = replace(client.config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Belongings) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


def is_idle(client: BaseSSHClient) -> bool:
    """Whether nothing runs on a client's connection, or waits for it."""
    connection = client.connection
    return (
        connection is not None
        and connection.alive
        and not connection.busy
        and not connection.commands
        and not connection.ending
        and connection.pumps is None
    )


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Server:
    """Each kind of server in turn."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Server)
    return found


@pytest.fixture
def server_client(
    request: pytest.FixtureRequest, client_of: ClientOf, connect: Connect, server: Server
) -> BaseSSHClient:
    """A client that is connected to each kind of server in turn, shared where that can be."""
    find = client_of if request.node.callspec.params["server"] in SHARED else connect
    return find(server)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="agent-") as folder:
        yield Path(folder)


@pytest.fixture
def verbose(sshd_with: Callable[..., OpenSSHServer]) -> OpenSSHServer:
    """A server that logs every attempt."""
    return sshd_with({"LogLevel": "VERBOSE"})


@pytest.fixture
def remote_folder(account: Account, tmp_path: Path) -> Iterator[Path]:
    """An empty folder that we and the commands on every server can write to."""
    folder = account.folder / f"files-{tmp_path.parent.name}-{tmp_path.name}"
    folder.mkdir()
    account.give(folder, 0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def proxy(sshd: OpenSSHServer) -> Iterator[CutProxy]:
    """A proxy in front of ``sshd``. Its port needs ``host_key_policy="ignore"``."""
    with CutProxy(sshd.host, sshd.port) as made:
        yield made


@pytest.fixture
def host_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What the host logger logs."""
    host_logger.addHandler(caplog.handler)
    level = host_logger.level
    host_logger.setLevel(logging.INFO)
    yield caplog
    host_logger.setLevel(level)
    host_logger.removeHandler(caplog.handler)


@pytest.fixture(scope="session")
def template_of() -> Iterator[Callable[[Library], Template]]:
    """The interpreter that has loaded a library and done nothing with it."""
    with ExitStack() as stack:

        @cache
        def make(library: Library) -> Template:
            module = f"pssh.clients.{library.name}"
            classes = ("SSHClient", "ParallelSSHClient")
            return stack.enter_context(
                Template(module, attributes=classes, options=programs.OPTIONS)
            )

        yield make


@pytest.fixture
def run_program(
    library: Library,
    settings: Settings,
    sshd: OpenSSHServer,
    template_of: Callable[[Library], Template],
) -> RunProgram:
    """Runs a program that uses the library, see :class:`tests.contract.programs.RunProgram`."""

    def run_it(source: str, *, prologue: str = "", home: Path | None = None) -> None:
        program = programs.assemble(
            source,
            prologue=prologue,
            module=f"pssh.clients.{library.name}",
            host=sshd.host,
            settings=settings,
        )
        if prologue:
            programs.run(program, home)
        else:
            programs.run_copy(template_of(library), program, home)

    return run_it
