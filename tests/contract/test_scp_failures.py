"""Copies over SCP that fail: with a clear error, and nothing left that looks complete."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import ConnectionLostError, SCPConnectionLostError, SCPError, Timeout
from tests.conftest import StartServer
from tests.contract.conftest import Connect
from tests.contract.outputs import eventually
from tests.contract.scp_copies import (
    LARGE,
    MIB,
    OPTIONS,
    as_account,
    check_error,
    give,
    give_all,
    local,
    names,
    nothing_stays_open,
    open_files,
    receive,
    remote,
    send,
    tree,
    write,
)
from tests.servers.account import Account
from tests.servers.asyncssh_server import AsyncSSHServer
from tests.servers.cut_proxy import CutProxy
from tests.servers.process_tree import all_processes

__all__ = ["local", "nothing_stays_open", "remote"]

Progress = Callable[[str, str, int, int], None]


def once(at: int, act: Callable[[], object]) -> Progress:
    """A progress function that does something once so many bytes are done."""
    acted = False

    def tell(_host: str, _path: str, done: int, _total: int) -> None:
        nonlocal acted
        if done >= at and not acted:
            acted = True
            act()

    return tell


def is_written(path: Path) -> bool:
    """Whether any process has a file open."""
    for process in all_processes():
        try:
            for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
                if os.readlink(descriptor) == str(path):
                    return True
        except OSError:
            continue
    return False


@pytest.fixture
def small_disk(remote: Path, account: Account) -> Iterator[Path]:
    """A folder of the account's on a disk of 1 MiB."""
    folder = remote / "small disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("A disk that gets full takes the right to mount one.")
    try:
        yield give(account, folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class TestRefused:
    """What the system does not allow."""

    @pytest.mark.parametrize("options", OPTIONS)
    def test_by_the_host(
        self,
        client: BaseSSHClient,
        account: Account,
        remote: Path,
        local: Path,
        options: dict[str, Any],
    ) -> None:
        (remote / "read only").mkdir()
        give(account, remote / "read only", 0o555)
        write(local / "one", LARGE)
        for name in ("two", "new/two"):
            target = remote / "read only" / name
            with pytest.raises(SCPError, match="Permission denied") as caught:
                send(client, local / "one", target, **options)
            check_error(caught.value, client, target)
            with pytest.raises(SCPError, match="Permission denied") as caught:
                send(client, local, target, recurse=True, **options)
            check_error(caught.value, client, target)
        assert names(remote) == ["read only"]
        secret = give(account, write(remote / "secret"), 0)
        with pytest.raises(SCPError, match="Permission denied") as caught:
            receive(client, secret, local / "two", **options)
        check_error(caught.value, client, secret)
        with pytest.raises(SCPError, match="secret: Permission denied"):
            receive(client, remote, local / "back", recurse=True, **options)
        assert not (local / "two").exists()
        assert not (local / "back/secret").exists()

    @pytest.mark.parametrize("options", OPTIONS)
    def test_here(
        self,
        client: BaseSSHClient,
        account: Account,
        remote: Path,
        options: dict[str, Any],
    ) -> None:
        if not account.temporary:
            pytest.skip("The account is the user who runs the tests.")
        local, target = remote / "local", remote / "target"
        local.mkdir()
        target.mkdir()
        give(account, target)
        secret = write(local / "secret", mode=0o600)
        readable = write(local / "readable")
        with as_account(account):
            for path, recurse in [(secret, False), (local, True)]:
                with pytest.raises(PermissionError) as caught:
                    send(client, path, target, recurse, **options)
                check_error(caught.value, client, secret)
            for path, recurse in [(readable, False), (target, True)]:
                with pytest.raises(PermissionError) as caught:
                    receive(client, path, local / "new/two", recurse, **options)
                check_error(caught.value, client, local / "new")
        assert not (target / "secret").exists()
        assert names(local) == ["readable", "secret"]
        assert open_files(remote) == []

    def test_a_file_of_somebody_else(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        if not account.temporary:
            pytest.skip("There is nobody else.")
        write(local / "one", LARGE, 0o600)
        write(remote / "two", b"old", 0o666)
        send(client, local / "one", remote / "two")
        assert tree(remote) == {"two": (0o666, LARGE)}

    @pytest.mark.parametrize("options", OPTIONS)
    def test_what_is_not_there(
        self, client: BaseSSHClient, remote: Path, local: Path, options: dict[str, Any]
    ) -> None:
        with pytest.raises(FileNotFoundError) as local_error:
            send(client, local / "gone", remote / "x", **options)
        check_error(local_error.value, client, local / "gone")
        for recurse in (False, True):
            with pytest.raises(SCPError, match="No such file or directory") as caught:
                receive(client, remote / "gone", local / "x", recurse, **options)
            check_error(caught.value, client, remote / "gone")
        assert names(local) == names(remote) == []

    @pytest.mark.parametrize("options", OPTIONS)
    def test_a_file_where_a_directory_is_needed(
        self,
        client: BaseSSHClient,
        account: Account,
        remote: Path,
        local: Path,
        options: dict[str, Any],
    ) -> None:
        write(local / "one")
        (local / "top/in").mkdir(parents=True)
        give(account, write(remote / "file"))
        for target in ("file/two", "file/"):
            with pytest.raises(SCPError):
                send(client, local / "one", f"{remote}/{target}", **options)
        with pytest.raises(SCPError):
            send(client, local, remote / "file", recurse=True, **options)
        (remote / "top").mkdir()
        give(account, write(remote / "top/in"))
        give(account, remote / "top")
        with pytest.raises(SCPError, match="top/in"):
            send(client, local / "top", remote / "top", recurse=True, **options)
        assert tree(remote) == {
            "file": (0o644, b"x"),
            "top": (0o755, None),
            "top/in": (0o644, b"x"),
        }
        with pytest.raises(NotADirectoryError):
            receive(client, remote / "file", f"{local}/one/two", **options)
        with pytest.raises(OSError, match="one"):
            receive(client, remote / "top", local / "one", recurse=True, **options)
        assert (local / "one").read_bytes() == b"x"

    def test_no_more_channels(self, sshd_with: StartServer, connect: Connect, local: Path) -> None:
        client = connect(sshd_with({"MaxSessions": "0"}))
        write(local / "one")
        with pytest.raises(SCPError) as caught:
            send(client, local / "one", "x")
        check_error(caught.value, client, "x")
        with pytest.raises(SCPError) as caught:
            receive(client, "x", local / "two")
        check_error(caught.value, client, "x")

    def test_a_host_for_sftp_alone(
        self, sshd_with: StartServer, connect: Connect, local: Path
    ) -> None:
        client = connect(sshd_with({"ForceCommand": "internal-sftp"}), timeout=10)
        write(local / "one")
        with pytest.raises(SCPError):
            send(client, local / "one", "x")
        with pytest.raises(SCPError):
            receive(client, "x", local / "two")
        assert names(local) == ["one"]

    def test_a_host_for_scp_alone(
        self, sshd_with: StartServer, connect: Connect, account: Account, remote: Path, local: Path
    ) -> None:
        only_scp = write(remote / "only scp", b"#!/bin/sh\n$SSH_ORIGINAL_COMMAND\n", 0o755)
        (remote / "top").mkdir()
        give_all(account, remote)
        client = connect(sshd_with({"ForceCommand": f"'{only_scp}'"}))
        write(local / "one", LARGE)
        send(client, local / "one", remote / "top/one")
        send(client, local, remote / "top", recurse=True)
        receive(client, remote / "top", local / "back", recurse=True)
        assert tree(local / "back") == {"one": (0o644, LARGE)}

    def test_a_host_that_refuses_a_command(
        self, connect: Connect, asyncssh_server: AsyncSSHServer, remote: Path, local: Path
    ) -> None:
        """asyncssh's server takes no command that is not UTF-8."""
        client = connect(asyncssh_server)
        write(local / "\udcff")
        with pytest.raises(SCPError, match="Could not start a command") as caught:
            send(client, local, remote / "new", recurse=True, atomic=True)
        check_error(caught.value, client, remote / "new")
        assert not (remote / "new/\udcff").exists()

    def test_a_host_without_scp(
        self, sshd_with: StartServer, connect: Connect, remote: Path, local: Path
    ) -> None:
        client = connect(sshd_with({"SetEnv": "PATH=/nonexistent"}))
        write(local / "one")
        copies: list[Callable[[], None]] = [
            lambda: send(client, local / "one", "x"),
            lambda: send(client, local / "one", remote / "x"),
            lambda: send(client, local, remote, recurse=True),
            lambda: receive(client, "x", local / "two"),
            lambda: receive(client, "x", local / "two", recurse=True),
            lambda: receive(client, "x", local / "two", resume=True),
        ]
        for copy in copies:
            with pytest.raises(SCPError, match=r"has no program for it: .* SFTP") as caught:
                copy()
            assert "not found" in str(caught.value)
        assert names(local) == ["one"]


class TestFullDisk:
    def test_of_the_host(
        self, client: BaseSSHClient, account: Account, small_disk: Path, local: Path
    ) -> None:
        (local / "top").mkdir()
        write(local / "top/large", LARGE)
        target = small_disk / "large"
        with pytest.raises(SCPError, match="No space left on device") as caught:
            send(client, local / "top/large", target)
        check_error(caught.value, client, target)
        assert names(small_disk) == []
        with pytest.raises(SCPError, match="No space left on device"):
            send(client, local / "top", small_disk, recurse=True)
        assert names(small_disk) == []
        give(account, write(target, b"old"))
        for recurse in (False, True):
            with pytest.raises(SCPError, match="No space left on device"):
                send(
                    client,
                    local / "top" / ("" if recurse else "large"),
                    small_disk,
                    recurse,
                    atomic=True,
                )
            assert tree(small_disk) == {"large": (0o644, b"old")}
        target.unlink()
        with pytest.raises(SCPError, match="No space left on device"):
            send(client, local / "top/large", target, resume=True)
        there = target.read_bytes()
        assert 0 < len(there) < len(LARGE)
        assert LARGE.startswith(there)
        self._enlarge(small_disk)
        send(client, local / "top/large", target, resume=True)
        assert tree(small_disk) == {"large": (0o644, LARGE)}

    def test_here(
        self, client: BaseSSHClient, account: Account, small_disk: Path, remote: Path
    ) -> None:
        (remote / "top").mkdir()
        write(remote / "top/large", LARGE)
        give_all(account, remote / "top")
        target = small_disk / "large"
        for recurse in (False, True):
            source, into = (
                (remote / "top", small_disk) if recurse else (remote / "top/large", target)
            )
            with pytest.raises(OSError, match="No space left") as caught:
                receive(client, source, into, recurse)
            assert caught.value.errno == errno.ENOSPC
            check_error(caught.value, client, target)
            assert names(small_disk) == []
            write(target, b"old")
            with pytest.raises(OSError, match="No space left"):
                receive(client, source, into, recurse, atomic=True)
            assert tree(small_disk) == {"large": (0o644, b"old")}
            # What is half old and half new is of no use.
            with pytest.raises(OSError, match="No space left"):
                receive(client, source, into, recurse)
            assert names(small_disk) == []
        with pytest.raises(OSError, match="No space left"):
            receive(client, remote / "top/large", target, resume=True)
        there = target.read_bytes()
        assert 0 < len(there) < len(LARGE)
        assert LARGE.startswith(there)
        self._enlarge(small_disk)
        receive(client, remote / "top/large", target, resume=True)
        assert tree(small_disk) == {"large": (0o644, LARGE)}
        assert open_files(small_disk) == []

    def _enlarge(self, disk: Path) -> None:
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)

    def test_a_full_device(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        give(account, write(remote / "one", LARGE))
        with pytest.raises(OSError, match="No space left") as caught:
            receive(client, remote / "one", "/dev/full")
        check_error(caught.value, client, "/dev/full")
        with pytest.raises(SCPError, match="No space left on device"):
            send(client, write(local / "one", LARGE), "/dev/full")
        assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


class TestLostConnection:
    @pytest.fixture
    def cut(self, connect: Connect, proxy: CutProxy) -> BaseSSHClient:
        """A client whose connection runs through ``proxy``."""
        return connect(port=proxy.port, host_key_policy="ignore")

    @pytest.mark.parametrize("count", [1000, 30_000, 1_000_000, 3_000_000])
    def test_while_fetching(
        self,
        cut: BaseSSHClient,
        proxy: CutProxy,
        account: Account,
        remote: Path,
        local: Path,
        count: int,
    ) -> None:
        give(account, write(remote / "one", LARGE, 0o640))
        for options in OPTIONS:
            target = write(local / "two", b"old") if "atomic" in options else local / "two"
            proxy.cut_after(count)
            with pytest.raises(SCPConnectionLostError) as caught:
                receive(cut, remote / "one", target, **options)
            assert isinstance(caught.value, ConnectionLostError)
            check_error(caught.value, cut, remote / "one")
            if "resume" not in options:
                assert tree(local) == ({"two": (0o644, b"old")} if options else {})
            (local / "two").unlink() if "atomic" in options else None
        there = target.read_bytes() if target.exists() else b""
        assert len(there) <= count
        assert LARGE.startswith(there)
        receive(cut, remote / "one", target, resume=True)
        assert tree(local) == {"two": (0o640, LARGE)}

    @pytest.mark.parametrize("done", [0, 1, MIB, 2 * MIB, 11 * MIB // 4])
    def test_while_sending(
        self, cut: BaseSSHClient, proxy: CutProxy, remote: Path, local: Path, done: int
    ) -> None:
        write(local / "one", LARGE, 0o640)
        for name, options in zip(("plain", "atomic", "two"), OPTIONS, strict=True):
            with pytest.raises(SCPConnectionLostError) as caught:
                send(
                    cut,
                    local / "one",
                    remote / name,
                    progress=once(done, proxy.cut),
                    **options,
                )
            check_error(caught.value, cut, remote / name)
        assert not (remote / "atomic").exists()
        target = remote / "two"
        eventually(lambda: not is_written(target), "the end of the remote program")
        there = target.read_bytes() if target.exists() else b""
        assert LARGE.startswith(there)
        send(cut, local / "one", target, resume=True)
        assert tree(remote)["two"] == (0o640, LARGE)

    @pytest.mark.parametrize("count", [20_000, 200_000, 2_000_000])
    @pytest.mark.parametrize("resume", [False, True])
    def test_while_fetching_a_directory(
        self,
        cut: BaseSSHClient,
        proxy: CutProxy,
        account: Account,
        remote: Path,
        local: Path,
        count: int,
        resume: bool,
    ) -> None:
        top = remote / "top"
        (top / "in").mkdir(parents=True)
        for number in range(100):
            write(top / "in" / str(number), LARGE[: 100 * number])
        write(top / "large", LARGE)
        give_all(account, top)
        proxy.cut_after(count)
        with pytest.raises(SCPConnectionLostError):
            receive(cut, top, local / "back", recurse=True, resume=resume)
        expected = tree(top)
        for path, (_, content) in tree(local / "back").items():
            whole = expected[path][1]
            if content is not None and whole is not None:
                assert whole.startswith(content)
                assert resume or content == whole
        receive(cut, top, local / "back", recurse=True, resume=resume)
        assert tree(local / "back") == expected

    @pytest.mark.parametrize("resume", [False, True])
    def test_while_sending_a_directory(
        self, cut: BaseSSHClient, proxy: CutProxy, remote: Path, local: Path, resume: bool
    ) -> None:
        top = local / "top"
        (top / "in").mkdir(parents=True)
        for number in range(50):
            write(top / "in" / str(number), LARGE[: 100 * number])
        write(top / "large", LARGE)
        for count in (1000, 2 * MIB):
            with pytest.raises(SCPConnectionLostError):
                send(
                    cut,
                    top,
                    remote / "top",
                    recurse=True,
                    resume=resume,
                    progress=once(count, proxy.cut),
                )
        eventually(lambda: not is_written(remote / "top/large"), "the end of the remote scp")
        send(cut, top, remote / "top", recurse=True, resume=resume)
        assert tree(remote / "top") == tree(top)

    @pytest.mark.parametrize("direction", ["send", "receive"])
    def test_a_stalled_one(
        self,
        connect: Connect,
        proxy: CutProxy,
        account: Account,
        remote: Path,
        local: Path,
        direction: str,
    ) -> None:
        client = connect(port=proxy.port, host_key_policy="ignore", timeout=1)
        # More than what the window and the sockets on the way hold.
        content = LARGE * 8
        stall = once(MIB, proxy.stall)
        with pytest.raises(Timeout) as caught:
            if direction == "send":
                send(client, write(local / "one", content), remote / "one", progress=stall)
            else:
                give(account, write(remote / "one", content))
                receive(client, remote / "one", local / "two", progress=stall)
        assert caught.value.step == "copy with SCP"
        check_error(caught.value, client, remote / "one")
        assert not (local / "two").exists()
        proxy.resume()
        if direction == "send":
            # What is left is removed, though nobody waits for that.
            eventually(lambda: names(remote) == [], "the end of what was left")
        assert list(client.run_command("echo x").stdout or ()) == ["x"]


class TestChanges:
    @pytest.mark.parametrize("done", [0, 1, 2 * MIB])
    @pytest.mark.parametrize("size", [10, len(LARGE) + 1])
    @pytest.mark.parametrize("recurse", [False, True])
    def test_of_the_local_file(
        self,
        client: BaseSSHClient,
        remote: Path,
        local: Path,
        done: int,
        size: int,
        recurse: bool,
    ) -> None:
        source = write(local / "one", LARGE)
        change = once(done, lambda: os.truncate(source, size))
        path, target = (local, remote) if recurse else (source, remote / "two")
        with pytest.raises(SCPError, match="changed while it was copied") as caught:
            send(client, path, target, recurse, progress=change)
        check_error(caught.value, client, target)
        assert names(remote) == []

    def test_of_the_remote_file(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        source = give(account, write(remote / "one", LARGE * 8))
        with pytest.raises(SCPError) as caught:
            receive(
                client,
                source,
                local / "two",
                progress=once(1, lambda: os.truncate(source, MIB)),
            )
        check_error(caught.value, client, source)
        assert names(local) == []

    @pytest.mark.usefixtures("slow_disk")
    def test_a_file_that_cannot_be_read_to_its_end(
        self,
        client: BaseSSHClient,
        remote: Path,
        local: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        pread = os.pread

        def bad_pread(descriptor: int, count: int, offset: int) -> bytes:
            if offset:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return pread(descriptor, count, offset)

        source = write(local / "one", LARGE)
        monkeypatch.setattr(os, "pread", bad_pread)
        for path, recurse in [(source, False), (local, True)]:
            with pytest.raises(OSError, match="Input/output error") as caught:
                send(client, path, remote, recurse)
            check_error(caught.value, client, path)
            assert names(remote) == []

    @pytest.mark.parametrize("direction", ["send", "receive"])
    def test_a_greenlet_that_is_killed(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path, direction: str
    ) -> None:
        begun = Event()
        tell = once(MIB, begun.set)
        if direction == "send":
            source = write(local / "one", LARGE * 8)
            copying = gevent.spawn(send, client, source, remote / "two", progress=tell)
        else:
            source = give(account, write(remote / "one", LARGE * 8))
            copying = gevent.spawn(receive, client, source, local / "two", progress=tell)
        begun.wait()
        copying.kill()
        assert not (local / "two").exists()
        eventually(lambda: not (remote / "two").exists(), "the end of what was left")
        assert list(client.run_command("echo x").stdout or ()) == ["x"]


class TestChannels:
    def test_all_are_given_back(
        self,
        sshd_with: StartServer,
        connect: Connect,
        account: Account,
        remote: Path,
        local: Path,
    ) -> None:
        client = connect(sshd_with({"MaxSessions": "3"}))
        source = write(local / "one", LARGE)
        give(account, write(remote / "large", LARGE * 8))

        class OwnError(Exception):
            pass

        def stop() -> None:
            raise OwnError

        for _ in range(5):
            with pytest.raises(SCPError):
                receive(client, remote / "gone", local / "two")
            with pytest.raises(SCPError):
                send(client, source, remote / "large/two")
            with pytest.raises(OwnError):
                send(client, source, remote / "two", progress=once(MIB, stop))
            with pytest.raises(OwnError):
                receive(client, remote / "large", local / "two", progress=once(MIB, stop))
            for options in OPTIONS:
                send(client, source, remote / "whole", **options)
                receive(client, remote / "whole", local / "whole", **options)
        assert names(remote) == ["large", "whole"]
