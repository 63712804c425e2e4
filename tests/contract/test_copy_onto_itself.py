"""Copies to and from the machine itself: what would be copied onto itself stays as it is."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pssh.clients.base.files import same_file
from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import SCPError, SFTPError
from pssh.sftp.attributes import Attributes
from tests.contract import copies
from tests.contract.copies import MEGABYTE, Recorder, content, content_below
from tests.servers.account import Account

connected, client, kept_clients = copies.connected, copies.client, copies.kept_clients

FUNCTIONS = ["copy_file", "copy_remote_file", "scp_send", "scp_recv"]


@pytest.fixture
def original(remote_folder: Path, account: Account) -> Path:
    """A file that the account may write, in the folder where the host finds it too."""
    path = remote_folder / "original"
    path.write_bytes(content(3 * MEGABYTE))
    return account.give(path, 0o644)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_file(
    client: BaseSSHClient, original: Path, account: Account, function: str, caplog: Any
) -> None:
    copy = getattr(client, function)
    link = original.with_name("link")
    link.symlink_to("original")
    names: list[tuple[object, object]] = [(original, original), (original, link), (link, original)]
    if function in ("copy_file", "scp_send"):
        names.append((original, os.path.relpath(original, account.home)))
        names.append((original, f"{original.parent}/"))
    else:
        names.append((os.path.relpath(original, account.home), original))
        names.append((original, f"{original.parent}/"))
    for source, target in names:
        for options in ({}, {"atomic": True}, {"resume": True}):
            progress = Recorder()
            copy(source, target, progress=progress, **options)
            assert progress.calls[-1][2:] == (3 * MEGABYTE, 3 * MEGABYTE)
            assert original.read_bytes() == content(3 * MEGABYTE)
            assert "is the original itself" in caplog.messages[-1]
    assert link.is_symlink()
    assert sorted(os.listdir(original.parent)) == ["link", "original"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_directory(client: BaseSSHClient, original: Path, function: str) -> None:
    copy = getattr(client, function)
    with pytest.raises(ValueError, match="recurse"):
        copy(str(original.parent), str(original.parent))
    copy(str(original.parent), f"{original.parent}/", recurse=True)
    assert content_below(original.parent) == {"original": content(3 * MEGABYTE)}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_directory_into_itself(client: BaseSSHClient, original: Path, function: str) -> None:
    copy = getattr(client, function)
    with pytest.raises((SFTPError, SCPError), match="cannot be copied into itself") as caught:
        copy(original.parent, original.parent / "below/it", recurse=True)
    assert caught.value.host == client.host
    assert os.listdir(original.parent) == ["original"]
    beside = original.parent.with_name(f"{original.parent.name} beside")
    beside.mkdir()
    beside.chmod(0o777)
    copy(original.parent, beside / "copy", recurse=True)
    assert content_below(beside / "copy") == {"original": content(3 * MEGABYTE)}


def test_what_only_seems_to_be_the_same(
    client: BaseSSHClient, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the host were somewhere else, behind a tunnel.
    monkeypatch.setattr(same_file, "is_told_by", lambda *_: False)
    with pytest.raises(SFTPError):
        client.copy_file(original, original)


def status(**changes: int) -> os.stat_result:
    """What is known of a file here."""
    values = {"mode": 0o100644, "ino": 1, "dev": 1, "links": 1, "uid": 5, "gid": 6, "size": 7}
    values.update({"atime": 8, "mtime": 9, "ctime": 10}, **changes)
    return os.stat_result(list(values.values()), {"st_mtime_ns": values["mtime"] * 10**9})


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda told: told, True),
        (lambda told: told._replace(uid=None, gid=None), True),
        (lambda told: told._replace(size=8), False),
        (lambda told: told._replace(size=None), False),
        (lambda told: told._replace(mtime=10), False),
        (lambda told: told._replace(permissions=0o100600), False),
        (lambda told: told._replace(uid=0), False),
    ],
)
def test_what_a_server_tells(change: Callable[[Attributes], Attributes], same: bool) -> None:
    told = Attributes(size=7, uid=5, gid=6, permissions=0o100644, atime=8, mtime=9)
    assert same_file._matches(change(told), status()) is same


def test_which_hosts_are_this_machine() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not same_file._is_this_machine(ours)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as other:
        assert not same_file._is_this_machine(other)
        other.connect(server.getsockname())
        assert same_file._is_this_machine(other)
