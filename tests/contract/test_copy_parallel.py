"""Copies over SFTP to and from many hosts at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from pssh.clients.base.files import page_cache
from pssh.clients.base.files.page_cache import Block
from pssh.clients.base.files.source import BLOCK, Source
from pssh.clients.base.files.target import Target
from pssh.config import HostConfig
from pssh.exceptions import (
    ConnectionLostError,
    HostArgumentError,
    SFTPError,
    SFTPFailureError,
    SFTPNoSuchFileError,
    UnknownHostError,
)
from tests.contract import copies
from tests.contract.conftest import ConnectAll
from tests.contract.copies import MEGABYTE, Recorder, Way, content, content_below, mode_of, once_at
from tests.contract.outputs import eventually
from tests.servers.account import Account
from tests.servers.cut_proxy import CutProxy
from tests.servers.openssh import OpenSSHServer

way = copies.way

#: The same server under two names.
HOSTS = ["127.0.0.1", "localhost"]


class Reads:
    """Counts, and may hold up, what is read of local files.

    :ivar wanted: how often a block has been asked for.
    :ivar offsets: where each read began.
    :ivar hold: reads go on while it is set.
    :ivar error: what they fail with.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.wanted = 0
        self.offsets: list[int] = []
        self.hold = threading.Event()
        self.hold.set()
        self.error: OSError | None = None
        self._pread = os.pread
        patch.setattr(os, "pread", self._read)
        block = Source.block

        def counted(source: Source, number: int) -> Block:
            self.wanted += 1
            return block(source, number)

        patch.setattr(Source, "block", counted)

    def _read(self, descriptor: int, size: int, offset: int) -> bytes:
        self.offsets.append(offset)
        self.hold.wait(20)
        if self.error is not None:
            raise self.error
        return self._pread(descriptor, size, offset)


@pytest.fixture
def reads(slow_disk: None, monkeypatch: pytest.MonkeyPatch) -> Reads:
    """What is read of local files."""
    return Reads(monkeypatch)


def aliases(*names: str) -> list[HostConfig]:
    """Settings that give the hosts names of their own."""
    return [HostConfig(alias=name) for name in names]


def get_all(tasks: list[Any]) -> None:
    """Wait for all, and raise the first one's error."""
    for task in tasks:
        task.get()


# To many hosts


def test_copy_file(connect_all: ConnectAll, tmp_path: Path, remote_folder: Path) -> None:
    (tmp_path / "original").write_bytes(content(MEGABYTE))
    (tmp_path / "original").chmod(0o640)
    client = connect_all(HOSTS)
    tasks = client.copy_file(tmp_path / "original", f"{remote_folder}/a/copy")
    assert len(tasks) == 2
    # It returns at once: nothing can have happened without this greenlet's leave.
    assert not any(task.ready() for task in tasks)
    assert set(gevent.joinall(tasks, raise_error=True)) == set(tasks)
    assert [task.get() for task in tasks] == [None, None]
    assert (remote_folder / "a/copy").read_bytes() == content(MEGABYTE)
    assert mode_of(remote_folder / "a/copy") == 0o640


def test_copy_file_with_arguments(
    connect_all: ConnectAll, tmp_path: Path, remote_folder: Path
) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    arguments = [{"here": "a", "there": "one"}, {"here": "b", "there": "two"}]
    client = connect_all(2)
    get_all(
        client.copy_file(f"{tmp_path}/%(here)s", f"{remote_folder}/%(there)s", copy_args=arguments)
    )
    assert content_below(remote_folder) == {"one": b"a", "two": b"b"}


def test_the_order_is_that_of_the_hosts(
    connect_all: ConnectAll, tmp_path: Path, remote_folder: Path
) -> None:
    arguments = [{"name": str(number)} for number in range(6)]
    for number in (1, 4):
        (tmp_path / str(number)).write_text(str(number))
    tasks = connect_all(6).copy_file(
        f"{tmp_path}/%(name)s", f"{remote_folder}/%(name)s", copy_args=arguments
    )
    gevent.joinall(tasks)
    assert [task.successful() for task in tasks] == [False, True, False, False, True, False]
    for number in (0, 2, 3, 5):
        error = tasks[number].exception
        assert isinstance(error, FileNotFoundError)
        assert error.filename == str(tmp_path / str(number))


def test_options(connect_all: ConnectAll, tmp_path: Path, remote_folder: Path) -> None:
    path = tmp_path / "original"
    path.write_bytes(content(MEGABYTE))
    os.utime(path, (1_000_000_000, 1_000_000_000))
    progress = Recorder()
    options: dict[str, Any] = {"preserve_times": True, "progress": progress, "limit_rate": 10**9}
    client = connect_all(HOSTS)
    target = f"{remote_folder}/copy"
    get_all(client.copy_file(path, target, atomic=True, **options))
    assert (remote_folder / "copy").stat().st_mtime == 1_000_000_000
    back = tmp_path / "back"
    get_all(client.copy_remote_file(target, back, resume=True, **options))
    for host in HOSTS:
        assert (tmp_path / f"back_{host}").stat().st_mtime == 1_000_000_000
        ends = [call[2:] for call in progress.calls if call[0] == host]
        assert ends.count((MEGABYTE, MEGABYTE)) == 2


def test_impossible_options(connect_all: ConnectAll, tmp_path: Path) -> None:
    (tmp_path / "original").write_bytes(b"content")
    with pytest.raises(ValueError, match="atomic"):
        get_all(connect_all(1).copy_file(tmp_path / "original", "x", atomic=True, resume=True))


# From many hosts


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({}, ["copy_127.0.0.1", "copy_localhost"]),
        ({"suffix_separator": "."}, ["copy.127.0.0.1", "copy.localhost"]),
        ({"suffix_separator": ""}, ["copy127.0.0.1", "copylocalhost"]),
    ],
    ids=repr,
)
def test_copy_remote_file(
    connect_all: ConnectAll,
    tmp_path: Path,
    remote_folder: Path,
    parameters: dict[str, Any],
    names: list[str],
) -> None:
    (remote_folder / "original").write_bytes(content(MEGABYTE))
    (remote_folder / "original").chmod(0o755)
    client = connect_all(HOSTS)
    tasks = client.copy_remote_file(f"{remote_folder}/original", tmp_path / "a/copy", **parameters)
    assert len(tasks) == 2
    assert not any(task.ready() for task in tasks)
    get_all(tasks)
    assert content_below(tmp_path / "a") == dict.fromkeys(names, content(MEGABYTE))
    assert mode_of(tmp_path / "a" / names[0]) == 0o755


def test_the_alias_takes_the_place_of_the_name(
    connect_all: ConnectAll, tmp_path: Path, remote_folder: Path
) -> None:
    (remote_folder / "original").write_bytes(b"content")
    client = connect_all(2, host_config=aliases("one", "two"))
    get_all(client.copy_remote_file(f"{remote_folder}/original", str(tmp_path / "copy")))
    assert sorted(os.listdir(tmp_path)) == ["copy_one", "copy_two"]


def test_copy_remote_file_with_arguments(
    connect_all: ConnectAll, tmp_path: Path, remote_folder: Path
) -> None:
    for name in "ab":
        (remote_folder / name).write_text(name)
    arguments = [{"there": "a", "here": "one"}, {"there": "b", "here": "two"}]
    get_all(
        connect_all(2).copy_remote_file(
            f"{remote_folder}/%(there)s", f"{tmp_path}/%(here)s", copy_args=arguments
        )
    )
    assert content_below(tmp_path) == {"one": b"a", "two": b"b"}


def test_another_encoding(connect_all: ConnectAll, tmp_path: Path, remote_folder: Path) -> None:
    (remote_folder / "\udce4").write_bytes(b"content")
    get_all(
        connect_all(1).copy_remote_file(
            f"{remote_folder}/ä", tmp_path / "copy", False, "-", None, "latin-1"
        )
    )
    assert os.listdir(tmp_path) == ["copy-127.0.0.1"]


def test_trees(connect_all: ConnectAll, way: Way) -> None:
    for number in range(20):
        way.write(f"tree/deep/{number}", content(10_000 + number))
    client = connect_all(HOSTS)
    source, target = str(way.source / "tree"), str(way.target / "copy")
    copy = client.copy_file if way.is_put else client.copy_remote_file
    get_all(copy(source, target, recurse=True))
    wanted = content_below(way.source / "tree")
    for name in ["copy"] if way.is_put else ["copy_127.0.0.1", "copy_localhost"]:
        assert content_below(way.target / name) == wanted
    way.assert_nothing_is_open()


# Arguments


def copiers(client: Any) -> list[Callable[..., list[Any]]]:
    """Both functions, which take their paths in the same order."""
    return [client.copy_file, client.copy_remote_file]


def test_percent_signs_without_arguments(connect_all: ConnectAll, way: Way) -> None:
    way.write("100%s %(a)s %%")
    client = connect_all(1, host_config=aliases("h"))
    copy = copiers(client)[not way.is_put]
    get_all(copy(str(way.source / "100%s %(a)s %%"), str(way.target / "%d%%")))
    assert os.listdir(way.target) == ["%d%%" if way.is_put else "%d%%_h"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_arguments_than_hosts(
    connect_all: ConnectAll, way: Way, count: int
) -> None:
    way.write("original")
    client = connect_all(2)
    copy = copiers(client)[not way.is_put]
    with pytest.raises(HostArgumentError, match=f"{count} for 2 hosts"):
        copy(str(way.source / "original"), f"{way.target}/%(n)s", copy_args=[{"n": "x"}] * count)
    assert os.listdir(way.target) == []


def test_missing_arguments(connect_all: ConnectAll, way: Way) -> None:
    way.write("original")
    client = connect_all(2)
    copy = copiers(client)[not way.is_put]
    arguments = [{"n": "x"}, {"m": "x"}]
    with pytest.raises(KeyError):
        copy(str(way.source / "original"), f"{way.target}/%(n)s", copy_args=arguments)
    gevent.sleep(0)
    assert os.listdir(way.target) == []


def test_two_hosts_that_would_write_the_same_file(
    connect_all: ConnectAll, tmp_path: Path, remote_folder: Path
) -> None:
    (remote_folder / "original").write_bytes(b"content")
    source, target = f"{remote_folder}/original", str(tmp_path / "copy")
    for client in (connect_all(2), connect_all(2, host_config=aliases("same", "same"))):
        with pytest.raises(HostArgumentError, match="two hosts") as caught:
            client.copy_remote_file(source, target)
        assert target in str(caught.value)
        with pytest.raises(HostArgumentError, match="two hosts"):
            client.copy_remote_file(source, target, copy_args=[{}, {}])
    client = connect_all(2)
    for path, names, recurse in (
        ("%(n)s", ("x", "./x"), False),
        ("folder/", ("x", "x"), False),
        ("folder/", ("x", "y"), True),
    ):
        for function in (client.copy_remote_file, client.scp_recv):
            with pytest.raises(HostArgumentError, match="two hosts"):
                function(
                    f"{remote_folder}/%(n)s",
                    f"{tmp_path}/{path}",
                    recurse,
                    copy_args=[{"n": name} for name in names],
                )
    assert os.listdir(tmp_path) == []


def test_two_hosts_whose_files_keep_their_own_names(
    connect_all: ConnectAll, tmp_path: Path, remote_folder: Path
) -> None:
    for name in ("x", "y"):
        (remote_folder / name).write_text(name)
    client = connect_all(2)
    for function in (client.copy_remote_file, client.scp_recv):
        folder = tmp_path / function.__name__
        arguments = [{"name": name} for name in ("x", "y")]
        get_all(function(f"{remote_folder}/%(name)s", f"{folder}/", copy_args=arguments))
        assert content_below(folder) == {"x": b"x", "y": b"y"}


def test_no_hosts(connect_all: ConnectAll, tmp_path: Path) -> None:
    client = connect_all([])
    assert client.copy_file(tmp_path / "original", "copy") == []
    assert client.copy_remote_file("original", tmp_path / "copy") == []


# Failures


def test_one_host_that_fails(connect_all: ConnectAll, way: Way, sshd: OpenSSHServer) -> None:
    way.write("original", content(MEGABYTE))
    config = [HostConfig(alias="a"), HostConfig(alias="b", timeout=5), HostConfig(alias="c")]
    client = connect_all([sshd.host, "no-such-host.invalid", sshd.host], host_config=config)
    arguments = [{"name": "one"}, {"name": "two"}, {"name": "three"}]
    copy = copiers(client)[not way.is_put]
    tasks = copy(str(way.source / "original"), f"{way.target}/%(name)s", copy_args=arguments)
    gevent.joinall(tasks)
    assert [task.successful() for task in tasks] == [True, False, True]
    for _ in range(2):
        with pytest.raises(UnknownHostError) as caught:
            tasks[1].get()
        assert caught.value.host == "no-such-host.invalid"
    wanted = {"one": content(MEGABYTE), "three": content(MEGABYTE)}
    assert content_below(way.target) == wanted


def test_each_host_has_its_own_error(
    connect_all: ConnectAll, tmp_path: Path, remote_folder: Path
) -> None:
    tasks = connect_all(HOSTS).copy_remote_file(f"{remote_folder}/missing", tmp_path / "copy")
    gevent.joinall(tasks)
    for task, host in zip(tasks, HOSTS, strict=True):
        assert isinstance(task.exception, SFTPNoSuchFileError)
        assert task.exception.host == host
    tasks = connect_all(HOSTS).copy_file(tmp_path / "missing", f"{remote_folder}/copy")
    gevent.joinall(tasks)
    assert [getattr(task.exception, "host", None) for task in tasks] == HOSTS
    with pytest.raises(FileNotFoundError):
        gevent.joinall(tasks, raise_error=True)


def test_a_local_file_that_cannot_be_read_to_its_end(
    connect_all: ConnectAll, tmp_path: Path, remote_folder: Path, reads: Reads
) -> None:
    (tmp_path / "original").write_bytes(content(3 * MEGABYTE))
    client = connect_all(HOSTS)
    gevent.joinall(client.connect_auth(), raise_error=True)
    reads.error = OSError(5, "Input/output error")
    reads.hold.clear()
    tasks = client.copy_file(
        tmp_path / "original", f"{remote_folder}/%(n)s", copy_args=[{"n": "a"}, {"n": "b"}]
    )
    eventually(lambda: reads.wanted == 2, "both to want the first block")
    reads.hold.set()
    gevent.joinall(tasks)
    for task, host in zip(tasks, HOSTS, strict=True):
        assert isinstance(task.exception, OSError)
        assert "Input/output error" in str(task.exception)
        assert task.exception.filename == str(tmp_path / "original")
        assert getattr(task.exception, "host", None) == host
    eventually(lambda: os.listdir(remote_folder) == [], "the parts to be removed")
    assert copies.open_here(tmp_path) == []


def test_a_host_that_is_given_up_while_it_reads_for_all(
    connect_all: ConnectAll, tmp_path: Path, remote_folder: Path, reads: Reads
) -> None:
    (tmp_path / "original").write_bytes(content(3 * MEGABYTE))
    client = connect_all(3)
    gevent.joinall(client.connect_auth(), raise_error=True)
    reads.hold.clear()
    names = [{"name": name} for name in "abc"]
    tasks = client.copy_file(tmp_path / "original", f"{remote_folder}/%(name)s", copy_args=names)
    eventually(lambda: reads.wanted == 3, "all to want the first block")
    for task in tasks[:2]:
        task.kill(block=False)
    gevent.sleep(0)
    reads.hold.set()
    gevent.joinall(tasks)
    tasks[2].get()
    assert (remote_folder / "c").read_bytes() == content(3 * MEGABYTE)
    assert copies.open_here(tmp_path) == []


def test_one_connection_that_is_lost(
    connect_all: ConnectAll, way: Way, proxy: CutProxy, sshd: OpenSSHServer
) -> None:
    way.write("original", content(5 * MEGABYTE))
    config = [HostConfig(port=proxy.port), HostConfig(port=sshd.port)]
    client = connect_all(2, host_config=config, host_key_policy="ignore")
    copy = copiers(client)[not way.is_put]
    tasks = copy(
        str(way.source / "original"),
        f"{way.target}/%(n)s",
        copy_args=[{"n": "a"}, {"n": "b"}],
        progress=once_at(MEGABYTE, proxy.cut),
    )
    gevent.joinall(tasks)
    # The first one may have been through when the second one got so far.
    if not tasks[0].successful():
        assert isinstance(tasks[0].exception, ConnectionLostError)
        assert way.is_put or not (way.target / "a").exists()
    tasks[1].get()
    assert (way.target / "b").read_bytes() == content(5 * MEGABYTE)
    way.assert_nothing_is_open()


def test_a_target_that_cannot_be_written(
    connect_all: ConnectAll, tmp_path: Path, remote_folder: Path, account: Account
) -> None:
    (tmp_path / "original").write_bytes(b"content")
    (remote_folder / "folder").mkdir()
    account.give(remote_folder / "folder", 0o755)
    tasks = connect_all(HOSTS).copy_file(
        tmp_path / "original", f"{remote_folder}/%(n)s", copy_args=[{"n": "folder"}, {"n": "b"}]
    )
    gevent.joinall(tasks)
    assert isinstance(tasks[0].exception, SFTPError)
    assert not isinstance(tasks[0].exception, SFTPFailureError)
    tasks[1].get()
    assert (remote_folder / "b").read_bytes() == b"content"


def test_a_directory_takes_recurse(
    connect_all: ConnectAll, tmp_path: Path, remote_folder: Path
) -> None:
    client = connect_all(1)
    for tasks in (
        client.copy_file(tmp_path, f"{remote_folder}/copy"),
        client.copy_remote_file(str(remote_folder), tmp_path / "copy"),
    ):
        with pytest.raises(ValueError, match="recurse=True"):
            tasks[0].get()


# Many of them


def test_pool_size(connect_all: ConnectAll, tmp_path: Path, remote_folder: Path) -> None:
    (tmp_path / "original").write_bytes(content(300_000))
    client = connect_all(6, pool_size=2)
    leave = Event()
    begun: list[str] = []
    most: list[int] = []

    def progress(host: str, path: str, done: int, total: int) -> None:
        if path not in begun:
            begun.append(path)
            leave.wait()
        ended = sum(task.ready() for task in tasks)
        most.append(len(begun) - ended)

    names = [{"n": str(number)} for number in range(6)]
    tasks = client.copy_file(
        tmp_path / "original", f"{remote_folder}/%(n)s", copy_args=names, progress=progress
    )
    eventually(lambda: len(begun) == 2, "as many copies as may go on at a time")
    assert not any(task.ready() for task in tasks)
    leave.set()
    get_all(tasks)
    assert max(most) <= 2
    assert len(os.listdir(remote_folder)) == 6


def test_the_source_is_read_once(
    connect_all: ConnectAll, tmp_path: Path, remote_folder: Path, reads: Reads
) -> None:
    (tmp_path / "original").write_bytes(content(6 * MEGABYTE))
    client = connect_all(8)
    gevent.joinall(client.connect_auth(), raise_error=True)
    reads.hold.clear()
    names = [{"n": str(number)} for number in range(8)]
    tasks = client.copy_file(tmp_path / "original", f"{remote_folder}/%(n)s", copy_args=names)
    eventually(lambda: reads.wanted == 8, "all to want the first block")
    assert copies.open_here(tmp_path) == [str(tmp_path / "original")]
    reads.hold.set()
    get_all(tasks)
    assert sorted(reads.offsets) == list(range(0, 6 * MEGABYTE, BLOCK))
    for name in "01234567":
        assert (remote_folder / name).read_bytes() == content(6 * MEGABYTE)
    assert copies.open_here(tmp_path) == []


def test_a_source_that_changes_between_two_copies(
    connect_all: ConnectAll, tmp_path: Path, remote_folder: Path
) -> None:
    client = connect_all(2)
    for size in (MEGABYTE, 3 * MEGABYTE, 1000):
        (tmp_path / "original").write_bytes(content(size))
        get_all(client.copy_file(tmp_path / "original", f"{remote_folder}/copy"))
        assert (remote_folder / "copy").read_bytes() == content(size)


@pytest.mark.parametrize("over", ["copy_file", "scp_send"])
def test_a_source_that_is_replaced_while_it_is_copied(
    connect_all: ConnectAll, tmp_path: Path, remote_folder: Path, over: str
) -> None:
    path = tmp_path / "original"
    path.write_bytes(content(3 * MEGABYTE))
    begun, leave = Event(), Event()

    def wait(*_: object) -> None:
        begun.set()
        leave.wait()

    client = connect_all(1)
    first = getattr(client, over)(path, f"{remote_folder}/first", progress=wait)
    begun.wait()
    (tmp_path / "new").write_bytes(content(MEGABYTE))
    os.replace(tmp_path / "new", path)
    get_all(getattr(client, over)(path, f"{remote_folder}/second"))
    assert (remote_folder / "second").read_bytes() == content(MEGABYTE)
    path.unlink()
    (third,) = getattr(client, over)(path, f"{remote_folder}/third")
    with pytest.raises(FileNotFoundError):
        third.get()
    leave.set()
    get_all(first)
    assert (remote_folder / "first").read_bytes() == content(3 * MEGABYTE)
    assert copies.open_here(tmp_path) == []


def test_with_commands_at_the_same_time(connect_all: ConnectAll, way: Way) -> None:
    way.write("original", content(3 * MEGABYTE))
    client = connect_all(HOSTS)
    copy = copiers(client)[not way.is_put]
    tasks = copy(str(way.source / "original"), str(way.target / "copy"))
    outputs = client.run_command("echo here")
    client.join()
    assert [list(output.stdout or ()) for output in outputs] == [["here"], ["here"]]
    get_all(tasks)


def test_a_disk_that_cannot_keep_up(
    connect_all: ConnectAll, tmp_path: Path, remote_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (remote_folder / "original").write_bytes(content(6 * MEGABYTE))
    write = Target.write

    def slowly(target: Target, offset: int, parts: Sequence[memoryview]) -> None:
        time.sleep(0.02)
        write(target, offset, parts)

    monkeypatch.setattr(page_cache, "is_in_memory", lambda _: False)
    # More files than there are threads for them.
    monkeypatch.setattr(Target, "write", slowly)
    client = connect_all(20)
    names = [{"n": str(number)} for number in range(20)]
    with gevent.Timeout(60):
        get_all(
            client.copy_remote_file(
                f"{remote_folder}/original", f"{tmp_path}/%(n)s", copy_args=names
            )
        )
    for number in range(20):
        assert (tmp_path / str(number)).read_bytes() == content(6 * MEGABYTE)
