"""What the tests of copies over SCP do again and again."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pssh.clients.base.files import scp
from pssh.clients.base.files.options import CopyOptions
from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import PSSHError, SCPError
from tests.servers.account import Account

MIB = 1024 * 1024

LARGE = bytes(range(251)) * 12_501 + b"!"

#: Each of them leaves something else of a copy that fails.
OPTIONS: list[dict[str, Any]] = [{}, {"atomic": True}, {"resume": True}]


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A local folder."""
    folder = tmp_path / "local"
    folder.mkdir()
    return folder


@pytest.fixture
def remote(remote_folder: Path) -> Path:
    """A folder of the account's, which the clients log in as."""
    return remote_folder


@pytest.fixture(autouse=True)
def nothing_stays_open(tmp_path: Path) -> Iterator[None]:
    """No local file is open after a test."""
    yield
    assert open_files(tmp_path) == []


def send(
    client: BaseSSHClient, local: object, remote: object, recurse: bool = False, **options: Any
) -> None:
    """Send; paths may be path objects here."""
    scp.send(client, str(local), str(remote), recurse, CopyOptions(**options))


def receive(
    client: BaseSSHClient,
    remote: object,
    local: object,
    recurse: bool = False,
    encoding: str = "utf-8",
    **options: Any,
) -> None:
    """Fetch; paths may be path objects here."""
    scp.receive(client, str(remote), str(local), recurse, encoding, CopyOptions(**options))


def write(path: Path, content: bytes = b"x", mode: int = 0o644) -> Path:
    """Make a file."""
    path.write_bytes(content)
    path.chmod(mode)
    return path


def give(account: Account, path: Path, mode: int | None = None) -> Path:
    """Let the account have a file or folder."""
    return account.give(path, stat.S_IMODE(path.stat().st_mode) if mode is None else mode)


def give_all(account: Account, folder: Path) -> Path:
    """Let the account have a folder and all that is in it."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if account.temporary:
                os.lchown(Path(parent) / name, account.uid, account.gid)
    return give(account, folder)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def tree(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    """The path of everything below a folder, with its mode, and what is in files."""
    found: dict[str, tuple[int, bytes | None]] = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent) / name
            content = path.read_bytes() if path.is_file() else None
            found[str(path.relative_to(folder))] = (mode_of(path), content)
    return found


def names(folder: Path) -> list[str]:
    """Everything below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def open_files(folder: Path) -> list[str]:
    """The files in a folder that this process has open."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            path = os.readlink(descriptor)
            if path.startswith(f"{folder}/"):
                found.append(path)
    return found


def check_error(error: BaseException, client: BaseSSHClient, path: object) -> str:
    """Check what every error of a copy has, and return what it says."""
    assert isinstance(error, (PSSHError, OSError))
    assert getattr(error, "host", None) == client.host
    assert getattr(error, "port", None) == client.port
    assert getattr(error, "path", None) == str(path)
    assert "None" not in str(error)
    if isinstance(error, SCPError):
        assert f"{client.host}:{client.port}" in str(error)
    return str(error)


@contextlib.contextmanager
def as_account(account: Account) -> Iterator[None]:
    """Do local things as the account: nothing is forbidden to root."""
    if not account.temporary:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
