"""Atomic copies over SFTP: the old file stays until the new one is whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import ConnectionLostError, SFTPError, SFTPFailureError
from tests.contract import copies
from tests.contract.conftest import SERVERS, Connect
from tests.contract.copies import (
    MEGABYTE,
    Connected,
    Recorder,
    StopError,
    Way,
    content,
    content_below,
    mode_of,
    once_at,
    stop_at,
)
from tests.servers.cut_proxy import CutProxy
from tests.servers.faulty_sftp import Fault, FaultySFTPServer
from tests.servers.server import Server

connected, client, way = copies.connected, copies.client, copies.way
kept_clients = copies.kept_clients
faulty = copies.faulty

SIZE = 5 * MEGABYTE

NO_POSIX_RENAME = Fault("INIT", "extensions", without=["posix-rename@openssh.com"])


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Server:
    """Each kind of server in turn."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Server)
    return found


def test_a_new_file(connected: Connected, server: Server, way: Way) -> None:
    way.write("original", content(SIZE), 0o640)
    os.utime(way.source / "original", (1_000_000_000, 1_234_567_890))
    there: list[bool] = []
    progress = Recorder(lambda done: there.append((way.target / "a/copy").exists()))
    way.copy(
        connected(server), "original", "a/copy", atomic=True, preserve_times=True, progress=progress
    )
    # What is done last is the renaming.
    assert not any(there)
    assert (way.target / "a/copy").read_bytes() == content(SIZE)
    assert mode_of(way.target / "a/copy") == 0o640
    assert (way.target / "a/copy").stat().st_mtime == 1_234_567_890
    assert os.listdir(way.target / "a") == ["copy"]


def test_an_old_file_stays_until_then(connected: Connected, server: Server, way: Way) -> None:
    way.write("original", content(SIZE))
    old = way.write_target("copy")
    found: set[bytes] = set()
    others: set[int] = set()

    def look(done: int) -> None:
        found.add(old.read_bytes())
        others.add(len(os.listdir(way.target)))

    way.copy(connected(server), "original", "copy", atomic=True, progress=Recorder(look))
    assert found == {b"old content"}
    assert others == {2}
    assert old.read_bytes() == content(SIZE)
    assert os.listdir(way.target) == ["copy"]


def test_somebody_who_has_the_old_file_open_keeps_it(client: BaseSSHClient, way: Way) -> None:
    way.write("original", content(SIZE))
    with way.write_target("copy").open("rb") as reader:
        way.copy(client, "original", "copy", atomic=True)
        assert reader.read() == b"old content"


@pytest.mark.parametrize("at", [0, MEGABYTE, SIZE])
def test_a_failure_changes_nothing(client: BaseSSHClient, way: Way, at: int) -> None:
    way.write("original", content(SIZE))
    old = way.write_target("copy")
    with pytest.raises(StopError):
        way.copy(client, "original", "copy", atomic=True, progress=stop_at(at))
    way.eventually_only("copy")
    assert old.read_bytes() == b"old content"
    way.assert_nothing_is_open()


@pytest.mark.parametrize("existing", [True, False])
def test_a_lost_connection(connect: Connect, proxy: CutProxy, way: Way, existing: bool) -> None:
    client = connect(port=proxy.port, host_key_policy="ignore")
    way.write("original", content(SIZE))
    if existing:
        way.write_target("copy")
    with pytest.raises(ConnectionLostError):
        way.copy(client, "original", "copy", atomic=True, progress=once_at(MEGABYTE, proxy.cut))
    left = os.listdir(way.target)
    assert ("copy" in left) == existing
    assert not existing or (way.target / "copy").read_bytes() == b"old content"
    # Nobody is left who could remove it over there.
    assert len(left) <= existing + way.is_put
    way.assert_nothing_is_open()


def test_a_source_that_changes(client: BaseSSHClient, way: Way) -> None:
    path = way.write("original", content(SIZE))
    old = way.write_target("copy")
    progress = once_at(MEGABYTE, lambda: path.write_bytes(b"other content"))
    with pytest.raises(SFTPError, match=r"changed|shorter"):
        way.copy(client, "original", "copy", atomic=True, progress=progress)
    way.eventually_only("copy")
    assert old.read_bytes() == b"old content"


def test_a_tree(client: BaseSSHClient, way: Way) -> None:
    for number in range(30):
        way.write(f"deep/{number}", content(1000 + number), 0o600)
        way.write_target(f"tree/deep/{number}")
    way.copy(client, "", "tree", recurse=True, atomic=True)
    assert content_below(way.target / "tree") == content_below(way.source)


def test_in_the_directory_where_the_session_begins(
    client: BaseSSHClient, tmp_path: Path, remote_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "original").write_bytes(b"content")
    name = f"copy-{remote_folder.name}"
    client.copy_file("original", name, atomic=True)
    try:
        client.copy_remote_file(name, "back", atomic=True)
    finally:
        with client.open_sftp() as sftp:
            sftp.remove(name)
    assert sorted(os.listdir(tmp_path)) == ["back", "original"]
    assert (tmp_path / "back").read_bytes() == b"content"


# Servers that cannot replace a file


def test_a_new_file_without_posix_rename(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    faulty.plan(NO_POSIX_RENAME)
    (tmp_path / "original").write_bytes(content(SIZE))
    connected(faulty).copy_file(tmp_path / "original", f"{remote_folder}/copy", atomic=True)
    assert (remote_folder / "copy").read_bytes() == content(SIZE)
    assert os.listdir(remote_folder) == ["copy"]


def test_an_old_file_without_posix_rename(
    connected: Connected, faulty: FaultySFTPServer, tmp_path: Path, remote_folder: Path
) -> None:
    faulty.plan(NO_POSIX_RENAME)
    (tmp_path / "original").write_bytes(content(SIZE))
    old = remote_folder / "copy"
    old.write_bytes(b"old content")
    client = connected(faulty)
    with client.open_sftp() as sftp:
        with pytest.raises(SFTPFailureError, match="rename") as caught:
            client.copy_file(tmp_path / "original", str(old), sftp=sftp, atomic=True)
        assert str(old) in str(caught.value)
        assert caught.value.host == client.host
        assert sftp.listdir(remote_folder) == ["copy"]
    assert old.read_bytes() == b"old content"
