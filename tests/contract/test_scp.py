"""Copies over SCP: every direction, every option, and everything that can go wrong."""

from __future__ import annotations

import logging
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import InvalidAPIUseError, SCPError
from tests.conftest import missing
from tests.contract.conftest import Connect
from tests.contract.copies import client, connected, kept_clients
from tests.contract.scp_copies import (
    LARGE,
    check_error,
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
from tests.servers.server import Server

__all__ = ["client", "connected", "kept_clients", "local", "remote"]

CONTENTS = [b"", b"x", LARGE]
WAYS: list[dict[str, Any]] = [{}, {"atomic": True}, {"resume": True}]
NAMES = ["plain", "a b", 'it\'s "q"', "-r", "$HOME `a` \\ *", "\udcff\udcfe", "é", " ", "~", "=x"]


@pytest.fixture(autouse=True)
def scp_is_here() -> None:
    if shutil.which("scp") is None:
        missing("scp is not installed (Debian package openssh-client).")


class TestFiles:
    @pytest.mark.parametrize("content", CONTENTS, ids=len)
    def test_there_and_back(
        self, connect: Connect, server: Server, remote: Path, local: Path, content: bytes
    ) -> None:
        client = connect(server)
        write(local / "one", content, 0o640)
        send(client, local / "one", remote / "two")
        assert tree(remote) == {"two": (0o640, content)}
        receive(client, remote / "two", local / "three")
        assert tree(local)["three"] == (0o640, content)

    def test_modes(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        for mode in (0o600, 0o755, 0o444, 0o4755, 0o4555, 0o1777):
            source, target = local / f"{mode:o}", remote / f"{mode:o}"
            write(source, b"x", mode)
            for options in WAYS:
                send(client, source, target, **options)
                assert mode_of(target) == mode
                target.unlink()
            give(account, write(target), mode)
            receive(client, target, local / "back")
            # No server may give these bits to a local file.
            assert mode_of(local / "back") == mode & 0o777

    def test_existing_files_are_overwritten(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        write(local / "one", b"new", 0o604)
        give(account, write(remote / "two", LARGE, 0o666))
        send(client, local / "one", remote / "two")
        assert tree(remote) == {"two": (0o604, b"new")}
        write(local / "three", LARGE)
        receive(client, remote / "two", local / "three")
        assert tree(local)["three"] == (0o604, b"new")

    @pytest.mark.parametrize("preserve", [False, True])
    def test_times(
        self,
        client: BaseSSHClient,
        account: Account,
        remote: Path,
        local: Path,
        preserve: bool,
    ) -> None:
        file = write(local / "one")
        os.utime(file, (1_000_000_000, 1_100_000_000))
        send(client, file, remote / "two", preserve_times=preserve)
        found = (remote / "two").stat()
        assert (found.st_mtime == 1_100_000_000) is preserve
        assert (found.st_atime == 1_000_000_000) is preserve
        os.utime(remote / "two", (1_000_000_000, 1_100_000_000))
        receive(client, remote / "two", local / "three", preserve_times=preserve)
        found = (local / "three").stat()
        assert (found.st_mtime == 1_100_000_000) is preserve
        assert (found.st_atime == 1_000_000_000) is preserve

    @pytest.mark.parametrize("to_folder", [False, True])
    def test_names(self, client: BaseSSHClient, remote: Path, local: Path, to_folder: bool) -> None:
        back = local / "back"
        for name in NAMES:
            write(local / name, os.fsencode(name))
            send(client, local / name, f"{remote}/" if to_folder else f"{remote}/{name}")
            receive(client, f"{remote}/{name}", f"{back}/" if to_folder else back / name)
        assert tree(remote) == {name: (0o644, os.fsencode(name)) for name in NAMES}
        assert tree(back) == tree(remote)

    def test_a_remote_name_with_a_line_feed(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        give(account, write(remote / "new\nline", b"1"))
        receive(client, remote / "new\nline", f"{local}/")
        assert tree(local) == {"new\nline": (0o644, b"1")}
        write(local / "plain", b"2")
        send(client, local / "plain", remote / "other\nline")
        assert (remote / "other\nline").read_bytes() == b"2"

    @pytest.mark.parametrize("options", WAYS)
    def test_a_local_name_with_a_line_feed(
        self, client: BaseSSHClient, remote: Path, local: Path, options: dict[str, Any]
    ) -> None:
        write(local / "new\nline")
        with pytest.raises(SCPError, match="cannot carry a name with a line feed") as caught:
            send(client, local / "new\nline", remote / "other", **options)
        check_error(caught.value, client, remote / "other")
        assert names(remote) == []

    def test_encoding(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        give(account, write(remote / "\udce9", b"1"))
        receive(client, f"{remote}/é", f"{local}/", encoding="latin-1")
        # As over SFTP, a name keeps its bytes.
        assert names(local) == ["\udce9"]
        receive(client, remote, local / "all", recurse=True, encoding="latin-1")
        assert names(local / "all") == ["\udce9"]

    def test_relative_remote_paths(
        self, client: BaseSSHClient, account: Account, local: Path
    ) -> None:
        name = f"scp-{os.getpid()}"
        write(local / "one", b"1")
        try:
            for target in (name, f"~/{name}", f"./{name}", f"~{account.name}/{name}"):
                send(client, local / "one", f"{target} x/y/two")
                assert tree(account.home / f"{name} x") == {
                    "y": (0o755, None),
                    "y/two": (0o644, b"1"),
                }
                receive(client, f"{target} x/y/two", local / "two")
                receive(client, f"{target} x", local / "all", recurse=True)
                assert (local / "all/y/two").read_bytes() == (local / "two").read_bytes() == b"1"
                (local / "two").unlink()
                shutil.rmtree(local / "all")
                shutil.rmtree(account.home / f"{name} x")
            send(client, local / "one", f"~/{name}")
            send(client, local / "one", "~")
            assert (account.home / name).read_bytes() == b"1"
            assert (account.home / "one").read_bytes() == b"1"
        finally:
            shutil.rmtree(account.home / f"{name} x", ignore_errors=True)
            (account.home / name).unlink(missing_ok=True)
            (account.home / "one").unlink(missing_ok=True)

    @pytest.mark.parametrize("options", WAYS)
    def test_missing_directories_are_made(
        self, client: BaseSSHClient, remote: Path, local: Path, options: dict[str, Any]
    ) -> None:
        file = write(local / "one", b"1")
        send(client, file, remote / "a b/c/two", **options)
        send(client, file, f"{remote}/d/e/", **options)
        assert names(remote) == ["a b", "a b/c", "a b/c/two", "d", "d/e", "d/e/one"]
        receive(client, remote / "d/e/one", local / "f g/h/three", **options)
        receive(client, remote / "d/e/one", f"{local}/i/j/", **options)
        assert (local / "f g/h/three").read_bytes() == (local / "i/j/one").read_bytes() == b"1"

    @pytest.mark.parametrize("options", WAYS)
    def test_a_target_that_is_a_directory(
        self,
        client: BaseSSHClient,
        account: Account,
        remote: Path,
        local: Path,
        options: dict[str, Any],
    ) -> None:
        file = write(local / "one", b"1")
        give(account, remote, 0o755)
        (remote / "in").mkdir()
        give(account, remote / "in")
        send(client, file, remote / "in", **options)
        assert names(remote) == ["in", "in/one"]
        (local / "in").mkdir()
        receive(client, remote / "in/one", local / "in", **options)
        assert (local / "in/one").read_bytes() == b"1"

    @pytest.mark.parametrize("options", WAYS)
    def test_a_target_whose_name_a_directory_has(
        self,
        client: BaseSSHClient,
        account: Account,
        remote: Path,
        local: Path,
        options: dict[str, Any],
    ) -> None:
        file = write(local / "one", b"1")
        (remote / "one").mkdir()
        give(account, remote / "one", 0o755)
        with pytest.raises(SCPError, match="directory") as caught:
            send(client, file, f"{remote}/", **options)
        check_error(caught.value, client, f"{remote}/")
        assert names(remote) == ["one"]
        give(account, write(remote / "two"))
        (local / "two").mkdir()
        with pytest.raises(IsADirectoryError) as local_error:
            receive(client, remote / "two", f"{local}/", **options)
        check_error(local_error.value, client, local / "two")
        assert names(local) == ["one", "two"]

    def test_directories_need_recurse(
        self, client: BaseSSHClient, remote: Path, local: Path
    ) -> None:
        with pytest.raises(ValueError, match=re.escape(f"{local} is a directory")):
            send(client, local, remote / "x")
        assert names(remote) == []
        for options in WAYS:
            with pytest.raises(ValueError, match=re.escape(f"{remote} is a directory")):
                receive(client, remote, local / "x", **options)
        assert names(local) == []

    def test_a_file_may_be_copied_with_recurse(
        self, client: BaseSSHClient, remote: Path, local: Path
    ) -> None:
        write(local / "one", LARGE)
        send(client, local / "one", remote / "a/two", recurse=True)
        receive(client, remote / "a/two", local / "b/three", recurse=True)
        assert (local / "b/three").read_bytes() == LARGE

    def test_links_that_the_user_names(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        write(local / "one", b"1")
        (local / "link").symlink_to("one")
        send(client, local / "link", f"{remote}/")
        assert tree(remote) == {"link": (0o644, b"1")}
        give(account, write(remote / "new", b"22"))
        for options in WAYS:
            receive(client, remote / "new", local / "link", **options)
            assert (local / "link").is_symlink()
            assert (local / "one").read_bytes() == b"22"

    def test_devices_that_the_user_names(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        write(local / "one", LARGE)
        send(client, local / "one", "/dev/null") if account.temporary else None
        give(account, write(remote / "one", LARGE))
        receive(client, remote / "one", "/dev/null")
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
        assert mode_of(Path("/dev/null")) == 0o666

    def test_what_no_command_can_contain(self, client: BaseSSHClient, local: Path) -> None:
        write(local / "one")
        for path in ("", "a\0b"):
            with pytest.raises(InvalidAPIUseError):
                send(client, local / "one", path)
            with pytest.raises(InvalidAPIUseError):
                receive(client, path, local / "two")
        assert names(local) == ["one"]


def make_tree(top: Path) -> Path:
    """A folder with everything that may be copied."""
    top.mkdir()
    for name in NAMES:
        inner = top / name
        inner.mkdir()
        for number, content in enumerate([b"", b"x", os.fsencode(name) * 10_000]):
            write(inner / str(number), content, 0o600 + number)
    (top / "empty/in/an empty").mkdir(parents=True)
    write(top / "large", LARGE)
    write(top / "setuid", b"s", 0o4755)
    (top / "plain").chmod(0o700)
    (top / "read only").mkdir()
    write(top / "read only" / "file", b"r", 0o400)
    (top / "read only").chmod(0o500)
    return top


def readable(found: dict[str, tuple[int, bytes | None]]) -> dict[str, tuple[int, bytes | None]]:
    """A tree with the modes that it has once it was fetched."""
    return {path: (mode & 0o777, content) for path, (mode, content) in found.items()}


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What the library has warned of."""
    logger = logging.getLogger("pssh")
    logger.addHandler(caplog.handler)
    yield lambda: [record.getMessage() for record in caplog.records]
    logger.removeHandler(caplog.handler)


Warned = Callable[[], list[str]]


class TestDirectories:
    @pytest.mark.parametrize("options", WAYS)
    def test_there_and_back(
        self, client: BaseSSHClient, remote: Path, local: Path, options: dict[str, Any]
    ) -> None:
        expected = tree(make_tree(local / "top"))
        send(client, local / "top", remote / "new/top", recurse=True, **options)
        assert tree(remote / "new/top") == expected
        receive(client, remote / "new/top", local / "new/back", recurse=True, **options)
        assert tree(local / "new/back") == readable(expected)

    def test_into_what_is_there(self, client: BaseSSHClient, remote: Path, local: Path) -> None:
        make_tree(local / "top")
        shutil.rmtree(local / "top/read only")
        expected = tree(local / "top")
        for target in (remote, f"{remote}/"):
            send(client, local / "top", target, recurse=True)
            assert tree(remote) == expected
        (local / "back").mkdir(mode=0o711)
        write(local / "back/more")
        for target in (local / "back", f"{local}/back/"):
            receive(client, remote, target, recurse=True)
            assert tree(local / "back") == {**readable(expected), "more": (0o644, b"x")}
        assert mode_of(local / "back") == 0o711

    def test_times(self, client: BaseSSHClient, remote: Path, local: Path) -> None:
        (local / "top/in").mkdir(parents=True)
        times = {"in/large": 1.0e9, "in/small": 1.1e9, "in": 1.2e9}
        write(local / "top/in/large", LARGE)
        write(local / "top/in/small")
        for path, changed in times.items():
            os.utime(local / "top" / path, (changed + 10, changed))
        send(client, local / "top", remote / "top", recurse=True, preserve_times=True)
        receive(client, remote / "top", local / "back", recurse=True, preserve_times=True)
        for folder in (remote / "top", local / "back"):
            assert {path: (folder / path).stat().st_mtime for path in times} == times

    def test_an_empty_directory(self, client: BaseSSHClient, remote: Path, local: Path) -> None:
        (local / "top").mkdir()
        send(client, local / "top", remote / "top", recurse=True)
        receive(client, remote / "top", local / "back", recurse=True)
        assert (remote / "top").is_dir()
        assert (local / "back").is_dir()

    def test_links_are_followed_and_loops_left_out(
        self, client: BaseSSHClient, remote: Path, local: Path, warnings: Warned
    ) -> None:
        top = local / "top"
        (top / "a/b").mkdir(parents=True)
        write(top / "a/file", b"1")
        (top / "a/link").symlink_to("file")
        (top / "a/up").symlink_to("..")
        (top / "a/itself").symlink_to(".")
        (top / "b").symlink_to("a/b")
        # Two that lead to each other.
        (top / "a/b/c").symlink_to("../../d")
        (top / "d").mkdir()
        (top / "d/back").symlink_to("../a")
        (top / "nowhere").symlink_to("gone")
        (top / "below").symlink_to("a/file/x")
        (top / "circle").symlink_to("circle")
        os.mkfifo(top / "pipe")
        send(client, top, remote, recurse=True)
        assert not any(path.is_symlink() for path in remote.rglob("*"))
        assert tree(remote)["a/link"] == (0o644, b"1")
        assert {"b", "b/c", "a/b/c", "d/back", "d/back/file"} <= set(names(remote))
        assert not {"a/up", "a/itself", "nowhere", "pipe"} & set(names(remote))
        said = "\n".join(warnings())
        for path, why in [
            ("a/up", f"leads back to {top}"),
            ("a/itself", "leads back to"),
            ("a/b/c/back", "leads back to"),
            ("nowhere", "is a link that leads nowhere"),
            ("below", "is a link that leads nowhere"),
            ("circle", "is a link that leads nowhere"),
            ("pipe", "is a named pipe"),
        ]:
            assert f"{top / path} {why}" in said

    def test_what_the_host_leaves_out(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path, warnings: Warned
    ) -> None:
        (remote / "top").mkdir()
        write(remote / "top/file", b"1")
        (remote / "top/link").symlink_to("file")
        (remote / "top/nowhere").symlink_to("gone")
        (remote / "top/loop").symlink_to("loop")
        os.mkfifo(remote / "top/pipe")
        give_all(account, remote / "top")
        receive(client, remote / "top", local / "back", recurse=True)
        assert tree(local / "back") == {"file": (0o644, b"1"), "link": (0o644, b"1")}
        assert not (local / "back/link").is_symlink()
        said = "\n".join(warnings())
        assert all(f"top/{name}: " in said for name in ("nowhere", "loop", "pipe"))

    def test_a_loop_of_remote_links_ends(
        self, client: BaseSSHClient, remote: Path, local: Path, warnings: Warned
    ) -> None:
        (remote / "top").mkdir()
        (remote / "top/again").symlink_to(".")
        receive(client, remote / "top", local / "back", recurse=True)
        assert "Too many levels of symbolic links" in "\n".join(warnings())
        assert not any(path.is_symlink() for path in (local / "back").rglob("*"))

    @pytest.mark.parametrize("kind", ["file", "directory"])
    def test_a_remote_name_with_a_line_feed(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path, kind: str
    ) -> None:
        path = remote / "top/new\nline"
        path.parent.mkdir()
        write(path) if kind == "file" else path.mkdir()
        give_all(account, remote / "top")
        with pytest.raises(SCPError):
            receive(client, remote / "top", local / "back", recurse=True)
        assert not any("line" in name for name in names(local))

    @pytest.mark.parametrize("kind", ["file", "directory"])
    def test_a_local_name_with_a_line_feed(
        self, client: BaseSSHClient, remote: Path, local: Path, kind: str
    ) -> None:
        path = local / "new\nline"
        write(path) if kind == "file" else path.mkdir()
        for options in ({}, {"atomic": True}):
            with pytest.raises(SCPError, match="line feed"):
                send(client, local, remote / "top", recurse=True, **options)
            assert names(remote) == []

    def test_many_files(self, client: BaseSSHClient, remote: Path, local: Path) -> None:
        (local / "top").mkdir()
        for number in range(300):
            write(local / "top" / str(number), str(number).encode() * (number % 300))
        send(client, local / "top", remote / "top", recurse=True)
        assert tree(remote / "top") == tree(local / "top")
        receive(client, remote / "top", local / "back", recurse=True)
        assert tree(local / "back") == tree(local / "top")

    def test_local_links_that_lead_out_are_not_written_through(
        self, client: BaseSSHClient, account: Account, remote: Path, local: Path
    ) -> None:
        (remote / "top/in").mkdir(parents=True)
        write(remote / "top/in/file", b"evil")
        give_all(account, remote / "top")
        (local / "outside").mkdir()
        write(local / "outside/file", b"good")
        back = local / "back"
        back.mkdir()
        (back / "in").symlink_to(local / "outside")
        with pytest.raises(SCPError, match="nothing is written through it"):
            receive(client, remote / "top", back, recurse=True)
        (back / "in").unlink()
        (back / "in").mkdir()
        (back / "in/file").symlink_to(local / "outside/file")
        with pytest.raises(SCPError, match="nothing is written through it"):
            receive(client, remote / "top", back, recurse=True)
        assert tree(local / "outside") == {"file": (0o644, b"good")}
        # A link that stays in there may be used.
        shutil.rmtree(back / "in")
        (back / "really").mkdir()
        (back / "in").symlink_to("really")
        receive(client, remote / "top", back, recurse=True)
        assert (back / "really/file").read_bytes() == b"evil"
