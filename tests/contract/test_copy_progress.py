"""Progress of copies over SFTP, what a progress function can do, and limited rates."""

from __future__ import annotations

import os
import time
from typing import Any

import gevent
import pytest
from gevent.event import Event

from pssh.clients.base.files.session import SFTPSession
from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import SFTPError
from pssh.sftp.requests import Request
from tests.contract import copies
from tests.contract.conftest import Connect
from tests.contract.copies import (
    MEGABYTE,
    Recorder,
    StopError,
    Way,
    content,
    mode_of,
    once_at,
    stop_at,
)
from tests.contract.outputs import eventually
from tests.servers.cut_proxy import CutProxy

connected, client, way = copies.connected, copies.client, copies.way
kept_clients = copies.kept_clients


def remote_path(way: Way) -> str:
    """The remote one of the two paths that the tests use."""
    return str(way.remote / ("copy" if way.is_put else "original"))


# What it is told


@pytest.mark.parametrize("options", [{}, {"atomic": True}, {"resume": True}], ids=repr)
def test_values(client: BaseSSHClient, way: Way, options: dict[str, Any]) -> None:
    # No more than 8 MiB are on their way: twice at least there is something to tell in between.
    size = 18 * MEGABYTE + 1
    way.write("original", content(9 * MEGABYTE) * 2 + b"x")
    progress = Recorder()
    way.copy(client, "original", "copy", progress=progress, **options)
    assert {call[:2] for call in progress.calls} == {(client.host, remote_path(way))}
    assert {call[3] for call in progress.calls} == {size}
    done = progress.done
    assert done[0] == 0
    assert done[-1] == size
    assert done == sorted(set(done))
    assert len(done) > 3


def test_an_empty_file(client: BaseSSHClient, way: Way) -> None:
    way.write("original", b"")
    progress = Recorder()
    way.copy(client, "original", "copy", progress=progress)
    assert progress.calls == [(client.host, remote_path(way), 0, 0)]


def test_a_tree(client: BaseSSHClient, way: Way) -> None:
    sizes = {f"deep/{number}": 100_000 + number for number in range(10)}
    for name, size in sizes.items():
        way.write(name, content(size))
    progress = Recorder()
    way.copy(client, "", "tree", recurse=True, progress=progress)
    folder = way.target / "tree" if way.is_put else way.source
    for name, size in sizes.items():
        calls = [call for call in progress.calls if call[1] == str(folder / name)]
        assert calls[-1] == (client.host, str(folder / name), size, size)


def test_the_end_is_told_when_all_is_there(client: BaseSSHClient, way: Way) -> None:
    size = 3 * MEGABYTE
    way.write("original", content(size))
    found: list[int] = []
    progress = once_at(size, lambda: found.append((way.target / "copy").stat().st_size))
    way.copy(client, "original", "copy", progress=progress)
    assert found == [size]


# What it can do


@pytest.mark.parametrize("at", [0, 2 * MEGABYTE, 5 * MEGABYTE])
def test_its_error_stops_the_copy(client: BaseSSHClient, way: Way, at: int) -> None:
    way.write("original", content(5 * MEGABYTE))
    with client.open_sftp() as sftp:
        with pytest.raises(StopError) as caught:
            way.copy(client, "original", "copy", sftp=sftp, progress=stop_at(at))
        assert caught.value.args[0] >= at
        way.eventually_only()
        way.assert_nothing_is_open()
        way.copy(client, "original", "copy", sftp=sftp)
    assert (way.target / "copy").read_bytes() == content(5 * MEGABYTE)


def test_its_error_stops_a_tree(client: BaseSSHClient, way: Way) -> None:
    for number in range(40):
        way.write(f"deep/{number}", content(100_000))
    with client.open_sftp() as sftp:
        with pytest.raises(StopError):
            way.copy(client, "", "tree", recurse=True, sftp=sftp, progress=stop_at(100_000))
        way.assert_nothing_is_open()
        way.copy(client, "", "tree", recurse=True, sftp=sftp)
    assert len(os.listdir(way.target / "tree/deep")) == 40


@pytest.mark.parametrize("kind", [gevent.Timeout, gevent.GreenletExit, SystemExit])
def test_what_is_no_exception_stops_a_tree_as_well(
    client: BaseSSHClient, way: Way, kind: type[BaseException]
) -> None:
    for number in range(10):
        way.write(f"{number}", content(100_000))
    error = kind()

    def fail() -> None:
        raise error

    with pytest.raises(kind) as caught:
        way.copy(client, "", "tree", recurse=True, progress=once_at(100_000, fail))
    assert caught.value is error
    way.assert_nothing_is_open()


def test_it_may_wait(client: BaseSSHClient, way: Way) -> None:
    way.write("original", content(5 * MEGABYTE))
    reached, leave = Event(), Event()

    def wait() -> None:
        reached.set()
        leave.wait()

    copying = gevent.spawn(way.copy, client, "original", "copy", progress=once_at(MEGABYTE, wait))
    reached.wait()
    assert list(client.run_command("echo meanwhile").stdout or ()) == ["meanwhile"]
    assert not copying.ready()
    leave.set()
    copying.get()
    assert (way.target / "copy").read_bytes() == content(5 * MEGABYTE)


def test_a_killed_greenlet(client: BaseSSHClient, way: Way) -> None:
    way.write("original", content(5 * MEGABYTE))
    reached = Event()

    def wait() -> None:
        reached.set()
        Event().wait()

    with client.open_sftp() as sftp:
        copying = gevent.spawn(
            way.copy, client, "original", "copy", sftp=sftp, progress=once_at(MEGABYTE, wait)
        )
        reached.wait()
        copying.kill()
        way.eventually_only()
        way.assert_nothing_is_open()
        way.copy(client, "original", "copy", sftp=sftp)
    assert (way.target / "copy").read_bytes() == content(5 * MEGABYTE)


def test_a_greenlet_that_is_killed_while_it_opens_the_file(
    connect: Connect, proxy: CutProxy, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    way.write("original", content(MEGABYTE))
    sent: list[object] = []
    submit = SFTPSession.submit

    def stalled(session: SFTPSession, request: Request, *args: Any) -> None:
        if len(sent) == 1:
            # What is there is looked at first.
            proxy.stall()
        submit(session, request, *args)
        sent.append(request)

    client = connect(port=proxy.port, host_key_policy="ignore")
    with client.open_sftp() as sftp:
        monkeypatch.setattr(SFTPSession, "submit", stalled)
        copying = gevent.spawn(way.copy, client, "original", "copy", sftp=sftp)
        eventually(lambda: len(sent) == 2, "the file to be asked for")
        copying.kill()
        proxy.resume()
        # Before this the server opens the file.
        assert sftp.realpath("/") == "/"
        way.eventually_only()
        way.assert_nothing_is_open()


def test_the_session_is_closed_meanwhile(client: BaseSSHClient, way: Way) -> None:
    way.write("original", content(5 * MEGABYTE))
    sftp = client.open_sftp()
    with pytest.raises(SFTPError, match="closed by this client") as caught:
        way.copy(client, "original", "copy", sftp=sftp, progress=once_at(MEGABYTE, sftp.close))
    assert caught.value.host == client.host
    way.assert_nothing_is_open()
    assert way.is_put or os.listdir(way.target) == []


# Rates


def test_a_limited_rate(client: BaseSSHClient, way: Way) -> None:
    way.write("original", content(400_000))
    begin = time.monotonic()
    way.copy(client, "original", "copy", limit_rate=1_000_000)
    # The last tenth of a second's worth is not waited for.
    assert time.monotonic() - begin >= 0.3
    assert (way.target / "copy").read_bytes() == content(400_000)


def test_a_limited_rate_of_a_tree(client: BaseSSHClient, way: Way) -> None:
    for number in range(8):
        way.write(f"{number}", content(50_000))
    begin = time.monotonic()
    way.copy(client, "", "tree", recurse=True, limit_rate=1_000_000.0)
    assert time.monotonic() - begin >= 0.3
    assert len(os.listdir(way.target / "tree")) == 8


def test_a_limited_rate_is_no_reason_for_a_timeout(connect: Connect, way: Way) -> None:
    client = connect()
    way.write("original", content(3000), 0o600)
    with copies.impatient(client, 0.3) as sftp:
        way.copy(client, "original", "copy", sftp=sftp, limit_rate=5000)
    assert (way.target / "copy").read_bytes() == content(3000)
    assert mode_of(way.target / "copy") == 0o600
