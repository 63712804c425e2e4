"""Copies over SFTP that go on where an earlier one has ended."""

from __future__ import annotations

import os
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from pssh.clients.base.files.session import SFTPSession
from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import ConnectionLostError, SFTPError, Timeout
from tests.contract import copies
from tests.contract.conftest import SERVERS, Connect
from tests.contract.copies import (
    KILOBYTE,
    LARGE_REQUEST,
    MEGABYTE,
    Connected,
    Recorder,
    StopError,
    Way,
    content,
    content_below,
    impatient,
    mode_of,
    once_at,
    stop_at,
)
from tests.servers.account import Account
from tests.servers.cut_proxy import CutProxy
from tests.servers.faulty_sftp import Fault, FaultySFTPServer
from tests.servers.server import Server

connected, client, way = copies.connected, copies.client, copies.way
kept_clients = copies.kept_clients
faulty = copies.faulty

SIZE = 5 * MEGABYTE


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Server:
    """Each kind of server in turn."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Server)
    return found


# What is there already


def test_only_the_rest_is_copied(connected: Connected, server: Server, way: Way) -> None:
    way.write("original", content(SIZE), 0o640)
    client = connected(server)
    with client.open_sftp() as sftp:
        for there in (1, 32 * KILOBYTE, MEGABYTE, MEGABYTE + 1, SIZE - 1, SIZE):
            # Other bytes than the original's: nobody looks at them.
            way.write_target("copy", bytes(there))
            progress = Recorder()
            way.copy(client, "original", "copy", sftp=sftp, resume=True, progress=progress)
            assert progress.calls[0][2:] == (there, SIZE)
            assert progress.calls[-1][2:] == (SIZE, SIZE)
            wanted = bytes(there) + content(SIZE)[there:]
            assert (way.target / "copy").read_bytes() == wanted, there
            assert mode_of(way.target / "copy") == 0o640


def test_nothing_is_there(client: BaseSSHClient, way: Way) -> None:
    way.write("original", content(SIZE), 0o600)
    for name in ("new", "empty", "a/new"):
        if name == "empty":
            way.write_target(name, b"")
        progress = Recorder()
        way.copy(client, "original", name, resume=True, progress=progress)
        assert progress.done[0] == 0
        assert (way.target / name).read_bytes() == content(SIZE)
        assert mode_of(way.target / name) == 0o600


def test_more_is_there_than_in_the_original(connected: Connected, server: Server, way: Way) -> None:
    client = connected(server)
    with client.open_sftp() as sftp:
        for size in (0, 1, MEGABYTE):
            way.write("original", content(size))
            way.write_target("copy", bytes(size + 1))
            progress = Recorder()
            way.copy(client, "original", "copy", sftp=sftp, resume=True, progress=progress)
            assert (way.target / "copy").read_bytes() == content(size)
            assert progress.done[0] == 0


def test_a_tree(client: BaseSSHClient, way: Way) -> None:
    for number in range(20):
        way.write(f"deep/{number}", content(1000 + number))
        way.write_target(f"tree/deep/{number}", content(1000 + number)[: 100 * number])
    progress = Recorder()
    way.copy(client, "", "tree", recurse=True, resume=True, progress=progress)
    assert content_below(way.target / "tree") == content_below(way.source)
    firsts = {path: done for _, path, done, _ in reversed(progress.calls)}
    there = (min(100 * number, 1000 + number) for number in range(20))
    assert sorted(firsts.values()) == sorted(there)


# What a failure leaves


def assert_the_rest_completes_it(client: BaseSSHClient, way: Way, least: int) -> None:
    """Check what an earlier copy has left, and that a further one completes it."""
    path = way.target / "copy"
    there = path.read_bytes()
    assert least <= len(there) <= SIZE
    assert content(SIZE).startswith(there)
    progress = Recorder()
    way.copy(client, "original", "copy", resume=True, progress=progress)
    assert progress.done[0] == len(there)
    assert path.read_bytes() == content(SIZE)
    assert os.listdir(way.target) == ["copy"]


@pytest.mark.parametrize("mode", [0o644, 0o444])
def test_after_an_error_in_the_progress_function(
    client: BaseSSHClient, way: Way, mode: int
) -> None:
    way.write("original", content(SIZE), mode)
    with pytest.raises(StopError):
        way.copy(client, "original", "copy", resume=True, progress=stop_at(MEGABYTE))
    way.assert_nothing_is_open()
    assert_the_rest_completes_it(client, way, MEGABYTE)
    assert mode_of(way.target / "copy") == mode


def test_a_part_of_a_file_that_is_only_for_reading(
    client: BaseSSHClient, remote_folder: Path, account: Account
) -> None:
    (remote_folder / "original").write_bytes(content(SIZE))
    (remote_folder / "original").chmod(0o444)
    source, copy = str(remote_folder / "original"), remote_folder / "copy"
    with copies.acting_as(account):
        with pytest.raises(StopError):
            client.copy_remote_file(source, copy, resume=True, progress=stop_at(MEGABYTE))
        client.copy_remote_file(source, copy, resume=True)
    assert copy.read_bytes() == content(SIZE)
    assert mode_of(copy) == 0o444


@pytest.mark.parametrize("at", [1, MEGABYTE, 3 * MEGABYTE])
def test_after_a_lost_connection(
    connect: Connect, proxy: CutProxy, way: Way, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise all of it may be on its way, and be there, before anybody is told of this much.
    monkeypatch.setattr(SFTPSession, "writes_max", LARGE_REQUEST)
    client = connect(port=proxy.port, host_key_policy="ignore")
    way.write("original", content(SIZE))
    with pytest.raises(ConnectionLostError):
        way.copy(client, "original", "copy", resume=True, progress=once_at(at, proxy.cut))
    way.assert_nothing_is_open()
    assert_the_rest_completes_it(client, way, 1)


def test_only_the_rest_crosses_the_network(
    connect: Connect, proxy: CutProxy, tmp_path: Path, remote_folder: Path
) -> None:
    client = connect(port=proxy.port, host_key_policy="ignore")
    (remote_folder / "original").write_bytes(content(SIZE))
    (tmp_path / "copy").write_bytes(content(SIZE)[: -100 * KILOBYTE])
    # Starting SFTP and asking takes some bytes; what is there already would be megabytes.
    proxy.cut_after(200 * KILOBYTE)
    client.copy_remote_file(str(remote_folder / "original"), tmp_path / "copy", resume=True)
    assert (tmp_path / "copy").read_bytes() == content(SIZE)


def test_after_a_server_that_stops_answering(
    connected: Connected, faulty: FaultySFTPServer, way: Way
) -> None:
    client = connected(faulty)
    way.write("original", content(SIZE))
    faulty.plan(Fault("WRITE" if way.is_put else "READ", "ignore", 9, None))
    with impatient(client) as sftp, pytest.raises(Timeout):
        way.copy(client, "original", "copy", sftp=sftp, resume=True)
    way.assert_nothing_is_open()
    faulty.plan()
    assert_the_rest_completes_it(client, way, 100 * KILOBYTE)


def test_after_a_killed_greenlet(client: BaseSSHClient, way: Way) -> None:
    way.write("original", content(SIZE))
    reached = Event()

    def wait() -> None:
        reached.set()
        Event().wait()

    copying = gevent.spawn(
        way.copy, client, "original", "copy", resume=True, progress=once_at(MEGABYTE, wait)
    )
    reached.wait()
    copying.kill()
    way.assert_nothing_is_open()
    assert_the_rest_completes_it(client, way, MEGABYTE)


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(
            [Fault("READ", "data", 3, at_most=1000), Fault("READ", "exit", 14)], id="short"
        ),
        pytest.param([Fault("READ", "hold", 3, replies=50), Fault("READ", "exit", 14)], id="late"),
        pytest.param([Fault("READ", "refuse", 6, message="a bad sector")], id="unreadable"),
        pytest.param([Fault("READ", "ignore", 6)], id="unanswered"),
    ],
)
def test_a_gap_is_no_part_of_a_copy_from_the_server(
    connected: Connected,
    faulty: FaultySFTPServer,
    tmp_path: Path,
    remote_folder: Path,
    faults: list[Fault],
) -> None:
    client = connected(faulty)
    (remote_folder / "original").write_bytes(content(SIZE))
    faulty.plan(*faults)
    with impatient(client, 0.5) as sftp, pytest.raises((SFTPError, Timeout)):
        client.copy_remote_file(
            f"{remote_folder}/original", tmp_path / "copy", sftp=sftp, resume=True
        )
    faulty.plan()
    client.copy_remote_file(f"{remote_folder}/original", tmp_path / "copy", resume=True)
    assert (tmp_path / "copy").read_bytes() == content(SIZE)


def test_a_gap_is_no_part_of_a_copy_to_the_server(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    client = connected(faulty)
    (tmp_path / "original").write_bytes(content(SIZE))
    faulty.plan(Fault("WRITE", "refuse", 6, message="a bad sector"))
    with pytest.raises(SFTPError, match="a bad sector"):
        client.copy_file(tmp_path / "original", f"{remote_folder}/copy", resume=True)
    faulty.plan()
    client.copy_file(tmp_path / "original", f"{remote_folder}/copy", resume=True)
    assert (remote_folder / "copy").read_bytes() == content(SIZE)


def test_an_end_that_the_server_does_not_tell(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    client = connected(faulty)
    (tmp_path / "original").write_bytes(content(MEGABYTE))
    (remote_folder / "copy").write_bytes(content(2 * MEGABYTE))
    (remote_folder / "copy").chmod(0o666)
    faulty.plan(Fault("STAT", "refuse"))
    with client.open_sftp() as sftp:
        client.copy_file(tmp_path / "original", f"{remote_folder}/copy", sftp=sftp, resume=True)
    assert (remote_folder / "copy").read_bytes() == content(MEGABYTE)


# Without resume


def test_without_it_no_part_stays(client: BaseSSHClient, way: Way) -> None:
    way.write("original", content(SIZE))
    for name in ("new", "existing"):
        if name == "existing":
            way.write_target(name)
        with pytest.raises(StopError):
            way.copy(client, "original", name, progress=stop_at(MEGABYTE))
        way.eventually_only()


def test_without_it_no_part_stays_here_when_the_connection_is_lost(
    connect: Connect, proxy: CutProxy, tmp_path: Path, remote_folder: Path
) -> None:
    client = connect(port=proxy.port, host_key_policy="ignore")
    (remote_folder / "original").write_bytes(content(SIZE))
    with pytest.raises(ConnectionLostError):
        client.copy_remote_file(
            f"{remote_folder}/original",
            tmp_path / "copy",
            progress=once_at(MEGABYTE, proxy.cut),
        )
    assert os.listdir(tmp_path) == []
