"""Copies over SFTP that fail: the error says why, nothing stays open, nothing looks complete."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from pssh.clients.base.files.session import SFTPSession
from pssh.clients.base.files.source import BLOCK
from pssh.clients.base.single import BaseSSHClient
from pssh.clients.base.task import Task
from pssh.exceptions import (
    ConnectionLostError,
    SFTPError,
    SFTPFailureError,
    SFTPIOError,
    SFTPNoSuchFileError,
    SFTPPermissionDeniedError,
    Timeout,
)
from tests.conftest import StartServer
from tests.contract import copies
from tests.contract.conftest import Connect
from tests.contract.copies import (
    MEGABYTE,
    Connected,
    Recorder,
    StopError,
    Way,
    acting_as,
    content,
    eventually_closed,
    files_up_to,
    impatient,
    need_root,
    once_at,
    stop_at,
)
from tests.contract.outputs import eventually
from tests.servers.account import Account
from tests.servers.cut_proxy import CutProxy
from tests.servers.faulty_sftp import Fault, FaultySFTPServer, sftp_server
from tests.servers.openssh import OpenSSHServer

connected, client, way = copies.connected, copies.client, copies.way
kept_clients = copies.kept_clients
faulty = copies.faulty

SIZE = 5 * MEGABYTE

#: Starts OpenSSH's SFTP server with a limit, in blocks of 512 bytes, for the files it writes.
LIMITED = "trap {trap} XFSZ; ulimit -f {blocks}; exec {program}\n"


def assert_local(error: OSError, client: BaseSSHClient, path: Path) -> None:
    """Check what an error of a local file says."""
    assert error.filename == str(path)
    assert str(path) in str(error)
    assert getattr(error, "host", None) == client.host
    assert getattr(error, "port", None) == client.port


def assert_remote(error: SFTPError, client: BaseSSHClient, path: Path) -> None:
    """Check what an error of a remote file says."""
    assert (error.host, error.port) == (client.host, client.port)
    assert str(path) in str(error)
    assert f"{client.host}:{client.port}" in str(error)
    if isinstance(error, SFTPIOError):
        assert error.path == str(path)


# Before anything is copied


def test_a_missing_source(client: BaseSSHClient, way: Way) -> None:
    old = way.write_target("old")
    path = way.source / "missing"
    for name in ("new", "old"):
        with pytest.raises((FileNotFoundError, SFTPNoSuchFileError)) as caught:
            way.copy(client, "missing", name)
        if way.is_put:
            assert isinstance(caught.value, FileNotFoundError)
            assert_local(caught.value, client, path)
        else:
            assert isinstance(caught.value, SFTPNoSuchFileError)
            assert_remote(caught.value, client, path)
    assert os.listdir(way.target) == ["old"]
    assert old.read_bytes() == b"old content"


def test_a_source_that_is_not_to_be_read(client: BaseSSHClient, way: Way, account: Account) -> None:
    need_root()
    path = way.remote / "secret"
    path.write_bytes(b"content")
    path.chmod(0o600)
    old = way.write_target("old")
    with pytest.raises((PermissionError, SFTPPermissionDeniedError)) as caught:
        if way.is_put:
            with acting_as(account):
                client.copy_file(path, str(old))
        else:
            way.copy(client, "secret", "old")
    if way.is_put:
        assert isinstance(caught.value, PermissionError)
        assert_local(caught.value, client, path)
    else:
        assert isinstance(caught.value, SFTPPermissionDeniedError)
        assert_remote(caught.value, client, path)
    assert old.read_bytes() == b"old content"
    way.assert_nothing_is_open()


def test_a_target_that_is_not_to_be_written(
    client: BaseSSHClient, way: Way, account: Account
) -> None:
    need_root()
    folder = way.remote / "locked"
    folder.mkdir(0o755)
    old = folder / "old"
    old.write_bytes(b"old content")
    way.write("original")
    for path in (old, folder / "new", folder / "a/b"):
        for atomic in (False, True):
            with pytest.raises((PermissionError, SFTPPermissionDeniedError)) as caught:
                if way.is_put:
                    way.copy(client, "original", str(path), atomic=atomic)
                else:
                    with acting_as(account):
                        source = str(way.source / "original")
                        client.copy_remote_file(source, path, atomic=atomic)
            assert str(folder) in str(caught.value)
            assert getattr(caught.value, "host", None) == client.host
            assert os.listdir(folder) == ["old"]
    assert old.read_bytes() == b"old content"
    way.assert_nothing_is_open()


def test_a_directory_that_is_a_file(client: BaseSSHClient, way: Way) -> None:
    way.write("original")
    path = way.write_target("file")
    with pytest.raises((OSError, SFTPIOError)) as caught:
        way.copy(client, "original", "file/copy")
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"old content"
    assert os.listdir(way.target) == ["file"]


def test_a_server_without_sftp(connect: Connect, way: Way, sshd_with: StartServer) -> None:
    client = connect(sshd_with({"Subsystem": "nothing /bin/true"}))
    way.write("original")
    with pytest.raises(SFTPError, match="does not offer SFTP") as caught:
        way.copy(client, "original", "copy")
    assert caught.value.host == client.host
    assert os.listdir(way.target) == []


# No room


@pytest.mark.parametrize("atomic", [False, True])
def test_no_room_here(
    client: BaseSSHClient, tmp_path: Path, remote_folder: Path, atomic: bool
) -> None:
    (remote_folder / "original").write_bytes(content(SIZE))
    source, path = f"{remote_folder}/original", tmp_path / "copy"
    with client.open_sftp() as sftp:
        for limit in (0, 100_000, 3 * MEGABYTE + 1, SIZE - 1):
            with files_up_to(limit), pytest.raises(OSError, match="File too large") as caught:
                client.copy_remote_file(source, path, sftp=sftp, atomic=atomic)
            assert getattr(caught.value, "host", None) == client.host
            assert str(path) in str(caught.value)
            assert os.listdir(tmp_path) == []
        eventually_closed(remote_folder)
        client.copy_remote_file(source, path, sftp=sftp, atomic=atomic)
    assert path.read_bytes() == content(SIZE)


def test_no_room_here_and_resume(
    client: BaseSSHClient, tmp_path: Path, remote_folder: Path
) -> None:
    (remote_folder / "original").write_bytes(content(SIZE))
    path = tmp_path / "copy"
    with files_up_to(2 * MEGABYTE + 5), pytest.raises(OSError, match="File too large"):
        client.copy_remote_file(f"{remote_folder}/original", path, resume=True)
    assert content(SIZE).startswith(path.read_bytes())
    progress = Recorder()
    client.copy_remote_file(f"{remote_folder}/original", path, resume=True, progress=progress)
    assert path.read_bytes() == content(SIZE)
    assert progress.done[0] >= MEGABYTE


@pytest.fixture
def limited(
    sshd_with: StartServer, account: Account, remote_folder: Path
) -> Callable[..., OpenSSHServer]:
    """A function that starts a server which may write files of so many bytes only.

    Its second parameter says whether the SFTP server survives trying.
    """

    def start(size: int, survives: bool = True) -> OpenSSHServer:
        trap = "''" if survives else "-"
        script = remote_folder.with_name(f"{remote_folder.name}-limited")
        script.write_text(LIMITED.format(trap=trap, blocks=size // 512, program=sftp_server()))
        account.give(script, 0o644)
        return sshd_with({"Subsystem": f"sftp /bin/sh {script}"})

    return start


@pytest.mark.parametrize("limit", [0, 3 * MEGABYTE])
def test_no_room_over_there(
    connect: Connect,
    limited: Callable[..., OpenSSHServer],
    tmp_path: Path,
    remote_folder: Path,
    limit: int,
) -> None:
    client = connect(limited(limit))
    (tmp_path / "original").write_bytes(content(SIZE))
    path = remote_folder / "copy"
    with client.open_sftp() as sftp:
        for atomic in (False, True):
            with pytest.raises(SFTPFailureError, match="write") as caught:
                client.copy_file(tmp_path / "original", str(path), sftp=sftp, atomic=atomic)
            assert caught.value.host == client.host
            assert caught.value.path is not None
            assert "copy" in caught.value.path
            assert sftp.listdir(remote_folder) == []
        assert copies.open_here(tmp_path) == []
        eventually_closed(remote_folder)


def test_no_room_over_there_and_resume(
    connect: Connect, limited: Callable[..., OpenSSHServer], tmp_path: Path, remote_folder: Path
) -> None:
    (tmp_path / "original").write_bytes(content(SIZE))
    path = remote_folder / "copy"
    with pytest.raises(SFTPFailureError):
        client = connect(limited(2 * MEGABYTE))
        client.copy_file(tmp_path / "original", str(path), resume=True)
    there = path.read_bytes()
    assert content(SIZE).startswith(there)
    progress = Recorder()
    connect().copy_file(tmp_path / "original", str(path), resume=True, progress=progress)
    assert path.read_bytes() == content(SIZE)
    assert progress.done[0] == len(there) >= MEGABYTE


def test_no_room_is_what_the_error_says(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    (tmp_path / "original").write_bytes(content(MEGABYTE))
    client, path = connected(faulty), f"{remote_folder}/copy"
    # Block sizes; blocks in all, free, and for us; files in all, free, and for us; and the rest.
    for room, full in [
        ((4096, 4096, 1000, 50, 0, 100, 9, 9), True),
        ((4096, 4096, 1000, 50, 40, 100, 9, 0), True),
        ((4096, 4096, 1000, 50, 40, 0, 0, 0), False),
        ((4096, 4096, 1000, 50, 40, 100, 9, 9), False),
    ]:
        told = struct.pack(">11Q", *room, 1, 0, 255).hex()
        refused = Fault("WRITE", "refuse", message="Failure")
        faulty.plan(refused, Fault("EXTENDED", "reply", 2, kind=201, body=told))
        with client.open_sftp() as sftp:
            with pytest.raises(SFTPFailureError, match="Could not write") as caught:
                client.copy_file(tmp_path / "original", path, sftp=sftp)
            assert ("no room is left" in str(caught.value)) == full
            assert (caught.value.path, caught.value.host) == (path, client.host)
            assert caught.value.code_name == "SSH_FX_FAILURE"
            assert sftp.listdir(remote_folder) == []


def test_a_full_device(client: BaseSSHClient, way: Way) -> None:
    need_root()
    way.write("original", content(SIZE))
    device = way.target / "full"
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 7))
    if way.is_put:
        way.account.give(device, 0o666)
    error = SFTPFailureError if way.is_put else OSError
    with client.open_sftp() as sftp:
        with pytest.raises(error) as caught:
            way.copy(client, "original", "full", sftp=sftp)
        assert str(device) in str(caught.value)
        assert getattr(caught.value, "host", None) == client.host
        # It is no part of a file: it has to stay.
        sftp.listdir(way.remote)
        assert stat.S_ISCHR(device.stat().st_mode)
        way.assert_nothing_is_open()


def test_what_is_behind_a_link_does_not_look_whole(client: BaseSSHClient, way: Way) -> None:
    way.write("original", content(SIZE))
    way.target_folder("behind")
    (way.target / "link").symlink_to("behind/copy")
    for at in (0, MEGABYTE):
        with pytest.raises(StopError):
            way.copy(client, "original", "link", progress=stop_at(at))
        assert os.listdir(way.target / "behind") == []
        assert (way.target / "link").is_symlink()
    way.copy(client, "original", "link")
    assert (way.target / "behind/copy").read_bytes() == content(SIZE)


# The connection, and the server


@pytest.mark.parametrize("at", [0, 1, 4 * MEGABYTE])
def test_a_connection_that_is_cut(connect: Connect, proxy: CutProxy, way: Way, at: int) -> None:
    client = connect(port=proxy.port, host_key_policy="ignore")
    way.write("original", content(8 * MEGABYTE))
    with pytest.raises(ConnectionLostError) as caught:
        way.copy(client, "original", "copy", progress=once_at(at, proxy.cut))
    assert caught.value.host == client.host
    way.assert_nothing_is_open()
    if not way.is_put:
        assert os.listdir(way.target) == []
    way.copy(client, "original", "copy")
    assert (way.target / "copy").read_bytes() == content(8 * MEGABYTE)


@pytest.mark.parametrize("count", [1, 400, 700, 1000, 2500])
def test_a_connection_that_is_cut_at_a_byte(
    connect: Connect, proxy: CutProxy, way: Way, count: int
) -> None:
    client = connect(port=proxy.port, host_key_policy="ignore")
    way.write("original", content(8 * MEGABYTE))
    # With few bytes this is while the session starts, or in the middle of a packet.
    proxy.cut_after(count if way.is_put or count < 1000 else count**2)
    copying = Task(way.copy, client, "original", "copy")
    copying.start()
    copying.join()
    if copying.exception is not None:
        assert isinstance(copying.exception, ConnectionLostError)
        assert copying.exception.host == client.host
        assert way.is_put or os.listdir(way.target) == []
    else:
        # Before the channel is open, a lost connection is no more than a reason to connect again.
        assert count < 1000
        assert proxy.accepted == 2
        assert (way.target / "copy").read_bytes() == content(8 * MEGABYTE)
    way.assert_nothing_is_open()


@pytest.mark.parametrize("way_to_end", ["end of file", "server process killed"])
def test_a_connection_that_ends(
    connect: Connect, proxy: CutProxy, sshd: OpenSSHServer, way: Way, way_to_end: str
) -> None:
    client = connect(port=proxy.port, host_key_policy="ignore")
    way.write("original", content(SIZE))
    end = proxy.half_close if way_to_end == "end of file" else sshd.kill_connections
    with pytest.raises(ConnectionLostError) as caught:
        way.copy(client, "original", "copy", progress=once_at(MEGABYTE, end))
    assert caught.value.host == client.host
    proxy.cut()
    way.assert_nothing_is_open()
    assert way.is_put or os.listdir(way.target) == []


def test_an_sftp_server_that_is_killed(
    connect: Connect, limited: Callable[..., OpenSSHServer], tmp_path: Path, remote_folder: Path
) -> None:
    # A write that begins below the limit is cut short, and only the next one kills the server: so
    # one ends just there.
    client = connect(limited(BLOCK, False))
    (tmp_path / "original").write_bytes(content(SIZE))
    with pytest.raises(SFTPError, match=r"session with host .* has ended") as caught:
        client.copy_file(tmp_path / "original", f"{remote_folder}/copy")
    assert_remote(caught.value, client, remote_folder / "copy")
    assert caught.value.path == f"{remote_folder}/copy"
    assert copies.open_here(tmp_path) == []
    # The connection stands: a new session can do what the old one could not.
    assert list(client.run_command("echo here").stdout or ()) == ["here"]


@pytest.mark.parametrize("do", ["exit", "half"])
def test_an_sftp_server_that_ends(
    connected: Connected, faulty: FaultySFTPServer, way: Way, do: str
) -> None:
    way.write("original", content(SIZE))
    client = connected(faulty)
    # When a file has been read, it does not matter how it is closed.
    kinds = ["WRITE", "FSETSTAT", "CLOSE"] if way.is_put else ["STAT", "READ", "FSTAT"]
    for kind in ["OPEN", *kinds]:
        faulty.plan(Fault(kind, do, 7 if kind in ("READ", "WRITE") else 1))
        with pytest.raises(SFTPError, match=r"has ended|closed|in the middle") as caught:
            way.copy(client, "original", f"copy {kind}")
        assert caught.value.host == client.host
        assert way.is_put or os.listdir(way.target) == []
    way.assert_nothing_is_open()
    faulty.plan()
    way.copy(client, "original", "copy OPEN")
    assert (way.target / "copy OPEN").read_bytes() == content(SIZE)


# A server that does not answer


def test_copies_that_are_not_answered(
    connected: Connected, faulty: FaultySFTPServer, way: Way
) -> None:
    way.write("original", content(SIZE))
    client = connected(faulty)
    faults = (
        [("OPEN", 1), ("WRITE", 1), ("WRITE", 9), ("FSETSTAT", 1), ("CLOSE", 1)]
        if way.is_put
        else [("STAT", 1), ("OPEN", 1), ("READ", 1), ("READ", 9), ("FSTAT", 1)]
    )
    for kind, number in faults:
        faulty.plan(Fault(kind, "ignore", number))
        with impatient(client) as sftp, pytest.raises(Timeout, match=r"0\.2 seconds") as caught:
            way.copy(client, "original", "copy", sftp=sftp)
        assert caught.value.host == client.host
        assert caught.value.step
        assert "SFTP" in caught.value.step
        assert caught.value.path == str(way.remote / ("copy" if way.is_put else "original"))
        assert caught.value.path in str(caught.value)
        if "send" not in caught.value.step:
            way.eventually_only()
        elif way.is_put:
            # Half a request ends the session, on a busy machine: nobody can remove the part then.
            (way.target / "copy").unlink(missing_ok=True)
    way.assert_nothing_is_open()


def test_other_requests_that_are_not_answered(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/deep/file").write_bytes(b"content")
    client = connected(faulty)
    for kind in ("MKDIR", "READDIR", "RENAME", "SETSTAT"):
        without = Fault("INIT", "extensions", without=["posix-rename@openssh.com"])
        faulty.plan(without, Fault(kind, "ignore"))
        with impatient(client) as sftp, pytest.raises(Timeout) as caught:
            if kind == "READDIR":
                client.copy_remote_file(str(remote_folder), tmp_path / "b", True, sftp)
            else:
                target = f"{remote_folder}/new {kind}"
                client.copy_file(tmp_path / "tree", target, True, sftp, atomic=True)
        assert caught.value.host == client.host
    assert copies.open_here(tmp_path) == []
    eventually_closed(remote_folder)


def test_a_session_that_does_not_start(
    connect: Connect, faulty: FaultySFTPServer, way: Way
) -> None:
    way.write("original")
    faulty.plan(Fault("INIT", "stop"))
    client = connect(faulty)
    client.config.timeout = 1
    with pytest.raises(Timeout, match="SFTP") as caught:
        way.copy(client, "original", "copy")
    assert caught.value.host == client.host
    assert os.listdir(way.target) == []


def test_a_server_that_reads_no_more(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    (tmp_path / "original").write_bytes(content(8 * MEGABYTE))
    faulty.plan(Fault("WRITE", "stop", 3))
    client = connected(faulty)
    with impatient(client) as sftp, pytest.raises(Timeout) as caught:
        client.copy_file(tmp_path / "original", f"{remote_folder}/copy", sftp=sftp)
    assert caught.value.host == client.host
    assert copies.open_here(tmp_path) == []
    # What is left of the session does not hold up the others of the connection.
    assert list(client.run_command("echo here").stdout or ()) == ["here"]


# A source that changes while it is read


def cut_off(path: Path) -> None:
    os.truncate(path, 1000)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")


@pytest.mark.parametrize("change", [cut_off, grow, rewrite])
def test_a_source_that_changes(
    client: BaseSSHClient, way: Way, change: Callable[[Path], None]
) -> None:
    remote_path = way.remote / ("copy" if way.is_put else "original")
    with client.open_sftp() as sftp:
        for at in (0, MEGABYTE):
            path = way.write("original", content(10 * MEGABYTE))
            os.utime(path, (1_000_000_000, 1_000_000_000))
            progress = once_at(at, functools.partial(change, path))
            with pytest.raises(SFTPError, match=r"changed|became shorter") as caught:
                way.copy(client, "original", "copy", sftp=sftp, progress=progress)
            assert_remote(caught.value, client, remote_path)
            assert str(path) in str(caught.value)
            way.eventually_only()
        way.assert_nothing_is_open()


def replace(path: Path) -> None:
    path.with_name("other").write_bytes(b"other")
    path.with_name("other").rename(path)


def test_a_source_that_is_replaced_or_removed(client: BaseSSHClient, way: Way) -> None:
    for change in (replace, Path.unlink):
        path = way.write("original", content(10 * MEGABYTE))
        progress = once_at(MEGABYTE, functools.partial(change, path))
        way.copy(client, "original", "copy", progress=progress)
        # What was opened stays there until it is closed.
        assert (way.target / "copy").read_bytes() == content(10 * MEGABYTE)
    way.assert_nothing_is_open()


def test_a_source_that_vanishes_before_it_is_opened(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    path = remote_folder / "original"
    path.write_bytes(b"content")
    faulty.plan(Fault("OPEN", "run", command=f"rm -f {path}"))
    client = connected(faulty)
    with pytest.raises(SFTPNoSuchFileError) as caught:
        client.copy_remote_file(str(path), tmp_path / "copy")
    assert_remote(caught.value, client, path)
    assert os.listdir(tmp_path) == []


def test_a_target_that_somebody_else_removes(client: BaseSSHClient, way: Way) -> None:
    way.write("original", content(SIZE))
    path = way.target / "copy"
    with contextlib.suppress(SFTPError, OSError):
        way.copy(client, "original", "copy", progress=once_at(MEGABYTE, path.unlink))
    way.assert_nothing_is_open()
    way.copy(client, "original", "copy")
    assert path.read_bytes() == content(SIZE)


# Requests that are refused


def test_puts_that_are_refused(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    (tmp_path / "original").write_bytes(content(SIZE))
    client, path = connected(faulty), remote_folder / "copy"
    for kind, number, words in [
        ("OPEN", 1, "open"),
        ("WRITE", 1, "write"),
        ("WRITE", 20, "write"),
        ("FSETSTAT", 1, "set the attributes of"),
        ("CLOSE", 1, "close"),
        ("EXTENDED", 2, "rename"),
    ]:
        faulty.plan(Fault(kind, "refuse", number, message="it is Monday"))
        atomic = kind == "EXTENDED"
        with client.open_sftp() as sftp:
            with pytest.raises(SFTPFailureError, match=f"not {words}.*it is Monday") as caught:
                client.copy_file(tmp_path / "original", str(path), sftp=sftp, atomic=atomic)
            assert caught.value.host == client.host
            assert caught.value.code_name == "SSH_FX_FAILURE"
            assert atomic or caught.value.path == str(path)
            assert sftp.listdir(remote_folder) == []
            if kind != "CLOSE":  # which the real server has never heard of
                eventually_closed(remote_folder)
    assert copies.open_here(tmp_path) == []


def test_gets_that_are_refused(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    path = remote_folder / "original"
    path.write_bytes(content(SIZE))
    client = connected(faulty)
    for kind, number, words in [
        ("STAT", 1, "look at"),
        ("OPEN", 1, "open"),
        ("READ", 1, "read"),
        ("READ", 20, "read"),
        ("FSTAT", 1, "look at"),
    ]:
        faulty.plan(Fault(kind, "refuse", number, message="it is Monday"))
        with client.open_sftp() as sftp:
            with pytest.raises(SFTPFailureError, match=f"not {words}.*it is Monday") as caught:
                client.copy_remote_file(str(path), tmp_path / "copy", sftp=sftp)
            assert_remote(caught.value, client, path)
            assert os.listdir(tmp_path) == []
            eventually_closed(remote_folder)
    assert copies.open_here(tmp_path) == []


def test_a_mode_that_is_refused(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    (tmp_path / "original").write_bytes(b"content")
    faulty.plan(Fault("FSETSTAT", "refuse", last=None, code=3))
    client = connected(faulty)
    # Somebody else's file that may be written: its mode cannot be set, its content can.
    client.copy_file(tmp_path / "original", f"{remote_folder}/copy")
    assert (remote_folder / "copy").read_bytes() == b"content"
    with pytest.raises(SFTPPermissionDeniedError):
        client.copy_file(tmp_path / "original", f"{remote_folder}/copy", preserve_times=True)


# Several at a time


def test_one_of_several_fails(client: BaseSSHClient, way: Way) -> None:
    for number in range(5):
        way.write(f"original {number}", content(MEGABYTE + number))
    with client.open_sftp() as sftp:
        working = [
            gevent.spawn(way.copy, client, f"original {number}", f"copy {number}", sftp=sftp)
            for number in range(7)
        ]
        gevent.joinall(working)
    for number in range(5):
        working[number].get()
        assert (way.target / f"copy {number}").read_bytes() == content(MEGABYTE + number)
    for number in (5, 6):
        error = working[number].exception
        assert isinstance(error, FileNotFoundError | SFTPNoSuchFileError)
        assert f"original {number}" in str(error)


def test_one_of_several_is_killed_while_it_sends(
    connect: Connect,
    proxy: CutProxy,
    tmp_path: Path,
    remote_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sending: list[gevent.Greenlet] = []
    submit = SFTPSession.submit

    def noted(session: SFTPSession, *args: Any) -> None:
        sending.append(gevent.getcurrent())
        try:
            submit(session, *args)
        finally:
            sending.remove(gevent.getcurrent())

    monkeypatch.setattr(SFTPSession, "submit", noted)
    # As for a server that is far away: more than fits into all buffers on the way.
    monkeypatch.setattr(SFTPSession, "writes_max", 8 * MEGABYTE)
    client = connect(port=proxy.port, host_key_policy="ignore")
    (tmp_path / "original").write_bytes(content(8 * MEGABYTE))
    stalled = Event()

    def hold() -> None:
        proxy.stall()
        stalled.set()

    stall = once_at(MEGABYTE, hold)
    begun: list[str] = []
    both_have_begun = Event()

    def progress(host: str, path: str, done: int, total: int) -> None:
        if not done:
            begun.append(path)
            if len(begun) == 2:
                both_have_begun.set()
            both_have_begun.wait()
        stall(host, path, done, total)

    with client.open_sftp() as sftp:
        working = {
            name: gevent.spawn(
                client.copy_file,
                tmp_path / "original",
                f"{remote_folder}/{name}",
                sftp=sftp,
                progress=progress,
            )
            for name in ("a", "b")
        }
        stalled.wait()
        eventually(lambda: len(sending) == 2, "both to wait until they can go on sending")
        killed = sending[0]
        killed.kill(block=False)
        proxy.resume()
        gevent.joinall(list(working.values()))
        # What was begun of a request is sent to its end: the other one goes on behind it.
        (name,) = (name for name in working if working[name] is not killed)
        working[name].get()
        assert (remote_folder / name).read_bytes() == content(8 * MEGABYTE)
        assert sftp.listdir(remote_folder) == [name]
