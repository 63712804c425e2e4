"""What the tests of copying share: the two directions, contents, and what must not stay open."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import resource
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
import pytest

from pssh.clients.base.files import page_cache
from pssh.clients.base.files.client import SFTPClient
from pssh.clients.base.single import BaseSSHClient
from tests.conftest import missing
from tests.contract.conftest import Connect, Library, SettingsFor
from tests.contract.outputs import eventually
from tests.servers.account import Account
from tests.servers.dropbear import DropbearServer
from tests.servers.faulty_sftp import FaultySFTPServer
from tests.servers.openssh import OpenSSHServer
from tests.servers.process import MissingProgramError
from tests.servers.process_tree import child_processes, process_tree
from tests.servers.server import Server

KILOBYTE = 1024
MEGABYTE = 1024 * 1024

#: What one request carries where the server allows it, as OpenSSH does.
LARGE_REQUEST = 255 * KILOBYTE

#: It does not repeat, so that nothing can stand at another place unnoticed.
_RANDOM = random.Random(1).randbytes(12 * MEGABYTE)

#: Names that shells, terminals and decoders stumble over.
NAMES = [
    "two words",
    'it\'s "quoted" `and` $(more)',
    "a\nnewline\tand\x1b[31m",
    "ünïcödé €",
    "\udcff\udc80 bytes",
    "-rf",
    "%s %(a)s\\*?",
    "...",
]

Step = Callable[[int], object]
Connected = Callable[[Server], BaseSSHClient]


def content(size: int) -> bytes:
    """So many bytes, which are others for another size.

    :param size: up to 11 MiB.
    """
    start = size % MEGABYTE
    return _RANDOM[start : start + size]


@dataclass(frozen=True)
class Way:
    """One of the two directions, so that a test is written once for both.

    :ivar is_put: from here to the server.
    :ivar source: where originals are.
    :ivar target: where copies go to.
    """

    is_put: bool
    source: Path
    target: Path
    account: Account

    @property
    def local(self) -> Path:
        """The folder on this side."""
        return self.source if self.is_put else self.target

    @property
    def remote(self) -> Path:
        """The folder on the server's side."""
        return self.target if self.is_put else self.source

    def copy(
        self,
        client: BaseSSHClient,
        source: str | Path,
        target: str | Path,
        recurse: bool = False,
        **options: Any,
    ) -> None:
        """Copy in this direction.

        :param source: below the folder of the originals, unless it is absolute.
        :param target: below the folder of the copies, likewise; a ``/`` at its end stays.
        """
        slash = "/" if str(target).endswith("/") else ""
        here, there = str(self.source / source), f"{self.target / target}{slash}"
        function = client.copy_file if self.is_put else client.copy_remote_file
        function(here, there, recurse, **options)

    def write(self, name: str, data: bytes = b"content", mode: int = 0o644) -> Path:
        """Make an original, and the folders in which it is.

        :returns: its path.
        """
        return self._write(self.source, name, data, mode)

    def write_target(self, name: str, data: bytes = b"old content", mode: int = 0o644) -> Path:
        """Make a file where a copy will go to.

        :returns: its path.
        """
        return self._write(self.target, name, data, mode)

    def folder(self, name: str, mode: int = 0o755) -> Path:
        """Make a folder for originals.

        :returns: its path.
        """
        return self._folder(self.source, name, mode)

    def target_folder(self, name: str, mode: int = 0o755) -> Path:
        """Make a folder where copies will go to.

        :returns: its path.
        """
        return self._folder(self.target, name, mode)

    def _write(self, folder: Path, name: str, data: bytes, mode: int) -> Path:
        path = folder / name
        self._folder(folder, os.path.dirname(name), 0o755)
        path.write_bytes(data)
        return self._own(path, mode)

    def _folder(self, folder: Path, name: str, mode: int) -> Path:
        path = folder
        for part in Path(name).parts:
            path = path / part
            if not path.exists():
                path.mkdir()
                self._own(path, 0o755)
        if name:
            path.chmod(mode)
        return path

    def _own(self, path: Path, mode: int) -> Path:
        if self.remote in path.parents:
            return self.account.give(path, mode)
        path.chmod(mode)
        return path

    def assert_nothing_is_open(self) -> None:
        """Check that neither side has a file or directory open."""
        assert open_here(self.local) == []
        eventually_closed(self.remote)

    def eventually_only(self, *names: str) -> None:
        """Wait until where copies go to there is nothing but these entries."""
        wanted = {os.fsencode(name) for name in names}
        eventually(
            lambda: set(os.listdir(os.fsencode(self.target))) == wanted,
            f"only {names} in {self.target}",
            timeout=20,
        )


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let this process write files of so many bytes only (Python ignores SIGXFSZ)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def open_here(folder: Path) -> list[str]:
    """What this process has open of a folder and below."""
    return _open_in("self", folder)


def eventually_closed(folder: Path) -> None:
    """Wait until the servers, which this process has started, have nothing open in a folder."""
    servers = process_tree([os.getpid()])[1:]

    def closed() -> bool:
        # An SFTP server whose connection is lost goes on for a moment without a parent.
        orphans = child_processes(1)
        return not any(_open_in(str(pid), folder) for pid in (*servers, *orphans))

    eventually(closed, f"the server to close everything in {folder}", timeout=20)


def _open_in(process: str, folder: Path) -> list[str]:
    found = []
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(f"/proc/{process}/fd"):
            with contextlib.suppress(OSError):
                link = os.readlink(f"/proc/{process}/fd/{descriptor}")
                if link == str(folder) or link.startswith(f"{folder}/"):
                    found.append(link)
    return found


@pytest.fixture(params=["put", "get"])
def way(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    remote_folder: Path,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
) -> Way:
    """Each direction in turn, with local files as on a disk, wherever they are."""
    monkeypatch.setattr(page_cache, "is_in_memory", lambda _: False)
    local = tmp_path / "local"
    local.mkdir()
    if request.param == "put":
        return Way(True, local, remote_folder, account)
    return Way(False, remote_folder, local, account)


@pytest.fixture(scope="session")
def kept_clients(library: Library) -> Iterator[dict[int, BaseSSHClient]]:
    """The clients of :func:`connected`: port -> client."""
    clients: dict[int, BaseSSHClient] = {}
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture
def connected(
    connect: Connect,
    library: Library,
    settings_for: SettingsFor,
    kept_clients: dict[int, BaseSSHClient],
) -> Connected:
    """A function from a server to a client that is connected to it, since an earlier test perhaps.

    It is for tests that leave the connection as it was, which is most of them: each copy, or
    each test, has an SFTP session of its own.
    """

    def find(server: Server) -> BaseSSHClient:
        if isinstance(server, DropbearServer):
            # What Dropbear makes of many sessions one after another is a test of its own.
            return connect(server)
        if server.port not in kept_clients:
            kept_clients[server.port] = library.SSHClient(server.host, **settings_for(server))
        return kept_clients[server.port]

    return find


@pytest.fixture
def client(connected: Connected, sshd: OpenSSHServer) -> BaseSSHClient:
    """A client that is connected to ``sshd``."""
    return connected(sshd)


@pytest.fixture(scope="session")
def faulty(
    tmp_path_factory: pytest.TempPathFactory, account: Account, authorized_keys: list[Path]
) -> Iterator[FaultySFTPServer]:
    """A server whose SFTP goes wrong as the test plans it."""
    folder = tmp_path_factory.mktemp("faulty")
    try:
        server = FaultySFTPServer(folder, account=account, authorized_keys=authorized_keys)
    except MissingProgramError as error:
        missing(str(error))
    with server:
        yield server


class Recorder:
    """A progress function.

    :param step: called with the bytes done, after they have been recorded.
    :ivar calls: host, path, bytes done and bytes in all of each call.
    """

    def __init__(self, step: Step | None = None) -> None:
        self.calls: list[tuple[str, str, int, int]] = []
        self._step = step

    def __call__(self, host: str, path: str, done: int, total: int) -> None:
        self.calls.append((host, path, done, total))
        if self._step is not None:
            self._step(done)

    @property
    def done(self) -> list[int]:
        """The bytes done of each call."""
        return [done for _, _, done, _ in self.calls]


class StopError(Exception):
    """A progress function wants no more."""


def stop_at(count: int) -> Recorder:
    """A progress function that raises :class:`StopError` once so many bytes are done."""

    def step(done: int) -> None:
        if done >= count:
            raise StopError(done)

    return Recorder(step)


def once_at(count: int, then: Callable[[], object]) -> Recorder:
    """A progress function that does something once so many bytes are done."""
    left = [then]

    def step(done: int) -> None:
        if done >= count and left:
            left.pop()()

    return Recorder(step)


#: gevent imports it when it hands on an error, which the account may not be allowed to.
_NEEDED = pickle


@contextlib.contextmanager
def acting_as(account: Account) -> Iterator[None]:
    """Be the account for the system's checks of local permissions."""
    if not account.temporary:
        yield
        return
    user, group = os.geteuid(), os.getegid()
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(user)
        os.setegid(group)


def need_root() -> None:
    """Skip a test that needs files of somebody else, or devices."""
    if os.geteuid():
        pytest.skip("Files of somebody else, and devices, need root.")


def mode_of(path: Path) -> int:
    """The permissions of a file or directory."""
    return stat.S_IMODE(path.lstat().st_mode)


def content_below(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: path -> a file's content, ``None`` for a directory."""
    found: dict[str, bytes | None] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        assert not path.is_symlink(), f"{name} is a link"
        found[name] = None if path.is_dir() else path.read_bytes()
    return found


def impatient(client: BaseSSHClient, seconds: float = 0.2) -> SFTPClient:
    """An SFTP client of which a request may take so many seconds."""
    sftp = client.open_sftp()
    sftp.session.timeout = seconds
    return sftp


def in_greenlets(*functions: Callable[[], object]) -> list[gevent.Greenlet]:
    """Do things at the same time, and wait until all are done.

    :raises BaseException: what the first of them that fails fails with.
    """
    working = [gevent.spawn(function) for function in functions]
    gevent.joinall(working, raise_error=True)
    return working
