"""Copies over SCP that are atomic, go on, tell how far they are, are held back, or are many."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest

from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import SCPError
from tests.contract.conftest import Connect
from tests.contract.copies import client, connected, kept_clients
from tests.contract.outputs import eventually
from tests.contract.scp_copies import (
    LARGE,
    give,
    give_all,
    local,
    mode_of,
    names,
    receive,
    remote,
    send,
    tree,
    write,
)
from tests.servers.account import Account

__all__ = ["client", "connected", "kept_clients", "local", "remote"]

MIB = 1024 * 1024


class TestAtomic:
    def test_what_was_there_is_replaced(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        source = write(local / "one", LARGE, 0o640)
        old = give(account, write(remote / "two", b"old"))
        number = old.stat().st_ino
        send(client, source, remote / "two", atomic=True)
        assert tree(remote) == {"two": (0o640, LARGE)}
        assert (remote / "two").stat().st_ino != number
        number = write(local / "three", b"old").stat().st_ino
        receive(client, remote / "two", local / "three", atomic=True)
        assert tree(local) == {"one": (0o640, LARGE), "three": (0o640, LARGE)}
        assert (local / "three").stat().st_ino != number

    def test_nothing_has_the_name_before_it_is_whole(
        self, client: BaseSSHClient, remote: Path, local: Path
    ) -> None:
        found: list[list[str]] = []
        source = write(local / "one", LARGE)
        folder = remote

        def look(_host: str, _path: str, done: int, total: int) -> None:
            if 0 < done < total:
                found.append(names(folder))

        send(client, source, remote / "two", atomic=True, progress=look)
        folder = local / "back"
        receive(client, remote / "two", folder / "three", atomic=True, progress=look)
        assert found
        assert not any({"two", "three"} & set(each) for each in found)
        assert names(folder) == ["three"]

    def test_in_a_directory(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        for folder in (local / "top", remote / "top"):
            (folder / "in").mkdir(parents=True)
            for number in range(300):
                write(folder / "in" / f"{number:03}", str(folder).encode(), 0o640)
        (local / "top/in").chmod(0o500)
        give_all(account, remote)
        seen: list[str] = []

        def look(_host: str, path: str, _done: int, _total: int) -> None:
            seen.append(path)

        send(client, local / "top", remote / "top", recurse=True, atomic=True, progress=look)
        assert tree(remote / "top") == tree(local / "top")
        assert set(seen) == {f"{remote}/top/in/{number:03}" for number in range(300)}
        receive(client, remote / "top", local / "back", recurse=True, atomic=True)
        assert tree(local / "back") == tree(remote / "top")

    @pytest.mark.parametrize("recurse", [False, True])
    def test_a_failure_leaves_what_was_there(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path, recurse: bool
    ) -> None:
        (local / "top").mkdir()
        (remote / "top").mkdir()
        source = write(local / "top/one", LARGE)
        write(remote / "top/one", b"old")
        give_all(account, remote / "top")

        def change(_host: str, _path: str, _done: int, _total: int) -> None:
            os.truncate(source, 10)

        paths = ("top",) if recurse else ("top/one",)
        for path in paths:
            with pytest.raises(SCPError, match="changed while it was copied"):
                send(client, local / path, remote / path, recurse, atomic=True, progress=change)
        assert tree(remote) == {"top": (0o755, None), "top/one": (0o644, b"old")}

    def test_a_link_is_replaced(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        (remote / "link").symlink_to("one")
        give(account, write(remote / "one", b"old"))
        send(client, write(local / "new", b"new"), remote / "link", atomic=True)
        assert not (remote / "link").is_symlink()
        assert (remote / "one").read_bytes() == b"old"

    def test_a_long_name(self, client: BaseSSHClient, remote: Path, local: Path) -> None:
        name = "é" * 127
        send(client, write(local / name), f"{remote}/", atomic=True)
        receive(client, remote / name, f"{local}/back/", atomic=True)
        assert names(local / "back") == [name]


class TestResume:
    @pytest.mark.parametrize("there", [0, 1, MIB - 1, MIB, len(LARGE) - 1, len(LARGE)])
    def test_the_rest_is_copied(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path, there: int
    ) -> None:
        told: list[tuple[int, int]] = []

        def tell(_host: str, _path: str, done: int, total: int) -> None:
            told.append((done, total))

        source = write(local / "one", LARGE, 0o750)
        os.utime(source, (1.0e9, 1.1e9))
        # That it is another begin shows what was not sent.
        begin = b"?" * there
        give(account, write(remote / "two", begin))
        send(client, source, remote / "two", resume=True, progress=tell, preserve_times=True)
        assert tree(remote) == {"two": (0o750, begin + LARGE[there:])}
        assert (remote / "two").stat().st_mtime == 1.1e9
        assert told[0] == (there, len(LARGE))
        assert told[-1] == (len(LARGE), len(LARGE))
        told.clear()
        write(remote / "two", LARGE, 0o750)
        os.utime(remote / "two", (1.0e9, 1.1e9))
        write(local / "three", begin, 0o600)
        receive(
            client,
            remote / "two",
            local / "three",
            resume=True,
            progress=tell,
            preserve_times=True,
        )
        assert tree(local)["three"] == (0o750, begin + LARGE[there:])
        assert (local / "three").stat().st_mtime == 1.1e9
        assert told[0] == (there, len(LARGE))
        assert told[-1] == (len(LARGE), len(LARGE))

    def test_what_is_longer_is_copied_anew(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        write(local / "one", b"new")
        give(account, write(remote / "two", b"longer"))
        send(client, local / "one", remote / "two", resume=True)
        assert (remote / "two").read_bytes() == b"new"
        write(local / "three", b"longer")
        receive(client, remote / "two", local / "three", resume=True)
        assert (local / "three").read_bytes() == b"new"

    def test_names(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        for name in ("a b", "it's", "-r", "~", "$HOME", "\udcff"):
            write(local / name, b"12345")
            give(account, write(remote / name, b"123"))
            send(client, local / name, remote / name, resume=True)
            assert (remote / name).read_bytes() == b"12345"
            write(local / name, b"123")
            receive(client, remote / name, local / name, resume=True)
            assert (local / name).read_bytes() == b"12345"

    def test_relative_paths(self, client: BaseSSHClient, account: Account, local: Path) -> None:
        name = f"-resume-{os.getpid()}"
        home = account.home / name
        write(local / "one", b"12345")
        try:
            for path in (name, f"~/{name}"):
                give(account, write(home, b"123"))
                send(client, local / "one", path, resume=True)
                assert home.read_bytes() == b"12345"
                write(local / "two", b"123")
                receive(client, path, local / "two", resume=True)
                assert (local / "two").read_bytes() == b"12345"
        finally:
            home.unlink(missing_ok=True)

    def test_in_a_directory(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        content = {
            "missing": b"12345",
            "empty": b"12345",
            "part": b"12345",
            "whole": b"12345",
            "longer": b"12345",
            "nothing": b"",
            "large": LARGE,
            "it's\nnew": b"12345",
        }
        there = {
            "empty": b"",
            "part": b"???",
            "whole": b"?????",
            "longer": b"??????",
            "large": LARGE[: 2 * MIB],
            "it's\nnew": b"???",
        }
        expected = {**content, "part": b"???45", "whole": b"?????", "it's\nnew": b"???45"}
        for folder, files in [(local / "top/in", content), (remote / "top/in", there)]:
            folder.mkdir(parents=True)
            for name, data in files.items():
                write(folder / name, data, 0o604)
        give_all(account, remote / "top")
        told: dict[str, list[int]] = {}

        def tell(_host: str, path: str, done: int, _total: int) -> None:
            told.setdefault(Path(path).name, []).append(done)

        send(client, local / "top", remote / "top", recurse=True, resume=True, progress=tell)
        assert tree(remote / "top/in") == {name: (0o604, data) for name, data in expected.items()}
        assert told["part"] == [3, 5]
        assert told["large"][0] == 2 * MIB
        assert told["whole"] == [5]
        del there["it's\nnew"], expected["it's\nnew"]
        for path in (local / "top/in", remote / "top/in"):
            (path / "it's\nnew").unlink()
        for name, data in content.items():
            if "\n" not in name:
                write(remote / "top/in" / name, data, 0o604)
        back = local / "back/in"
        back.mkdir(parents=True)
        for name, data in there.items():
            write(back / name, data, 0o600)
        told.clear()
        receive(client, remote / "top", local / "back", recurse=True, resume=True, progress=tell)
        assert tree(back) == {name: (0o604, data) for name, data in expected.items()}
        assert told["part"] == [3, 5]
        assert told["large"][0] == 2 * MIB

    def test_it_needs_a_regular_file(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        write(local / "one")
        os.mkfifo(remote / "pipe")
        give(account, remote / "pipe")
        with pytest.raises(SCPError, match="no regular file"):
            send(client, local / "one", remote / "pipe", resume=True)

    def test_it_contradicts_atomic(self, client: BaseSSHClient, local: Path) -> None:
        with pytest.raises(ValueError, match="atomic"):
            send(client, local, "x", resume=True, atomic=True)


class TestProgress:
    def test_a_file(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        told: list[tuple[str, str, int, int]] = []
        write(local / "one", LARGE)
        (remote / "in").mkdir()
        give(account, remote / "in", 0o755)

        def copy_both(target: object, path: str) -> None:
            copies: list[Callable[[], None]] = [
                lambda: send(client, local / "one", target, progress=self._append_to(told)),
                lambda: receive(client, path, local / "two", progress=self._append_to(told)),
            ]
            for copy in copies:
                told.clear()
                copy()
                done = [each[2] for each in told]
                assert done == sorted(set(done))
                assert len(done) > 10
                assert (done[0], done[-1]) == (0, len(LARGE))
                assert {each[0] for each in told} == {client.host}
                assert {each[1] for each in told} == {path}
                assert {each[3] for each in told} == {len(LARGE)}

        copy_both(remote / "two", f"{remote}/two")
        copy_both(f"{remote}/in/", f"{remote}/in/one")

    def _append_to(self, told: list[tuple[str, str, int, int]]) -> Callable[..., None]:
        return lambda *values: told.append(values)

    def test_a_directory(self, client: BaseSSHClient, remote: Path, local: Path) -> None:
        told: dict[str, list[tuple[int, int]]] = {}

        def tell(_host: str, path: str, done: int, total: int) -> None:
            told.setdefault(path, []).append((done, total))

        (local / "top/in").mkdir(parents=True)
        for name, data in [("a b", b""), ("in/\udcff", b"x"), ("in/large", LARGE)]:
            write(local / "top" / name, data)
        copies: list[Callable[[], None]] = [
            lambda: send(client, local / "top", remote, recurse=True, progress=tell),
            lambda: receive(client, remote, local / "back", recurse=True, progress=tell),
        ]
        for copy in copies:
            told.clear()
            copy()
            assert told[f"{remote}/a b"] == [(0, 0)]
            assert told[f"{remote}/in/\udcff"] == [(0, 1), (1, 1)]
            assert told[f"{remote}/in/large"][0] == (0, len(LARGE))
            assert told[f"{remote}/in/large"][-1] == (len(LARGE), len(LARGE))
            assert len(told) == 3

    def test_what_it_raises_ends_the_copy(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        class OwnError(Exception):
            pass

        def stop(_host: str, _path: str, done: int, _total: int) -> None:
            if done > MIB:
                raise OwnError

        write(local / "one", LARGE)
        with pytest.raises(OwnError):
            send(client, local / "one", remote / "two", progress=stop)
        assert names(remote) == []
        give(account, write(remote / "two", LARGE))
        with pytest.raises(OwnError):
            receive(client, remote / "two", local / "two", progress=stop)
        assert names(local) == ["one"]


class TestRate:
    @pytest.mark.parametrize("recurse", [False, True])
    def test_it_is_held_back(
        self, client: BaseSSHClient, remote: Path, local: Path, recurse: bool
    ) -> None:
        (local / "top").mkdir()
        for name in "ab":
            write(local / "top" / name, LARGE[: MIB // 2])
        size = MIB if recurse else MIB // 2
        paths = ("top", "back") if recurse else ("top/a", "back/a")
        copies: list[Callable[[], None]] = [
            lambda: send(client, local / paths[0], remote / paths[0], recurse, limit_rate=2 * MIB),
            lambda: receive(
                client, remote / paths[0], local / paths[1], recurse, limit_rate=2 * MIB
            ),
        ]
        for copy in copies:
            begun = time.monotonic()
            copy()
            # The last tenth of a second's worth is on its way when it ends.
            assert time.monotonic() - begun >= size / (2 * MIB) - 0.11
        assert (local / "back/a").read_bytes() == LARGE[: MIB // 2]


class TestMany:
    def test_on_one_client(self, client: BaseSSHClient, remote: Path, local: Path) -> None:
        for number in range(10):
            write(local / str(number), LARGE[number:])
        self._all(lambda number: send(client, local / str(number), remote / str(number)), range(10))
        assert tree(remote) == tree(local)
        self._all(
            lambda number: receive(client, remote / str(number), local / "back" / str(number)),
            range(10),
        )
        assert tree(local / "back") == tree(remote)

    def test_on_several_clients(self, connect: Connect, remote: Path, local: Path) -> None:
        clients = [connect() for _ in range(4)]
        source = write(local / "one", LARGE)
        self._all(lambda number: send(clients[number], source, remote / str(number)), range(4))
        assert tree(remote) == {str(number): (0o644, LARGE) for number in range(4)}
        self._all(
            lambda number: receive(clients[number], remote / str(number), local / str(number)),
            range(4),
        )
        assert all((local / str(number)).read_bytes() == LARGE for number in range(4))

    def test_the_same_file_to_many_places(
        self, client: BaseSSHClient, remote: Path, local: Path
    ) -> None:
        source = write(local / "one", LARGE)
        self._all(lambda number: send(client, source, remote / str(number)), range(10))
        assert tree(remote) == {str(number): (0o644, LARGE) for number in range(10)}

    def _all(self, copy: Callable[[int], None], numbers: range) -> None:
        gevent.joinall([gevent.spawn(copy, number) for number in numbers], raise_error=True)


class TestSlowDisk:
    @pytest.mark.usefixtures("slow_disk")
    def test_reading_does_not_stop_others(
        self, client: BaseSSHClient, remote: Path, local: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        go_on, reading = threading.Event(), threading.Event()
        pread = os.pread

        def slow_pread(*args: Any) -> bytes:
            reading.set()
            assert go_on.wait(20)
            return pread(*args)

        source = write(local / "one", LARGE)
        monkeypatch.setattr(os, "pread", slow_pread)
        sending = gevent.spawn(send, client, source, remote / "two")
        eventually(reading.is_set, "a read")
        assert list(client.run_command("echo x").stdout or ()) == ["x"]
        assert not sending.ready()
        go_on.set()
        sending.get()
        assert (remote / "two").read_bytes() == LARGE

    def test_writing_does_not_stop_others_or_fill_memory(
        self,
        client: BaseSSHClient,
        account: Account,
        remote: Path,
        local: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        go_on = threading.Event()
        pwritev = os.pwritev

        def slow_pwritev(*args: Any) -> int:
            assert go_on.wait(20)
            return pwritev(*args)

        content = LARGE * 8
        give(account, write(remote / "one", content))
        monkeypatch.setattr(os, "pwritev", slow_pwritev)
        received = itertools.count()
        done = [0]

        def tell(_host: str, _path: str, count: int, _total: int) -> None:
            next(received)
            done[0] = count

        fetching = gevent.spawn(receive, client, remote / "one", local / "two", progress=tell)
        eventually(lambda: done[0] > 7 * MIB, "most of what may wait")
        assert list(client.run_command("echo x").stdout or ()) == ["x"]
        assert done[0] < 9 * MIB
        go_on.set()
        fetching.get()
        assert (local / "two").read_bytes() == content
        assert mode_of(local / "two") == 0o644
