"""Copies of single files over SFTP, in both directions, against every kind of server."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import pytest

from pssh.clients.base.files import download
from pssh.clients.base.files.access import PathLike
from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import InvalidAPIUseError, SCPError, SFTPError, SFTPIOError
from tests.conftest import StartServer, missing
from tests.contract import copies
from tests.contract.conftest import SERVERS, Connect
from tests.contract.copies import (
    KILOBYTE,
    LARGE_REQUEST,
    MEGABYTE,
    NAMES,
    Connected,
    Recorder,
    StopError,
    Way,
    content,
    impatient,
    in_greenlets,
    mode_of,
    need_root,
    once_at,
    stop_at,
)
from tests.servers.account import Account
from tests.servers.faulty_sftp import Fault, FaultySFTPServer, sftp_server
from tests.servers.openssh import QUICK, OpenSSHServer
from tests.servers.process import MissingProgramError
from tests.servers.server import Server

connected, client, way = copies.connected, copies.client, copies.way
kept_clients = copies.kept_clients
faulty = copies.faulty

SIZES = [
    0,
    1,
    *(count * 32 * KILOBYTE + beside for count in (1, 2) for beside in (-1, 0, 1)),
    *(count * LARGE_REQUEST + beside for count in (1, 3) for beside in (-1, 0, 1)),
    *(count * MEGABYTE + beside for count in (1, 2) for beside in (-1, 0, 1)),
    5 * MEGABYTE,
]

MODES = [0o600, 0o755, 0o444, 0o4755, 0o2711]


@pytest.fixture(scope="session")
def sftp_program(
    tmp_path_factory: pytest.TempPathFactory, account: Account, authorized_keys: list[Path]
) -> Iterator[OpenSSHServer]:
    """A server that runs OpenSSH's SFTP server as a program, as Dropbear does."""
    try:
        subsystem = f"sftp {sftp_server()}"
    except MissingProgramError as error:
        missing(str(error))
    with OpenSSHServer(
        tmp_path_factory.mktemp("sshd"),
        account=account,
        options={**QUICK, "Subsystem": subsystem},
        host_keys=("ed25519",),
        authorized_keys=authorized_keys,
    ) as server:
        yield server


@pytest.fixture(params=[*SERVERS, "sftp_program"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each kind of server in turn."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Server)
    return found


# Content, modes, times and names


def test_content(connected: Connected, server: Server, way: Way) -> None:
    client = connected(server)
    with client.open_sftp() as sftp:
        for size in SIZES:
            way.write("original", content(size))
            way.copy(client, "original", f"copy {size}", sftp=sftp)
            assert (way.target / f"copy {size}").read_bytes() == content(size), size
        for size in (0, 1, MEGABYTE):
            way.write("original", content(size))
            way.write_target("larger", content(2 * MEGABYTE))
            way.copy(client, "original", "larger", sftp=sftp)
            assert (way.target / "larger").read_bytes() == content(size)
        way.assert_nothing_is_open()


def test_modes(connected: Connected, server: Server, way: Way) -> None:
    client = connected(server)
    with client.open_sftp() as sftp:
        for mode in MODES:
            way.write(f"{mode:o}", b"content", mode)
            way.write_target(f"existing {mode:o}", b"longer content than before", 0o640)
            for name in (f"new {mode:o}", f"existing {mode:o}"):
                way.copy(client, f"{mode:o}", name, sftp=sftp)
                # What a server sends must not run with the rights of who fetches it.
                wanted = mode if way.is_put else mode & 0o777
                assert mode_of(way.target / name) == wanted
                assert (way.target / name).read_bytes() == b"content"


def test_modes_do_not_depend_on_the_umask(
    connect: Connect, way: Way, sshd_with: StartServer
) -> None:
    client = connect(sshd_with({"Subsystem": "sftp internal-sftp -u 0077"}))
    way.write("open", b"content", 0o666)
    way.write("deep/open", b"content", 0o666)
    before = os.umask(0o077)
    try:
        way.copy(client, "open", "copy")
        way.copy(client, "", "tree", recurse=True)
    finally:
        os.umask(before)
    assert mode_of(way.target / "copy") == 0o666
    assert mode_of(way.target / "tree/deep/open") == 0o666
    assert mode_of(way.target / "tree/deep") == 0o755


def test_nobody_else_may_read_it_before_it_has_its_mode(client: BaseSSHClient, way: Way) -> None:
    way.write("secret", content(MEGABYTE), 0o600)
    modes = []
    way.copy(
        client,
        "secret",
        "copy",
        progress=Recorder(lambda done: modes.append(mode_of(way.target / "copy"))),
    )
    assert set(modes) == {0o600}


def test_times(connected: Connected, server: Server, way: Way) -> None:
    client = connected(server)
    path = way.write("original")
    os.utime(path, (1_000_000_000, 1_234_567_890))
    with client.open_sftp() as sftp:
        way.copy(client, "original", "kept", sftp=sftp, preserve_times=True)
        found = (way.target / "kept").stat()
        assert (found.st_atime, found.st_mtime) == (1_000_000_000, 1_234_567_890)
        before = int(time.time())
        for name in ("new", "kept"):
            way.copy(client, "original", name, sftp=sftp)
            assert before <= (way.target / name).stat().st_mtime <= time.time() + 1


def test_times_at_their_edges(client: BaseSSHClient, way: Way) -> None:
    # As a float, it would be the next second.
    last = 10**9 - 1
    os.utime(way.write("original"), ns=(0, 1_700_000_000 * 10**9 + last))
    way.copy(client, "original", "copy", preserve_times=True)
    found = (way.target / "copy").stat()
    assert (found.st_atime_ns, found.st_mtime_ns) == (0, 1_700_000_000 * 10**9)


@pytest.mark.parametrize("moment", [-5, 2**32 + 5])
def test_times_that_sftp_cannot_say(
    client: BaseSSHClient, tmp_path: Path, remote_folder: Path, moment: int
) -> None:
    path = tmp_path / "original"
    path.write_bytes(b"content")
    os.utime(path, (moment, moment))
    client.copy_file(path, str(remote_folder / "copy"), preserve_times=True)
    found = (remote_folder / "copy").stat()
    assert found.st_mtime == (0 if moment < 0 else 2**32 - 1)


def test_a_remote_name_in_another_encoding(
    client: BaseSSHClient, tmp_path: Path, remote_folder: Path
) -> None:
    (remote_folder / "\udce4").write_bytes(b"content")
    client.copy_remote_file(f"{remote_folder}/ä", tmp_path / "copy", encoding="latin-1")
    assert (tmp_path / "copy").read_bytes() == b"content"
    client.copy_remote_file(f"{remote_folder}/ä", f"{tmp_path}/", encoding="latin-1")
    assert (tmp_path / "\udce4").read_bytes() == b"content"


@pytest.mark.parametrize("options", [{}, {"atomic": True}, {"resume": True}], ids=repr)
def test_the_longest_name(client: BaseSSHClient, way: Way, options: dict[str, Any]) -> None:
    name = "ü" * 127 + "x"
    way.write(name)
    way.copy(client, name, name, **options)
    assert os.listdir(way.target) == [name]


def test_a_memory_file_system_is_written_without_threads(
    client: BaseSSHClient, remote_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/shm").is_dir():
        missing("no memory file system is at /dev/shm")
    # Writing there in a thread is what fails.
    monkeypatch.delattr(download, "pool")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, client.open_sftp() as sftp:
        for size in (0, 1, MEGABYTE, 5 * MEGABYTE + 1):
            (remote_folder / "original").write_bytes(content(size))
            copy = Path(folder, "copy")
            client.copy_remote_file(str(remote_folder / "original"), copy, sftp=sftp)
            assert copy.read_bytes() == content(size)
        with copies.files_up_to(2 * MEGABYTE), pytest.raises(OSError, match="too large") as caught:
            client.copy_remote_file(str(remote_folder / "original"), copy, sftp=sftp)
        assert str(copy) in str(caught.value)
        assert os.listdir(folder) == []
        assert copies.open_here(Path(folder)) == []


# Where the copy goes to


def test_missing_directories_and_any_name(connected: Connected, server: Server, way: Way) -> None:
    client = connected(server)
    way.write("original")
    way.target_folder("there")
    with client.open_sftp() as sftp:
        for name in ("there/copy", "a/copy", "b/c/d/copy", "there/e/copy"):
            way.copy(client, "original", name, sftp=sftp)
            assert (way.target / name).read_bytes() == b"content"
        # A slash at the end keeps the name.
        for folder in ("there", "missing/below"):
            way.copy(client, "original", f"{folder}/", sftp=sftp)
            assert (way.target / folder / "original").read_bytes() == b"content"
        for name in NAMES:
            way.write(f"{name}/{name}", os.fsencode(name))
            way.copy(client, f"{name}/{name}", f"names/{name}/", sftp=sftp)
            assert (way.target / "names" / name / name).read_bytes() == os.fsencode(name)
    wanted = {os.fsencode(name) for name in NAMES}
    assert set(os.listdir(os.fsencode(way.target / "names"))) == wanted


def test_relative_paths(
    client: BaseSSHClient, way: Way, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(way.local)
    below = os.path.relpath(way.remote, account.home)
    if way.is_put:
        way.write("original")
        client.copy_file("original", f"{below}/a/copy")
        client.copy_file("original", f"{below}/b/")
        assert (way.target / "b/original").read_bytes() == b"content"
    else:
        way.write("original")
        client.copy_remote_file(f"{below}/original", "a/copy")
        client.copy_remote_file(f"{below}/original", "b/")
        client.copy_remote_file(f"{below}/original", "copy")
        assert (way.target / "b/original").read_bytes() == b"content"
        assert (way.target / "copy").read_bytes() == b"content"
    assert (way.target / "a/copy").read_bytes() == b"content"


def test_a_link_as_target_is_followed(client: BaseSSHClient, way: Way) -> None:
    way.write("original")
    behind = way.write_target("behind")
    (way.target / "link").symlink_to("behind")
    way.copy(client, "original", "link")
    assert (way.target / "link").is_symlink()
    assert behind.read_bytes() == b"content"


def test_a_link_as_source_is_followed(client: BaseSSHClient, way: Way) -> None:
    way.write("original")
    (way.source / "link").symlink_to("original")
    way.copy(client, "link", "copy")
    assert not (way.target / "copy").is_symlink()
    assert (way.target / "copy").read_bytes() == b"content"


@pytest.mark.parametrize("kind", [Path, os.fsencode])
def test_kinds_of_path(
    client: BaseSSHClient, tmp_path: Path, remote_folder: Path, kind: Callable[[str], PathLike]
) -> None:
    here, there, back = (
        kind(str(path)) for path in (tmp_path / "here", remote_folder / "there", tmp_path / "back")
    )
    for send, fetch in (
        (client.copy_file, client.copy_remote_file),
        (client.scp_send, client.scp_recv),
    ):
        (tmp_path / "here").write_bytes(b"content")
        send(here, there)
        fetch(there, back)
        assert (tmp_path / "back").read_bytes() == b"content"
        (tmp_path / "back").unlink()
        (remote_folder / "there").unlink()


def test_copies_are_logged(
    client: BaseSSHClient, tmp_path: Path, remote_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pssh")
    here, there = str(tmp_path / "here"), str(remote_folder / "there")
    (tmp_path / "here").write_bytes(b"content")
    client.copy_file(here, there)
    client.copy_remote_file(there, here)
    client.scp_send(here, there)
    client.scp_recv(there, here)
    directions = ["to", "from", "to", "from"]
    assert caplog.messages == [
        f"Copied local file {here} {direction} remote destination {client.host}:{there}"
        for direction in directions
    ]


def test_a_path_longer_than_a_request(
    client: BaseSSHClient, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "original").write_bytes(b"content")
    with client.open_sftp() as sftp:
        for copy in (
            partial(client.copy_file, tmp_path / "original", "x" * 300_000),
            partial(client.copy_remote_file, "x" * 300_000, tmp_path / "copy"),
        ):
            with pytest.raises(ValueError, match="The request has"):
                copy(sftp=sftp)
        assert sftp.realpath("/") == "/"
    gevent.idle()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("options", [{}, {"atomic": True}, {"resume": True}], ids=repr)
def test_onto_a_directory(client: BaseSSHClient, way: Way, options: dict[str, Any]) -> None:
    way.write("original", content(MEGABYTE))
    folder = way.target_folder("folder")
    way.write_target("folder/file")
    with pytest.raises(SFTPIOError if way.is_put else IsADirectoryError) as caught:
        way.copy(client, "original", "folder", **options)
    assert str(folder) in str(caught.value)
    assert "directory" in str(caught.value)
    assert getattr(caught.value, "host", None) == client.host
    way.eventually_only("folder")
    assert os.listdir(folder) == ["file"]
    way.assert_nothing_is_open()


def test_a_directory_takes_recurse(client: BaseSSHClient, way: Way) -> None:
    folder = way.folder("folder")
    way.write("folder/file")
    with pytest.raises(ValueError, match=r"directory: .* recurse=True") as caught:
        way.copy(client, "folder", "copy")
    assert str(folder) in str(caught.value)
    assert os.listdir(way.target) == []
    way.assert_nothing_is_open()


# Files that are no ordinary ones


def test_files_that_are_made_up_when_they_are_read(client: BaseSSHClient, tmp_path: Path) -> None:
    progress = Recorder()
    client.copy_remote_file("/proc/version", tmp_path / "copy", progress=progress)
    wanted = Path("/proc/version").read_bytes()
    assert (tmp_path / "copy").read_bytes() == wanted
    assert progress.calls[-1] == (client.host, "/proc/version", len(wanted), len(wanted))


@pytest.mark.parametrize("options", [{}, {"atomic": True}, {"resume": True}], ids=repr)
def test_local_files_that_are_made_up_when_they_are_read(
    client: BaseSSHClient, remote_folder: Path, options: dict[str, Any]
) -> None:
    (remote_folder / "copy").write_bytes(b"longer old content" * 100)
    (remote_folder / "copy").chmod(0o666)
    progress = Recorder()
    client.copy_file("/proc/version", str(remote_folder / "copy"), progress=progress, **options)
    wanted = Path("/proc/version").read_bytes()
    assert (remote_folder / "copy").read_bytes() == wanted
    assert progress.calls[-1][2:] == (len(wanted), len(wanted))
    with pytest.raises(SCPError, match="tells its length only at its end") as caught:
        client.scp_send("/proc/version", str(remote_folder / "other"), **options)
    assert caught.value.host == client.host
    assert not (remote_folder / "other").exists()


def test_files_without_a_size_that_come_in_small_pieces(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    # Those that the system makes up may be long, and it gives no more than 4 KiB at once.
    (remote_folder / "original").write_bytes(content(MEGABYTE + 1))
    faulty.plan(
        Fault("STAT", "attributes", last=None, size=0),
        Fault("FSTAT", "attributes", last=None, size=0),
        Fault("READ", "data", last=None, at_most=4096),
    )
    progress = Recorder()
    client = connected(faulty)
    client.copy_remote_file(str(remote_folder / "original"), tmp_path / "copy", progress=progress)
    assert (tmp_path / "copy").read_bytes() == content(MEGABYTE + 1)
    assert progress.done == sorted(progress.done)
    assert progress.calls[-1][2:] == (MEGABYTE + 1, MEGABYTE + 1)


def test_a_pipe_is_not_waited_for(client: BaseSSHClient, way: Way) -> None:
    path = way.source / "pipe"
    os.mkfifo(path)
    path.chmod(0o666)
    error = OSError if way.is_put else SFTPError
    with impatient(client, 5) as sftp, pytest.raises(error, match="regular") as caught:
        way.copy(client, "pipe", "copy", sftp=sftp)
    assert str(path) in str(caught.value)
    assert os.listdir(way.target) == []


def test_a_pipe_as_target_is_not_waited_for(client: BaseSSHClient, way: Way) -> None:
    way.write("original")
    path = way.target / "pipe"
    os.mkfifo(path)
    path.chmod(0o666)
    error = SFTPIOError if way.is_put else OSError
    with impatient(client, 20) as sftp, pytest.raises(error) as caught:
        way.copy(client, "original", "pipe", sftp=sftp)
    assert str(path) in str(caught.value)
    assert way.is_put == ("is a named pipe" in str(caught.value))
    assert stat.S_ISFIFO(path.stat().st_mode)
    # The server waits in vain no longer.
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    way.assert_nothing_is_open()


def test_a_device_stays_as_it_is(client: BaseSSHClient, way: Way) -> None:
    need_root()
    way.write("original", content(KILOBYTE), 0o600)
    device = way.target / "null"
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    if way.is_put:
        way.account.give(device, 0o666)
    device.chmod(0o666)
    way.copy(client, "original", "null")
    assert stat.S_ISCHR(device.stat().st_mode)
    assert mode_of(device) == 0o666


# Sessions


def test_one_session_for_several_copies(
    client: BaseSSHClient, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    way.write("original")
    with client.open_sftp() as sftp:
        opened: list[object] = []
        monkeypatch.setattr(client, "open_channel", lambda *args: opened.append(args))
        for number in range(3):
            way.copy(client, "original", f"copy {number}", sftp=sftp)
        assert opened == []
        assert len(sftp.listdir(str(way.remote))) == (3 if way.is_put else 1)


def test_each_copy_gives_its_session_back(
    connect: Connect, way: Way, sshd_with: StartServer
) -> None:
    client = connect(sshd_with({"MaxSessions": "1"}))
    way.write("original", content(MEGABYTE))
    for number in range(3):
        way.copy(client, "original", f"copy {number}")
        with pytest.raises(StopError):
            way.copy(client, "original", f"copy {number}", progress=stop_at(1))
        with pytest.raises((SFTPIOError, FileNotFoundError)):
            way.copy(client, "missing", "copy")
    way.assert_nothing_is_open()


def test_sessions_one_after_another(connect: Connect, server: Server, way: Way) -> None:
    client = connect(server, timeout=5)
    way.write("original")
    # Dropbear 2022 may close a session that begins before the one before it has ended.
    for number in range(10):
        way.copy(client, "original", f"copy {number}")
    assert len(os.listdir(way.target)) == 10


def test_a_channel_that_is_closed_instead_of_an_answer(
    connect: Connect, dropbear: Server, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(dropbear, timeout=5)
    assert client.session is not None
    assert "dropbear" in client.session.server_version()
    # Without the care that is taken of Dropbear it does so before long.
    monkeypatch.setattr(type(client.session), "server_version", lambda _: "")
    way.write("original")
    refused: SFTPError | None = None
    for number in range(20):
        try:
            way.copy(client, "original", f"copy {number}")
        except SFTPError as ex:
            refused = ex
            break
    if refused is not None:
        assert "closed the channel instead of answering" in str(refused)
        assert refused.host == client.host


def test_with_the_functions_of_2x(
    connected: Connected, server: Server, tmp_path: Path, remote_folder: Path
) -> None:
    client = connected(server)
    (tmp_path / "original").write_bytes(content(MEGABYTE))
    with client.open_sftp() as sftp:
        client.mkdir(sftp, str(remote_folder / "a/b"))
        client.mkdir(sftp, str(remote_folder / "a/b"))
        client.mkdir(sftp, f"{remote_folder}/a/c/")
        assert sorted(os.listdir(remote_folder / "a")) == ["b", "c"]
        client.sftp_put(sftp, tmp_path / "original", str(remote_folder / "a/b/copy"))
        client.sftp_get(sftp, str(remote_folder / "a/b/copy"), tmp_path / "back")
        with pytest.raises(SFTPIOError) as caught:
            client.mkdir(sftp, str(remote_folder / "a/b/copy"))
        assert caught.value.path == str(remote_folder / "a/b/copy")
        with pytest.raises(SFTPIOError):
            client.mkdir(sftp, str(remote_folder / "a/b/copy/below"))
    assert (tmp_path / "back").read_bytes() == content(MEGABYTE)


def test_an_sftp_client_as_2x_had_it(client: BaseSSHClient, remote_folder: Path) -> None:
    with client._make_sftp() as sftp:
        client.mkdir(sftp, str(remote_folder / "made"))
    assert os.listdir(remote_folder) == ["made"]
    wrong: Any
    for wrong in (object(), client):
        for use in (
            partial(client.mkdir, wrong, "x"),
            partial(client.copy_file, __file__, "x", sftp=wrong),
            partial(client.copy_remote_file, "x", "x", sftp=wrong),
        ):
            with pytest.raises(InvalidAPIUseError, match="open_sftp"):
                use()


def test_twenty_at_a_time(client: BaseSSHClient, way: Way) -> None:
    for number in range(20):
        way.write(f"original {number}", content(300_000 + number))
    in_greenlets(
        *(
            lambda number=number: way.copy(client, f"original {number}", f"copy {number}")
            for number in range(20)
        )
    )
    for number in range(20):
        assert (way.target / f"copy {number}").read_bytes() == content(300_000 + number)
    way.assert_nothing_is_open()


def test_twenty_at_a_time_in_one_session(client: BaseSSHClient, way: Way) -> None:
    for number in range(20):
        way.write(f"original {number}", content(300_000 + number))
    with client.open_sftp() as sftp:
        in_greenlets(
            *(
                lambda number=number: way.copy(
                    client, f"original {number}", f"copy {number}", sftp=sftp
                )
                for number in range(20)
            )
        )
        for number in range(20):
            assert (way.target / f"copy {number}").read_bytes() == content(300_000 + number)
        way.assert_nothing_is_open()


def test_commands_run_meanwhile(client: BaseSSHClient, way: Way) -> None:
    way.write("original", content(5 * MEGABYTE))
    said: list[object] = []

    def run() -> None:
        said.extend(client.run_command("echo meanwhile").stdout or ())

    way.copy(client, "original", "copy", progress=once_at(MEGABYTE, run))
    assert said == ["meanwhile"]
    assert (way.target / "copy").read_bytes() == content(5 * MEGABYTE)


# Options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"atomic": True, "resume": True}, "atomic"),
        ({"limit_rate": 0}, "limit_rate"),
        ({"limit_rate": -1.5}, "limit_rate"),
        ({"progress": "yes"}, "progress"),
    ],
    ids=repr,
)
def test_impossible_options(
    client: BaseSSHClient,
    way: Way,
    options: dict[str, Any],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    way.write("original")
    opened: list[object] = []
    monkeypatch.setattr(client, "open_channel", lambda *args: opened.append(args))
    with pytest.raises(ValueError, match=words):
        way.copy(client, "original", "copy", **options)
    assert opened == []
    assert os.listdir(way.target) == []


def test_files_of_somebody_else_that_may_be_written(
    client: BaseSSHClient, way: Way, account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    need_root()
    folder = way.remote / "folder"
    folder.mkdir()
    account.give(folder, 0o755)
    (folder / "of root").write_bytes(b"a longer old content")
    (folder / "of root").chmod(0o666)
    way.write("original", b"content", 0o640)
    acting: Any = contextlib.nullcontext() if way.is_put else copies.acting_as(account)
    with acting:
        if way.is_put:
            way.copy(client, "original", "folder/of root")
        else:
            client.copy_remote_file(str(way.source / "original"), folder / "of root")
    assert (folder / "of root").read_bytes() == b"content"
    assert mode_of(folder / "of root") == 0o666
    assert "of root" in caplog.text
