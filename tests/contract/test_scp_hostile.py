"""Copies over SCP with hosts that answer nonsense, or never: a clear error, and no harm done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import SCPError, Timeout
from tests.conftest import missing
from tests.contract.conftest import Connect
from tests.contract.outputs import READS_NOTHING, eventually
from tests.contract.scp_copies import (
    LARGE,
    MIB,
    OPTIONS,
    check_error,
    give,
    local,
    names,
    nothing_stays_open,
    receive,
    remote,
    send,
    tree,
    write,
)
from tests.servers.account import Account
from tests.servers.openssh import QUICK, OpenSSHServer
from tests.servers.process import MissingProgramError

__all__ = ["local", "nothing_stays_open", "remote"]


class FakeServer(NamedTuple):
    """A server, and the folder where its commands find programs first."""

    sshd: OpenSSHServer
    programs: Path


@pytest.fixture(scope="session")
def fake_sshd(
    tmp_path_factory: pytest.TempPathFactory, account: Account, authorized_keys: list[Path]
) -> Iterator[FakeServer]:
    """A server whose programs can be replaced."""
    programs = account.folder / f"programs-{os.getpid()}"
    try:
        server = OpenSSHServer(
            tmp_path_factory.mktemp("fake"),
            account=account,
            options={**QUICK, "SetEnv": f"PATH={programs}:/usr/bin:/bin"},
            host_keys=("ed25519",),
            authorized_keys=authorized_keys,
        )
    except MissingProgramError as error:
        missing(str(error))
    programs.mkdir()
    account.give(programs, 0o755)
    with server:
        yield FakeServer(server, programs)
    shutil.rmtree(programs)


FakeSCP = Callable[..., None]


@pytest.fixture
def fake(fake_sshd: FakeServer) -> Iterator[FakeSCP]:
    """A function that sets what a program does, scp or another one: lines of a shell script."""

    def make(script: str, name: str = "scp") -> None:
        # A new file: the old one may be running.
        new = write(fake_sshd.programs / "new", f"#!/bin/sh\n{script}\n".encode(), 0o755)
        new.rename(fake_sshd.programs / name)

    yield make
    for program in fake_sshd.programs.iterdir():
        program.unlink()


@pytest.fixture
def client(fake: FakeSCP, fake_sshd: FakeServer, connect: Connect) -> BaseSSHClient:
    """A client of a host that has a program of its own in the place of scp."""
    return connect(fake_sshd.sshd, timeout=10)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (r"printf 'C0644 4 ../evil\nevil\0'", "no file name: '../evil'"),
        (r"printf 'C0644 4 /tmp/evil\nevil\0'", "no file name: '/tmp/evil'"),
        (r"printf 'C0644 4 ..\nevil\0'", "no file name: '..'"),
        (r"printf 'D0755 0 d\nC0644 4 evil\nevil\0E\n'", "a directory instead of a file"),
        (r"printf 'C0644 1 two\nx\0C0644 1 evil\ny\0'", "more than was asked for"),
        (r"printf 'C0644 1 two\nx\0T1 0 1 0\n'", "more than was asked for"),
        (r"printf 'C0644 99999999999999999999 two\n'", "malformed"),
        (r"printf 'C0644 9223372036854775808 two\n'", "beyond all limits"),
        (r"printf 'C0644 -1 two\n'", "malformed"),
        (r"printf 'C0644 3 two\nxyz\1scp: two: read error\n'", "two: read error"),
        (r"printf 'C0644 3 two\nxyzX'", "instead of the end of a file"),
        (r"printf 'C0644 10 two\nxyz'", "in the middle of two, 7 bytes before its end"),
        (r"printf 'C0644 3 two\nxyz\0'; exit 3", r"failed: exit status 3"),
        (r"printf 'C0644 3 two\nxyz\0'; echo bad >&2; exit 3", r"bad \(exit status 3\)"),
        (r"printf 'C0644 3 two\nxyz\0'; kill -9 $PPID", "killed by signal KILL"),
        (r"echo bad >&2; kill -9 $PPID", r"bad \(it was killed by signal KILL\)"),
        (r"printf 'welcome\n'", "start-up file"),
        (r"printf '\1scp: \033[31mred\n'", r"\\x1b\[31mred"),
        (r"printf '\2no\n'", "gave up: no"),
        (r"exec tr '\0' x </dev/zero", "instead of an SCP record"),
        (r"printf C; exec tr '\0' x </dev/zero", "a line of more than"),
        ("exit 0", "before it had sent everything"),
        ("exec true", "before it had sent everything"),
    ],
)
def test_what_it_sends(
    client: BaseSSHClient, fake: FakeSCP, local: Path, script: str, reason: str
) -> None:
    fake(script)
    for options in OPTIONS:
        with pytest.raises(SCPError, match=reason) as caught:
            receive(client, "two", local / "two", **options)
        check_error(caught.value, client, "two")
        if "resume" in options:
            (local / "two").unlink(missing_ok=True)
        assert names(local.parent) == ["local"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (r"printf 'D0755 0 ..\nC0644 4 evil\nevil\0E\n'", "no file name"),
        (r"printf 'D0755 0 top\nD0755 0 ..\nC0644 4 evil\nevil\0E\nE\n'", "no file name"),
        (r"printf 'D0755 0 top\nC0644 4 ../evil\nevil\0E\n'", "no file name"),
        (r"printf 'D0755 0 top\nE\nE\n'", "instead of an SCP record|where none ends|more than"),
        (r"printf 'D0755 0 top\nE\nC0644 4 evil\nevil\0'", "more than was asked for"),
        (r"printf 'D0755 0 top\nE\nD0755 0 evil\nE\n'", "more than was asked for"),
        (r"printf 'D0755 0 top\nC0644 4 good\ngood\0'", "before it had sent everything"),
        ("while :; do printf 'D0755 0 d\\n'; done", "nested more than 256 deep"),
    ],
)
def test_what_it_sends_for_a_directory(
    client: BaseSSHClient,
    fake: FakeSCP,
    local: Path,
    script: str,
    reason: str,
) -> None:
    fake(script)
    with pytest.raises(SCPError, match=reason):
        receive(client, "top", local / "back", recurse=True)
    assert names(local.parent)[:1] == ["local"]
    assert not any("evil" in name for name in names(local.parent))
    assert not any(path.is_symlink() for path in local.rglob("*"))
    shutil.rmtree(local / "back", ignore_errors=True)


def test_its_names_do_not_count(client: BaseSSHClient, fake: FakeSCP, local: Path) -> None:
    fake(r"printf 'C4755 1 evil\nx\0'")
    receive(client, "~/some/two", f"{local}/")
    assert tree(local) == {"two": (0o755, b"x")}
    fake(r"printf 'D0755 0 evil\nC0644 1 one\nx\0E\n'")
    receive(client, "top", local / "back", recurse=True)
    assert names(local) == ["back", "back/one", "two"]


def test_a_part_of_a_name_becomes_no_slash(
    client: BaseSSHClient, fake: FakeSCP, local: Path
) -> None:
    fake(r"printf 'D0755 0 top\nC0644 4 ..+AC8-evil\nevil\0E\n'")
    # A name is its bytes, whatever they mean in an encoding.
    receive(client, "top", local / "back", recurse=True, encoding="utf-7")
    assert tree(local) == {"back": (0o755, None), "back/..+AC8-evil": (0o644, b"evil")}


def test_many_tiny_pieces(client: BaseSSHClient, fake: FakeSCP, local: Path) -> None:
    fake(
        r"printf 'D0755 0 top\n'; i=0; while [ $i -lt 1000 ]; do "
        r"""printf "C0644 1 $i\nx\0"; i=$((i+1)); done; printf 'E\n'"""
    )
    receive(client, "top", local / "back", recurse=True)
    assert len(names(local / "back")) == 1000


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo welcome", "start-up file"),
        (r"printf '\0\0\0\0\0\0'; exec cat >/dev/null", "reply to nothing"),
        (r"printf '\0'; read r; printf '\0'; yes; exec cat >/dev/null", "instead of a reply"),
        (r"printf '\0\0'; head -c 100000 >/dev/null; exit 5", "middle of|ended"),
        (r"printf '\0'; read r; printf '\0'; head -c 9999 >/dev/null; echo bad >&2; exit 5",
         r"bad \(exit status 5\)"),
        (r"printf '\0'; read r; printf '\1scp: two: no room\n'; cat >/dev/null", "no room"),
        (r"printf '\0'; read r; printf '\2scp: two: no room\n'", "gave up.*no room"),
        (r"exec tr '\0' '\1' </dev/zero", "a message of more than"),
        ("exit 0", "ended before it started"),
        ("echo bad >&2; exit 1", r"ended before it started: bad \(exit status 1\)"),
    ],
)  # fmt: skip
def test_what_it_answers(
    client: BaseSSHClient,
    fake: FakeSCP,
    remote: Path,
    local: Path,
    script: str,
    reason: str,
) -> None:
    fake(script)
    source = write(local / "one", LARGE)
    for path, target, recurse in [(source, remote / "two", False), (local, remote, True)]:
        with pytest.raises(SCPError, match=reason) as caught:
            send(client, path, target, recurse)
        check_error(caught.value, client, target)


def test_an_exit_status_without_a_word(client: BaseSSHClient, fake: FakeSCP, local: Path) -> None:
    source = write(local / "one", b"12345")
    fake(
        r"printf '\0'; read r; printf '\0'; head -c 6 >/dev/null; printf '\0'; "
        r"cat >/dev/null; exit 3"
    )
    with pytest.raises(SCPError, match="the remote scp failed: exit status 3"):
        send(client, source, "two")


@pytest.mark.parametrize(
    "script",
    [
        READS_NOTHING,
        rf"printf '\0\0'; {READS_NOTHING}",
        r"exec yes >&2",
        rf"printf 'C0644 5 two\nx'; {READS_NOTHING}",
        rf"printf 'C0644 1 two\nx\0'; {READS_NOTHING}",
    ],
)
def test_what_never_ends(
    fake: FakeSCP,
    fake_sshd: FakeServer,
    connect: Connect,
    local: Path,
    script: str,
) -> None:
    fake(script)
    client = connect(fake_sshd.sshd, timeout=0.5)
    source = write(local / "one", LARGE)
    if "C0644" not in script:
        with pytest.raises(Timeout) as caught:
            send(client, source, "two")
        assert caught.value.step == "copy with SCP"
    if r"printf '\0\0'" not in script:
        with pytest.raises(Timeout) as caught:
            receive(client, "two", local / "two")
        assert caught.value.step == "copy with SCP"
    assert names(local) == ["one"]


@pytest.mark.parametrize("recurse", [False, True])
def test_a_file_that_is_begun_without_an_answer(
    fake: FakeSCP,
    fake_sshd: FakeServer,
    connect: Connect,
    remote: Path,
    local: Path,
    recurse: bool,
) -> None:
    client = connect(fake_sshd.sshd, timeout=0.5)
    write(local / "one", LARGE)
    source, target = (local, remote) if recurse else (local / "one", remote / "one")
    write(remote / "one", b"old").chmod(0o666)
    fake(rf"printf '\0'; read r; {READS_NOTHING}")
    with pytest.raises(Timeout):
        send(client, source, target, recurse)
    old = remote / "one"
    old.rename(remote / "kept")
    fake(rf"printf '\0'; read r; : > {remote}/one; {READS_NOTHING}")
    with pytest.raises(Timeout):
        send(client, source, target, recurse)
    # What is not refused may be there, with nothing in it yet.
    eventually(lambda: names(remote) == ["kept"], "the file to be removed")
    assert (remote / "kept").read_bytes() == b"old"


def test_standard_error_is_drained(
    client: BaseSSHClient, fake: FakeSCP, remote: Path, local: Path
) -> None:
    """More of it than any window holds, while both sides are busy."""
    noise = "head -c 6000000 /dev/zero >&2"
    source = write(local / "one", LARGE)
    fake(f'{noise}; exec /usr/bin/scp "$@"')
    send(client, source, remote / "two")
    assert (remote / "two").read_bytes() == LARGE
    receive(client, remote / "two", local / "two")
    assert (local / "two").read_bytes() == LARGE


def test_refused_tails(
    client: BaseSSHClient, fake: FakeSCP, account: Account, remote: Path, local: Path
) -> None:
    """What goes on after an earlier copy is checked too."""
    fake('exec /usr/bin/scp "$@"')
    source = give(account, write(remote / "one", LARGE))
    for script, reason in [
        ("printf xxx", "changed while it was copied"),
        ("exec tr '\\0' x </dev/zero", "changed while it was copied"),
        ("echo bad >&2; exit 1", r"bad \(exit status 1\)"),
        ("exit 127", "exit status 127"),
    ]:
        fake(script, "tail")
        write(local / "two", LARGE[:MIB])
        with pytest.raises(SCPError, match=reason):
            receive(client, source, local / "two", resume=True)
        there = (local / "two").read_bytes()
        assert there.startswith(LARGE[:MIB])
        assert len(there) <= len(LARGE)


def test_refused_appends(client: BaseSSHClient, fake: FakeSCP, remote: Path, local: Path) -> None:
    source = write(local / "one", LARGE)
    for script, reason in [
        ("head -c 1000000", "has 1000000 bytes rather than"),
        ("exec /bin/true", "has 0 bytes rather than"),
        ("echo bad >&2; exit 1", r"bad \(exit status 1\)"),
    ]:
        fake(script, "cat")
        with pytest.raises(SCPError, match=reason):
            send(client, source, remote / "two", resume=True)
        (remote / "two").unlink()
