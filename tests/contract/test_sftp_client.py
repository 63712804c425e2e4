"""The SFTP client: names, directories and attributes, against every kind of server."""

from __future__ import annotations

import gc
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from gevent.event import AsyncResult

from pssh.clients.base.files.client import RemotePath, SFTPClient
from pssh.clients.base.files.session import SFTPSession, open_session
from pssh.clients.base.files.status import SFTPAttributes
from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import (
    ConnectionLostError,
    SFTPError,
    SFTPFailureError,
    SFTPIOError,
    SFTPNoSuchFileError,
    SFTPPermissionDeniedError,
    SFTPUnsupportedError,
    Timeout,
)
from pssh.sftp.attributes import Attributes
from pssh.sftp.replies import Name, Names
from pssh.sftp.requests import Request
from tests.conftest import StartServer, missing
from tests.contract.conftest import SERVERS, Connect, Library, Settings
from tests.contract.outputs import eventually
from tests.servers.cut_proxy import CutProxy
from tests.servers.openssh import OpenSSHServer
from tests.servers.process_tree import process_tree
from tests.servers.server import Server

#: Where the systems put it; it is in no search path.
FOLDERS = ("/usr/lib/openssh", "/usr/lib/ssh", "/usr/libexec/openssh", "/usr/libexec")

NAMES = [
    "plain",
    "two words",
    'it\'s "quoted"',
    "a\nnewline\tand\x1b[31m",
    "ünïcödé €",
    "\udcff\udc80 bytes",
    "-rf",
    "%s\\*?",
    "...",
]


def open_sftp(client: BaseSSHClient, encoding: str = "utf-8") -> SFTPClient:
    """An SFTP client on a channel of its own."""
    connection, channel = client.open_channel(None)
    return SFTPClient(open_session(connection, channel, 20), encoding, keep=client)


def open_below(folder: Path) -> int:
    """How many files and directories in a folder other processes have open."""
    count = 0
    # Hundreds of links: `Path` takes three times as long.
    for process in os.listdir("/proc"):
        if not process.isdigit() or int(process) == os.getpid():
            continue
        descriptors = f"/proc/{process}/fd"
        try:
            links = [os.readlink(f"{descriptors}/{each}") for each in os.listdir(descriptors)]
        except OSError:
            continue
        count += sum(link == str(folder) or link.startswith(f"{folder}/") for link in links)
    return count


def eventually_closed(folder: Path) -> None:
    """Wait until the server has nothing open in a folder."""
    eventually(lambda: open_below(folder) == 0, "the server to close everything")


def give_away(path: Path) -> None:
    """Make the owner of the folder that a file is in its owner."""
    folder = path.parent.stat()
    os.chown(path, folder.st_uid, folder.st_gid)


def content_of(folder: Path) -> set[bytes]:
    return set(os.listdir(os.fsencode(folder)))


@pytest.fixture
def sftp_server(sshd_with: StartServer) -> OpenSSHServer:
    """A server that runs OpenSSH's SFTP server as a program."""
    program = shutil.which("sftp-server", path=os.pathsep.join(FOLDERS))
    if program is None:
        missing("sftp-server is not installed (Debian package openssh-sftp-server).")
    return sshd_with({"Subsystem": f"sftp {program}"})


@pytest.fixture(params=[*SERVERS, "sftp_server"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each kind of server in turn; Dropbear runs OpenSSH's program as well."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Server)
    return found


@pytest.fixture
def sftp(server_client: BaseSSHClient) -> Iterator[SFTPClient]:
    """An SFTP client of each kind of server."""
    with open_sftp(server_client) as opened:
        yield opened


@pytest.fixture
def openssh(client: BaseSSHClient) -> Iterator[SFTPClient]:
    """An SFTP client of ``sshd``."""
    with open_sftp(client) as opened:
        yield opened


@pytest.fixture
def through_proxy(connect: Connect, proxy: CutProxy) -> Iterator[SFTPClient]:
    """An SFTP client whose connection runs through ``proxy``."""
    with open_sftp(connect(port=proxy.port, host_key_policy="ignore")) as opened:
        yield opened


# Names


def test_any_name(sftp: SFTPClient, remote_folder: Path) -> None:
    wanted = {name.encode("utf-8", "surrogateescape") for name in NAMES}
    for name in NAMES:
        with sftp.open(f"{remote_folder}/{name}", "x") as file:
            file.write(name.encode("utf-8", "surrogateescape"))
    assert content_of(remote_folder) == wanted
    assert set(sftp.listdir(remote_folder)) == set(NAMES)
    for entry in sftp.scandir(remote_folder):
        assert entry.path == f"{remote_folder}/{entry.name}"
        assert os.fspath(entry) == entry.path
        assert sftp.realpath(entry.path) == os.path.realpath(entry.path)
        assert sftp.stat(entry.path).st_size == entry.stat().st_size
        with sftp.open(entry.path) as file:
            assert file.read() == entry.name.encode("utf-8", "surrogateescape")
            assert file.name == entry.path
        sftp.rename(entry.path, f"{entry.path}.new")
        sftp.symlink(entry.name, entry.path)
        assert sftp.readlink(entry.path) == entry.name
        sftp.remove(entry.path)
        sftp.remove(f"{entry.path}.new")
    assert content_of(remote_folder) == set()


def test_kinds_of_path(openssh: SFTPClient, remote_folder: Path) -> None:
    path = remote_folder / "f"
    path.touch()
    paths: list[RemotePath] = [path, str(path), os.fsencode(path)]
    for each in paths:
        assert openssh.stat(each).is_file()
    assert openssh.listdir(os.fsencode(remote_folder)) == ["f"]


def test_another_encoding(client: BaseSSHClient, remote_folder: Path) -> None:
    with open_sftp(client, "latin-1") as sftp:
        sftp.mkdir(f"{remote_folder}/ä")
        assert content_of(remote_folder) == {b"\xe4"}
        assert sftp.listdir(remote_folder) == ["ä"]
        with pytest.raises(UnicodeEncodeError):
            sftp.stat("€")


def test_impossible_paths(openssh: SFTPClient) -> None:
    with pytest.raises(ValueError, match="null byte"):
        openssh.stat("a\0b")
    with pytest.raises(ValueError, match="takes"):
        openssh.stat("x" * 300_000)
    with pytest.raises(TypeError):
        openssh.stat(3)  # type: ignore[arg-type]
    assert openssh.stat(".").is_dir()


def test_relative_paths(openssh: SFTPClient) -> None:
    home = openssh.realpath()
    assert home.startswith("/")
    assert openssh.realpath(".") == home
    assert set(openssh.listdir()) == set(openssh.listdir(home))
    for entry in openssh.scandir():
        assert entry.path == f"./{entry.name}"


# Listing


def test_many_entries(sftp: SFTPClient, remote_folder: Path) -> None:
    wanted = {f"a file with a name of some length, number {number}" for number in range(700)}
    for name in wanted:
        (remote_folder / name).touch()
    (remote_folder / "directory").mkdir()
    (remote_folder / "link").symlink_to("directory")
    found = {entry.name: entry for entry in sftp.scandir(remote_folder)}
    assert found.keys() == wanted | {"directory", "link"}
    assert len(sftp.listdir(remote_folder)) == 702
    kinds = [(entry.is_dir(), entry.is_file(), entry.is_symlink()) for entry in found.values()]
    assert kinds.count((False, True, False)) == 700
    assert found["directory"].is_dir()
    assert found["link"].is_symlink()
    assert not found["link"].is_dir()
    for name, entry in found.items():
        assert entry.stat() == SFTPAttributes(*attributes_of((remote_folder / name).lstat()))
    eventually_closed(remote_folder)


def attributes_of(found: os.stat_result) -> tuple[int, ...]:
    return (
        *(found.st_mode, found.st_size, found.st_uid, found.st_gid),
        *(int(found.st_atime), int(found.st_mtime)),
    )


def test_an_empty_directory(sftp: SFTPClient, remote_folder: Path) -> None:
    assert sftp.listdir(remote_folder) == []
    assert list(sftp.scandir(remote_folder)) == []
    eventually_closed(remote_folder)


def test_listing_is_lazy(
    openssh: SFTPClient, remote_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1000):
        (remote_folder / str(number)).touch()
    asked: list[Request] = []
    ask = SFTPSession.ask

    def noted(session: SFTPSession, request: Request) -> AsyncResult:
        asked.append(request)
        return ask(session, request)

    monkeypatch.setattr(SFTPSession, "ask", noted)
    listing = openssh.scandir(remote_folder)
    assert len(asked) == 2
    next(listing)
    assert len(asked) < 6
    assert open_below(remote_folder) == 1
    assert len(list(listing)) == 999
    assert next(listing, None) is None


@pytest.mark.parametrize("way", ["close", "leave", "forget"])
def test_a_listing_that_is_left(openssh: SFTPClient, remote_folder: Path, way: str) -> None:
    for number in range(500):
        (remote_folder / str(number)).touch()
    listing = openssh.scandir(remote_folder)
    next(listing)
    assert open_below(remote_folder) == 1
    if way == "close":
        listing.close()
        assert list(listing) == []
    elif way == "leave":
        with listing:
            next(listing)
        assert list(listing) == []
    del listing
    gc.collect()
    eventually_closed(remote_folder)
    assert len(openssh.listdir(remote_folder)) == 500


def test_a_name_that_leads_out(
    openssh: SFTPClient, remote_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = openssh.scandir(remote_folder)
    bad = Names(0, [Name(b"../../etc/passwd", b"", Attributes())])
    monkeypatch.setattr(SFTPSession, "wait_for", lambda self, answer, action: bad)
    with pytest.raises(SFTPIOError, match=r"'\.\./\.\./etc/passwd', which is no name") as caught:
        next(listing)
    assert caught.value.path == str(remote_folder)
    assert list(listing) == []


# Directories


def test_directories(sftp: SFTPClient, remote_folder: Path) -> None:
    path = remote_folder / "d"
    sftp.mkdir(path, 0o700)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    with pytest.raises(SFTPFailureError):
        sftp.mkdir(path)
    sftp.mkdir(path / "e")
    with pytest.raises(SFTPFailureError, match=r"remove directory .*/d "):
        sftp.rmdir(path)
    sftp.rmdir(path / "e")
    sftp.rmdir(path)
    assert not path.exists()


def test_makedirs(sftp: SFTPClient, remote_folder: Path) -> None:
    path = remote_folder / "a" / "b" / "c"
    sftp.makedirs(f"{path}/", 0o711)
    assert stat.S_IMODE(path.stat().st_mode) == 0o711
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o700 == 0o700
    with pytest.raises(SFTPFailureError):
        sftp.makedirs(path)
    sftp.makedirs(path, exist_ok=True)
    sftp.makedirs(path / "d", exist_ok=True)
    file = remote_folder / "file"
    file.touch()
    with pytest.raises(SFTPIOError) as caught:
        sftp.makedirs(file, exist_ok=True)
    assert caught.value.path == str(file)
    with pytest.raises(SFTPIOError):
        sftp.makedirs(file / "below" / "it", exist_ok=True)
    with pytest.raises(SFTPIOError):
        sftp.makedirs("")
    assert content_of(remote_folder) == {b"a", b"file"}


# Names of files


def test_rename_replaces(sftp: SFTPClient, remote_folder: Path) -> None:
    old, new = remote_folder / "old", remote_folder / "new"
    old.write_text("old")
    new.write_text("new")
    sftp.rename(old, new)
    assert new.read_text() == "old"
    assert content_of(remote_folder) == {b"new"}
    with pytest.raises(SFTPNoSuchFileError, match=r"old to .*new") as caught:
        sftp.rename(old, new)
    assert caught.value.path == str(old)


def test_rename_without_the_extension(
    openssh: SFTPClient, remote_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SFTPSession, "supports", lambda self, extension: False)
    old, new = remote_folder / "old", remote_folder / "new"
    old.write_text("old")
    new.write_text("new")
    with pytest.raises(SFTPFailureError):
        openssh.rename(old, new)
    assert new.read_text() == "new"
    new.unlink()
    openssh.rename(old, new)
    assert new.read_text() == "old"


def test_links(sftp: SFTPClient, remote_folder: Path) -> None:
    file, link, hard = (remote_folder / name for name in ("file", "link", "hard"))
    file.write_bytes(b"12345")
    give_away(file)
    sftp.symlink("file", link)
    assert os.readlink(link) == "file"
    assert sftp.readlink(link) == "file"
    assert sftp.lstat(link).is_symlink()
    assert sftp.stat(link).is_file()
    assert sftp.realpath(link) == str(file.resolve())
    sftp.link(file, hard)
    assert hard.samefile(file)
    with pytest.raises(SFTPFailureError):
        sftp.symlink("x", link)
    sftp.symlink("nowhere", remote_folder / "dangling")
    with pytest.raises(SFTPNoSuchFileError):
        sftp.stat(remote_folder / "dangling")
    sftp.remove(link)
    assert file.exists()


# Attributes


def test_attributes(sftp: SFTPClient, remote_folder: Path) -> None:
    path = remote_folder / "f"
    path.write_bytes(b"12345")
    give_away(path)
    assert sftp.stat(path) == SFTPAttributes(*attributes_of(path.stat()))
    assert sftp.stat(remote_folder).is_dir()
    sftp.chmod(path, 0o604 | stat.S_IFREG)
    sftp.truncate(path, 3)
    sftp.utime(path, (1_000_000_000.9, 4_000_000_000))
    sftp.chown(path, path.stat().st_uid, path.stat().st_gid)
    found = path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o604
    assert (found.st_atime, found.st_mtime) == (1_000_000_000, 4_000_000_000)
    assert path.read_bytes() == b"123"
    before = int(time.time())
    sftp.utime(path)
    assert before <= path.stat().st_mtime <= time.time()
    for impossible in ((-1, 0), (0, 2**32)):
        with pytest.raises(ValueError, match="cannot express"):
            sftp.utime(path, impossible)


def test_statvfs(sftp: SFTPClient, server: Server, remote_folder: Path) -> None:
    found, wanted = sftp.statvfs(remote_folder), os.statvfs(remote_folder)
    assert (found.f_frsize, found.f_blocks) == (wanted.f_frsize, wanted.f_blocks)
    assert found.f_namemax == wanted.f_namemax


def test_missing_extensions(openssh: SFTPClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SFTPSession, "supports", lambda self, extension: False)
    with pytest.raises(SFTPUnsupportedError, match="it has no statvfs@") as caught:
        openssh.statvfs("/")
    assert caught.value.path == "/"
    assert caught.value.host == "127.0.0.1"
    with pytest.raises(SFTPUnsupportedError, match="hardlink"):
        openssh.link("a", "b")


# Errors


def operations(sftp: SFTPClient, path: str) -> list[Callable[[], object]]:
    """Everything that needs a file to be there."""
    return [
        lambda: sftp.listdir(path),
        lambda: next(sftp.scandir(path)),
        lambda: sftp.stat(path),
        lambda: sftp.lstat(path),
        lambda: sftp.mkdir(f"{path}/d"),
        lambda: sftp.rmdir(path),
        lambda: sftp.remove(path),
        lambda: sftp.rename(path, f"{path}2"),
        lambda: sftp.readlink(path),
        lambda: sftp.chmod(path, 0o600),
        lambda: sftp.chown(path, os.getuid(), os.getgid()),
        lambda: sftp.utime(path),
        lambda: sftp.truncate(path, 0),
        lambda: sftp.statvfs(path),
        lambda: sftp.link(path, f"{path}2"),
        lambda: sftp.open(path),
        lambda: sftp.open(path, "r+"),
        lambda: sftp.open(f"{path}/f", "w"),
    ]


def test_missing_files(sftp: SFTPClient, server: Server, remote_folder: Path) -> None:
    path = f"{remote_folder}/no such\n"
    for operation in operations(sftp, path):
        with pytest.raises(SFTPNoSuchFileError) as caught:
            operation()
        error = caught.value
        assert (error.host, error.port) == (server.host, server.port)
        assert error.path is not None
        assert error.path.startswith(path)
        assert error.code_name == "SSH_FX_NO_SUCH_FILE"
        assert "no such\\n" in str(error)
        assert f"on host {server.host}:{server.port}: no such file" in str(error)
    assert sftp.listdir(remote_folder) == []


def test_permission_denied(openssh: SFTPClient, remote_folder: Path) -> None:
    if os.geteuid():
        pytest.skip("Files of somebody else need root.")
    locked = remote_folder / "locked"
    locked.mkdir(0o700)
    (locked / "f").touch()
    path = f"{locked}/f"
    for operation in operations(openssh, path):
        with pytest.raises(SFTPPermissionDeniedError, match="permission denied") as caught:
            operation()
        assert caught.value.path is not None
        assert caught.value.path.startswith(path)
    with pytest.raises(SFTPPermissionDeniedError):
        openssh.listdir(locked)
    with pytest.raises(SFTPPermissionDeniedError):
        openssh.makedirs(locked / "a" / "b", exist_ok=True)
    with pytest.raises(SFTPPermissionDeniedError):
        openssh.chown(remote_folder, 0, 0)


def test_a_file_is_no_directory(sftp: SFTPClient, remote_folder: Path) -> None:
    path = remote_folder / "f"
    path.touch()
    with pytest.raises(SFTPIOError):
        sftp.listdir(path)
    with pytest.raises(SFTPIOError):
        sftp.rmdir(path)
    with pytest.raises(SFTPIOError):
        sftp.remove(remote_folder)
    with pytest.raises(SFTPIOError):
        sftp.readlink(path)


# Several at a time, and the end


def test_two_greenlets(sftp: SFTPClient, remote_folder: Path) -> None:
    def work(name: str) -> list[str]:
        folder = remote_folder / name
        sftp.mkdir(folder)
        for number in range(50):
            with sftp.open(folder / str(number), "w") as file:
                file.write(f"{name}{number}".encode())
            with sftp.open(folder / str(number)) as file:
                assert file.read() == f"{name}{number}".encode()
        return sorted(sftp.listdir(folder), key=int)

    workers = [gevent.spawn(work, name) for name in "abc"]
    gevent.joinall(workers, raise_error=True)
    assert [worker.value for worker in workers] == [[str(n) for n in range(50)]] * 3
    eventually_closed(remote_folder)


def test_a_closed_client(openssh: SFTPClient, remote_folder: Path) -> None:
    listing = openssh.scandir(remote_folder)
    openssh.close()
    openssh.close()
    for operation in operations(openssh, "/tmp"):
        with pytest.raises(SFTPError, match="has been closed by this client") as caught:
            operation()
        assert caught.value.host == "127.0.0.1"
    with pytest.raises(SFTPError, match="has been closed by this client"):
        next(listing)
    eventually_closed(remote_folder)


def test_a_closed_connection(client: BaseSSHClient) -> None:
    with open_sftp(client) as sftp:
        client.close()
        with pytest.raises(ConnectionLostError, match="closed by this client"):
            sftp.stat("/")


@pytest.mark.parametrize("way", ["reset", "end of file", "server process killed"])
def test_a_lost_connection(
    through_proxy: SFTPClient, proxy: CutProxy, sshd: OpenSSHServer, remote_folder: Path, way: str
) -> None:
    for number in range(500):
        (remote_folder / str(number)).touch()
    listing = through_proxy.scandir(remote_folder)
    proxy.stall()
    waiting = [gevent.spawn(through_proxy.stat, "/"), gevent.spawn(through_proxy.open, "/x", "w")]
    gevent.sleep(0)
    ways: dict[str, Callable[[], object]] = {
        "reset": proxy.cut,
        "end of file": proxy.half_close,
        "server process killed": sshd.kill_connections,
    }
    ways[way]()
    if way == "server process killed":
        proxy.resume()
    gevent.joinall(waiting)
    for each in waiting:
        assert isinstance(each.exception, ConnectionLostError)
        assert each.exception.host == "127.0.0.1"
    everything = operations(through_proxy, "/tmp")
    everything.append(lambda: list(listing))
    for operation in everything:
        with pytest.raises(ConnectionLostError, match="was lost"):
            operation()


def test_a_time_out(through_proxy: SFTPClient, proxy: CutProxy, remote_folder: Path) -> None:
    (remote_folder / "f").touch()
    session = through_proxy.session
    patience, session.timeout = session.timeout, 0.2
    proxy.stall()
    with pytest.raises(Timeout, match=r"0\.2 seconds to look at over SFTP") as caught:
        through_proxy.stat(remote_folder)
    assert caught.value.step == "look at over SFTP"
    assert caught.value.host == "127.0.0.1"
    with pytest.raises(Timeout, match="to open"):
        through_proxy.open(remote_folder / "f")
    with pytest.raises(Timeout, match="to list"):
        through_proxy.scandir(remote_folder)
    session.timeout = patience
    proxy.resume()
    # The server opens them after all, and is told to close them.
    assert through_proxy.listdir(remote_folder) == ["f"]
    eventually_closed(remote_folder)


def test_a_killed_greenlet_leaves_nothing_open(
    through_proxy: SFTPClient, proxy: CutProxy, remote_folder: Path
) -> None:
    (remote_folder / "f").touch()
    proxy.stall()
    opening = gevent.spawn(through_proxy.open, remote_folder / "f")
    gevent.sleep(0.05)
    opening.kill()
    proxy.resume()
    assert through_proxy.listdir(remote_folder) == ["f"]
    eventually_closed(remote_folder)


def test_a_forgotten_client_ends_its_session(connect: Connect, sftp_server: OpenSSHServer) -> None:
    client = connect(sftp_server)

    def sessions() -> int:
        names = (Path(f"/proc/{pid}/comm") for pid in process_tree([sftp_server.pid]))
        return sum(name.read_text() == "sftp-server\n" for name in names if name.exists())

    sftp = open_sftp(client)
    assert sftp.realpath("/") == "/"
    assert sessions() == 1
    del sftp
    gc.collect()
    eventually(lambda: sessions() == 0, "the end of the session")
    assert client.run_command("true").host == sftp_server.host


def test_a_listing_keeps_its_client(library: Library, settings: Settings, sshd: Server) -> None:
    client = library.SSHClient(sshd.host, **settings)
    directory = open_sftp(client).scandir("/")
    del client
    gc.collect()
    assert {entry.name for entry in directory} == set(os.listdir("/"))


def test_representation(openssh: SFTPClient) -> None:
    assert repr(openssh).startswith("<SFTPClient 127.0.0.1:")
