"""Directories copied over SFTP with all that is in them, in both directions."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from pssh.clients.base.files.session import SFTPSession
from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import (
    ConnectionLostError,
    SFTPError,
    SFTPNoSuchFileError,
    SFTPPermissionDeniedError,
)
from tests.contract import copies
from tests.contract.conftest import SERVERS, Connect
from tests.contract.copies import (
    KILOBYTE,
    MEGABYTE,
    NAMES,
    Connected,
    StopError,
    Way,
    acting_as,
    content,
    content_below,
    eventually_closed,
    impatient,
    mode_of,
    need_root,
    once_at,
    stop_at,
)
from tests.contract.outputs import eventually
from tests.servers.account import Account
from tests.servers.cut_proxy import CutProxy
from tests.servers.faulty_sftp import Fault, FaultySFTPServer
from tests.servers.server import Server

connected, client, way = copies.connected, copies.client, copies.way
kept_clients = copies.kept_clients
faulty = copies.faulty


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Server:
    """Each kind of server in turn."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Server)
    return found


def modes_below(folder: Path) -> dict[str, int]:
    """The permissions of everything below a folder."""
    return {str(path.relative_to(folder)): mode_of(path) for path in folder.rglob("*")}


def make_locked(way: Way) -> None:
    """Make a tree of directories that cannot be written to."""
    way.write("tree/outer/inner/file", b"content", 0o444)
    way.folder("tree/outer/empty", 0o500)
    way.folder("tree/outer/inner", 0o555)
    way.folder("tree/outer", 0o555)


# What is in it


def test_everything_that_is_in_it(connected: Connected, server: Server, way: Way) -> None:
    way.write("tree/file", content(3 * MEGABYTE), 0o640)
    way.write("tree/empty", b"", 0o600)
    way.write("tree/deep/er/program", content(100_000), 0o755)
    for number in range(70):
        way.write(f"tree/many/{number}", content(number))
    for name in NAMES:
        way.write(f"tree/names/{name}/{name}", os.fsencode(name))
    way.folder("tree/nothing", 0o700)
    way.folder("tree/deep/shared", 0o2775)
    way.folder("tree", 0o750)
    client = connected(server)
    with client.open_sftp() as sftp:
        for name in ("copy", "missing/slash/"):
            way.copy(client, "tree", name, recurse=True, sftp=sftp)
            assert content_below(way.target / name) == content_below(way.source / "tree")
            modes = modes_below(way.source / "tree")
            if not way.is_put:
                modes = {name: mode & 0o777 for name, mode in modes.items()}
            assert modes_below(way.target / name) == modes
            assert mode_of(way.target / name) == 0o750
        way.assert_nothing_is_open()


def test_an_empty_directory(client: BaseSSHClient, way: Way) -> None:
    way.folder("tree")
    way.copy(client, "tree", "copy", recurse=True)
    assert os.listdir(way.target / "copy") == []


def test_three_hundred_small_files(client: BaseSSHClient, way: Way) -> None:
    for number in range(300):
        way.write(f"tree/{number % 7}/{number}", content(number))
    way.copy(client, "tree", "copy", recurse=True)
    assert content_below(way.target / "copy") == content_below(way.source / "tree")
    way.assert_nothing_is_open()


def test_small_files_do_not_wait_for_each_other(
    connect: Connect, sshd: Server, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, unanswered = SFTPSession.submit, []

    def noted(session: SFTPSession, *args: Any) -> None:
        submit(session, *args)
        unanswered.append(session._exchange.outstanding)

    monkeypatch.setattr(SFTPSession, "submit", noted)
    for number in range(120):
        way.write(f"tree/{number}", content(number))
    with CutProxy(sshd.host, sshd.port, delay=0.02) as far:
        client = connect(port=far.port, host_key_policy="ignore")
        with client.open_sftp() as sftp:
            way.copy(client, "tree", "copy", recurse=True, sftp=sftp)
    assert content_below(way.target / "copy") == content_below(way.source / "tree")
    # Each needs a few round trips, and all these are on their way at the same time.
    assert max(unanswered) >= 60


def test_a_file_takes_no_recursion(client: BaseSSHClient, way: Way) -> None:
    way.write("file")
    way.copy(client, "file", "copy", recurse=True)
    assert (way.target / "copy").read_bytes() == b"content"


def test_times(client: BaseSSHClient, way: Way) -> None:
    way.write("tree/deep/file")
    for name in ("tree/deep/file", "tree/deep", "tree"):
        os.utime(way.source / name, (1_000_000_000, 1_234_567_890))
    # A second time into what is there already.
    for _ in range(2):
        way.copy(client, "tree", "kept", recurse=True, preserve_times=True)
    way.copy(client, "tree", "new", recurse=True)
    for name in ("deep/file", "deep", ""):
        assert (way.target / "kept" / name).stat().st_mtime == 1_234_567_890, name
        assert (way.target / "new" / name).stat().st_mtime > 1_700_000_000, name


def test_into_a_directory_that_exists(connected: Connected, server: Server, way: Way) -> None:
    way.write("tree/deep/file", b"content", 0o600)
    way.write("tree/deep/new", b"content")
    way.folder("tree/deep", 0o700)
    way.write_target("copy/deep/file", b"a longer old content", 0o644)
    way.write_target("copy/deep/other", b"other")
    way.write_target("copy/another/file", b"another")
    way.copy(connected(server), "tree", "copy", recurse=True)
    assert content_below(way.target / "copy") == {
        "deep": None,
        "deep/file": b"content",
        "deep/new": b"content",
        "deep/other": b"other",
        "another": None,
        "another/file": b"another",
    }
    assert mode_of(way.target / "copy/deep/file") == 0o600
    assert mode_of(way.target / "copy/deep") == 0o755


def test_directories_that_cannot_be_written_to(
    client: BaseSSHClient, way: Way, account: Account, remote_folder: Path
) -> None:
    make_locked(way)
    target = way.target if way.is_put or not account.temporary else remote_folder
    if way.is_put:
        way.copy(client, "tree", "copy", recurse=True)
    else:
        with acting_as(account):
            client.copy_remote_file(str(way.source / "tree"), target / "copy", recurse=True)
    assert content_below(target / "copy") == content_below(way.source / "tree")
    assert modes_below(target / "copy") == modes_below(way.source / "tree")


# Links, and what is no file


def test_links(connected: Connected, server: Server, way: Way) -> None:
    way.write("elsewhere/file", b"elsewhere")
    way.write("tree/file")
    way.write("tree/deep/file", b"deep")
    links = {
        "to a file": "file",
        "to a directory": "deep",
        "to a directory elsewhere": "../elsewhere",
        "absolute": str(way.source / "elsewhere/file"),
        "deep/to a link": "../to a file",
    }
    for name, path in links.items():
        (way.source / "tree" / name).symlink_to(path)
    way.copy(connected(server), "tree", "copy", recurse=True)
    assert content_below(way.target / "copy") == {
        "file": b"content",
        "deep": None,
        "deep/file": b"deep",
        "deep/to a link": b"content",
        "to a file": b"content",
        "to a directory": None,
        "to a directory/file": b"deep",
        "to a directory/to a link": b"content",
        "to a directory elsewhere": None,
        "to a directory elsewhere/file": b"elsewhere",
        "absolute": b"elsewhere",
    }


def test_a_link_to_the_directory_itself(client: BaseSSHClient, way: Way) -> None:
    way.write("tree/file")
    (way.source / "link").symlink_to("tree")
    way.copy(client, "link", "copy", recurse=True)
    assert content_below(way.target / "copy") == {"file": b"content"}


@pytest.mark.parametrize(
    "links",
    [
        pytest.param({"nowhere": "missing"}, id="dangling"),
        pytest.param({"itself": "itself"}, id="to itself"),
        pytest.param({"here": ".", "deep/up": "..", "deep/top": "../../tree"}, id="upwards"),
        pytest.param({"deep/other": "../wide", "wide/other": "../deep"}, id="mutual"),
        pytest.param({"outside": "../.."}, id="above all"),
    ],
)
def test_links_that_lead_nowhere(
    client: BaseSSHClient, way: Way, links: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    way.write("a/tree/deep/file", b"deep")
    way.write("a/tree/wide/file", b"wide")
    for name, path in links.items():
        (way.source / "a/tree" / name).symlink_to(path)
    with client.open_sftp() as sftp:
        way.copy(client, "a/tree", "copy", recurse=True, sftp=sftp)
        way.assert_nothing_is_open()
    found = content_below(way.target / "copy")
    wanted: dict[str, bytes | None] = {
        "deep": None,
        "deep/file": b"deep",
        "wide": None,
        "wide/file": b"wide",
    }
    if "wide/other" in links:
        # Each is followed once: only the way back to where one comes from is none.
        wanted.update({"deep/other": None, "deep/other/file": b"wide"})
        wanted.update({"wide/other": None, "wide/other/file": b"deep"})
    assert found == wanted
    for name in links:
        assert os.path.basename(name) in caplog.text
    assert "left out" in caplog.text


def test_a_link_to_what_is_not_to_be_read(
    client: BaseSSHClient, way: Way, account: Account
) -> None:
    need_root()
    secret = way.remote / "secret"
    secret.mkdir(mode=0o700)
    (secret / "file").write_bytes(b"content")
    (way.remote / "tree").mkdir()
    (way.remote / "tree/link").symlink_to("../secret/file")
    with pytest.raises((PermissionError, SFTPPermissionDeniedError), match="link"):
        if way.is_put:
            with acting_as(account):
                client.copy_file(way.remote / "tree", str(way.target / "copy"), recurse=True)
        else:
            client.copy_remote_file(
                str(way.remote / "tree"), str(way.target / "copy"), recurse=True
            )


def test_what_is_no_file_is_left_out(
    client: BaseSSHClient, way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    way.write("tree/file")
    folder = way.source / "tree"
    os.mkfifo(folder / "a pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        path = f"/proc/self/fd/{os.open(folder, os.O_RDONLY)}"
        listening.bind(f"{path}/a socket")
        os.close(int(path.rpartition("/")[2]))
    (folder / "a link to a pipe").symlink_to("a pipe")
    left = ["a pipe", "a socket", "a link to a pipe"]
    if os.geteuid() == 0:
        os.mknod(folder / "a device", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        left.append("a device")
    with impatient(client, 5) as sftp:
        way.copy(client, "tree", "copy", recurse=True, sftp=sftp)
    assert content_below(way.target / "copy") == {"file": b"content"}
    for name in left:
        assert f"{name} is a" in caplog.text


# Where nothing may be written


def test_a_link_that_leads_out_of_the_target(client: BaseSSHClient, tmp_path: Path) -> None:
    outside, target = tmp_path / "outside", tmp_path / "copy"
    outside.mkdir()
    target.mkdir()
    (target / "deep").symlink_to("../outside")
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep/file").write_bytes(b"content")
    tmp_path.chmod(0o755)
    with client.open_sftp() as sftp:
        remote = f"{sftp.realpath('.')}/tree-{os.getpid()}"
        client.copy_file(tree, remote, recurse=True, sftp=sftp)
        try:
            with pytest.raises(SFTPError, match=r"deep leads to .*outside") as caught:
                client.copy_remote_file(remote, target, recurse=True, sftp=sftp)
        finally:
            sftp.remove(f"{remote}/deep/file")
            sftp.rmdir(f"{remote}/deep")
            sftp.rmdir(remote)
    assert str(target / "deep") in str(caught.value)
    assert os.listdir(outside) == []


@pytest.mark.parametrize("atomic", [False, True])
def test_a_link_in_place_of_a_file(
    client: BaseSSHClient, tmp_path: Path, remote_folder: Path, atomic: bool
) -> None:
    (remote_folder / "file").write_bytes(b"content")
    outside, target = tmp_path / "outside", tmp_path / "copy"
    outside.write_bytes(b"outside")
    target.mkdir()
    (target / "file").symlink_to("../outside")
    if atomic:
        # The link itself is replaced.
        client.copy_remote_file(str(remote_folder), target, recurse=True, atomic=True)
        assert content_below(target) == {"file": b"content"}
    else:
        with pytest.raises(OSError, match="symbolic links") as caught:
            client.copy_remote_file(str(remote_folder), target, recurse=True)
        assert caught.value.filename == str(target / "file")
        assert getattr(caught.value, "host", None) == client.host
        assert (target / "file").is_symlink()
    assert outside.read_bytes() == b"outside"


def test_a_link_that_leads_nowhere_yet(
    client: BaseSSHClient, tmp_path: Path, remote_folder: Path
) -> None:
    (remote_folder / "file").write_bytes(b"content")
    (remote_folder / "deep").mkdir()
    (remote_folder / "deep/file").write_bytes(b"content")
    for name in ("file", "deep"):
        target = tmp_path / f"with {name}"
        target.mkdir()
        (target / name).symlink_to(tmp_path / "made")
        with pytest.raises((OSError, SFTPError)):
            client.copy_remote_file(str(remote_folder), target, recurse=True)
        assert not (tmp_path / "made").exists()


def test_a_link_that_stays_in_the_target(
    client: BaseSSHClient, tmp_path: Path, remote_folder: Path
) -> None:
    (remote_folder / "deep").mkdir()
    (remote_folder / "deep/file").write_bytes(b"content")
    (tmp_path / "copy/real").mkdir(parents=True)
    (tmp_path / "copy/deep").symlink_to("real")
    (tmp_path / "link").symlink_to("copy")
    # The directory that the user names is his choice.
    client.copy_remote_file(str(remote_folder), tmp_path / "link", recurse=True)
    assert (tmp_path / "copy/real/file").read_bytes() == b"content"


# Failures


def test_one_file_that_fails_stops_the_tree(
    client: BaseSSHClient, way: Way, account: Account
) -> None:
    need_root()
    for number in range(100):
        way.write(f"tree/{number}", content(10_000))
    if way.is_put:
        path = way.target_folder("copy/50")
    else:
        path = way.source / "tree/50"
        os.chown(path, 0, 0)
        path.chmod(0o600)
    with client.open_sftp() as sftp:
        with pytest.raises(SFTPError) as caught:
            way.copy(client, "tree", "copy", recurse=True, sftp=sftp)
        assert str(path) in str(caught.value)
        assert caught.value.host == client.host
        # Also while the error is looked at.
        way.assert_nothing_is_open()
        for name, found in content_below(way.target / "copy").items():
            assert found in (content(10_000), None), name
        assert sftp.listdir(way.remote)


def test_a_local_file_that_fails_stops_the_tree(
    client: BaseSSHClient, way: Way, account: Account, remote_folder: Path
) -> None:
    need_root()
    tree = remote_folder / "tree"
    if way.is_put:
        for number in range(20):
            (remote_folder / "tree").mkdir(exist_ok=True)
            (tree / str(number)).write_bytes(b"content")
        path = tree / "10"
        path.chmod(0o600)
    else:
        for number in range(20):
            way.write(f"{number}", b"content")
        tree = remote_folder.with_name(f"{remote_folder.name}-local")
        tree.mkdir()
        account.give(tree, 0o755)
        path = tree / "10"
        path.write_bytes(b"old content")
    with pytest.raises(PermissionError) as caught, acting_as(account):
        if way.is_put:
            client.copy_file(tree, f"{remote_folder}/copy", recurse=True)
        else:
            client.copy_remote_file(str(way.source), tree, recurse=True)
    assert caught.value.filename == str(path)
    assert getattr(caught.value, "host", None) == client.host
    if not way.is_put:
        assert path.read_bytes() == b"old content"
    way.assert_nothing_is_open()


def test_a_file_that_has_grown_since_it_was_listed(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    # The directory is looked at first, and then the file, before it is opened.
    (remote_folder / "log").write_bytes(content(KILOBYTE))
    (remote_folder / "log").chmod(0o666)
    faulty.plan(Fault("STAT", "run", 2, command=f"echo more >> {remote_folder}/log"))
    connected(faulty).copy_remote_file(str(remote_folder), tmp_path / "copy", recurse=True)
    assert content_below(tmp_path / "copy") == {"log": content(KILOBYTE) + b"more\n"}


def test_what_is_not_of_the_same_kind(client: BaseSSHClient, way: Way) -> None:
    way.write("tree/deep/file")
    way.write_target("copy/deep")
    with pytest.raises((FileExistsError, NotADirectoryError, SFTPError)) as caught:
        way.copy(client, "tree", "copy", recurse=True)
    assert str(way.target / "copy/deep") in str(caught.value)
    assert (way.target / "copy/deep").read_bytes() == b"old content"


def test_a_target_that_is_a_file(client: BaseSSHClient, way: Way) -> None:
    way.write("tree/file")
    path = way.write_target("copy")
    with pytest.raises((OSError, SFTPError)) as caught:
        way.copy(client, "tree", "copy", recurse=True)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"old content"


def test_a_directory_that_is_not_to_be_listed(
    client: BaseSSHClient, way: Way, account: Account
) -> None:
    need_root()
    (way.remote / "tree").mkdir()
    (way.remote / "tree/locked").mkdir(mode=0o700)
    with pytest.raises((PermissionError, SFTPPermissionDeniedError)) as caught:
        if way.is_put:
            with acting_as(account):
                client.copy_file(way.remote / "tree", str(way.target / "copy"), recurse=True)
        else:
            way.copy(client, "tree", "copy", recurse=True)
    assert str(way.remote / "tree/locked") in str(caught.value)


def test_a_missing_directory(client: BaseSSHClient, way: Way) -> None:
    with pytest.raises((FileNotFoundError, SFTPNoSuchFileError)) as caught:
        way.copy(client, "missing", "copy", recurse=True)
    assert str(way.source / "missing") in str(caught.value)
    assert os.listdir(way.target) == []


def test_a_lost_connection(connect: Connect, proxy: CutProxy, way: Way) -> None:
    client = connect(port=proxy.port, host_key_policy="ignore")
    for number in range(100):
        way.write(f"tree/{number}", content(50_000))
    with pytest.raises(ConnectionLostError) as caught:
        way.copy(client, "tree", "copy", recurse=True, progress=once_at(50_000, proxy.cut))
    assert caught.value.host == client.host
    way.assert_nothing_is_open()
    if not way.is_put:
        for name, found in content_below(way.target / "copy").items():
            assert found == content(50_000), name
    way.copy(client, "tree", "copy", recurse=True)
    assert content_below(way.target / "copy") == content_below(way.source / "tree")


def test_a_server_that_ends(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    (remote_folder / "deep").mkdir()
    for count in range(10):
        (remote_folder / "deep" / str(count)).write_bytes(content(1000))
        (remote_folder / f"link {count}").symlink_to(f"deep/{count}")
    client = connected(faulty)
    for kind in ("OPENDIR", "READDIR", "OPEN", "READ", "STAT"):
        for number in (1, 2):
            faulty.plan(Fault(kind, "exit", number))
            with pytest.raises(SFTPError, match="has ended") as caught:
                client.copy_remote_file(str(remote_folder), tmp_path / kind, recurse=True)
            assert caught.value.host == client.host
    assert copies.open_here(tmp_path) == []
    eventually_closed(remote_folder)


@pytest.mark.parametrize("kind", ["MKDIR", "SETSTAT"])
def test_a_directory_that_is_refused(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path, kind: str
) -> None:
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/deep/file").write_bytes(b"content")
    faulty.plan(Fault(kind, "refuse", 2 if kind == "MKDIR" else 1, message="it is Monday"))
    client = connected(faulty)
    with pytest.raises(SFTPError, match="it is Monday") as caught:
        client.copy_file(tmp_path / "tree", f"{remote_folder}/copy", recurse=True)
    assert f"{remote_folder}/copy/deep" in str(caught.value)
    assert caught.value.host == client.host


def test_a_progress_function_that_stops_it(client: BaseSSHClient, way: Way) -> None:
    for number in range(100):
        way.write(f"tree/{number}", content(20_000))
    with pytest.raises(StopError):
        way.copy(client, "tree", "copy", recurse=True, progress=stop_at(20_000))
    assert len(content_below(way.target / "copy")) < 100
    way.assert_nothing_is_open()


def test_a_tree_that_is_killed_ends_at_once(client: BaseSSHClient, way: Way) -> None:
    for number in range(20):
        way.write(f"tree/{number}", content(1000))
    begun = Event()

    def hang(*_values: object) -> None:
        begun.set()
        Event().wait()

    copying = gevent.spawn(way.copy, client, "tree", "copy", recurse=True, progress=hang)
    begun.wait()
    copying.kill(timeout=20)
    assert copying.ready()
    # It does not wait for the threads that were opening or closing a file.
    eventually(lambda: copies.open_here(way.local) == [], f"us to close everything in {way.local}")
    way.assert_nothing_is_open()


def test_no_room_for_a_file_of_a_tree(
    client: BaseSSHClient, tmp_path: Path, remote_folder: Path
) -> None:
    (remote_folder / "deep").mkdir()
    (remote_folder / "deep/file").write_bytes(content(MEGABYTE))
    with copies.files_up_to(MEGABYTE - 1), pytest.raises(OSError, match="too large") as caught:
        client.copy_remote_file(str(remote_folder), tmp_path / "copy", recurse=True)
    assert caught.value.filename == str(tmp_path / "copy/deep/file")
    assert getattr(caught.value, "host", None) == client.host
    assert content_below(tmp_path / "copy") == {"deep": None}
