"""Files over SFTP, as Python file objects."""

from __future__ import annotations

import gc
import io
import os
import random
import re
import shutil
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.threadpool import ThreadPool

from pssh.clients.base.files.client import SFTPClient
from pssh.clients.base.files.file import SFTPFile
from pssh.clients.base.files.open_handle import OpenHandle
from pssh.clients.base.files.session import SFTPSession
from pssh.clients.base.files.waiter import Waiter
from pssh.clients.base.single import BaseSSHClient
from pssh.exceptions import (
    ConnectionLostError,
    SFTPError,
    SFTPFailureError,
    SFTPIOError,
    SFTPUnsupportedError,
    Timeout,
)
from pssh.sftp import constants
from pssh.sftp.replies import DataPart, Status
from pssh.sftp.requests import Request
from tests.contract.conftest import Connect
from tests.contract.outputs import eventually
from tests.contract.programs import RunProgram
from tests.contract.test_sftp_client import eventually_closed, give_away, open_below, open_sftp
from tests.servers.cut_proxy import CutProxy

MEGABYTE = 1024 * 1024

#: Its content does not repeat, so that nothing can stand at another place unnoticed.
CONTENT = random.Random(1).randbytes(3 * MEGABYTE + 17)

LINES = [b"line %d%s\n" % (number, b"x" * (number % 90)) for number in range(20_000)]

#: Writing to it always fails for want of room.
FULL = "/dev/full"


@pytest.fixture
def sftp(server_client: BaseSSHClient) -> Iterator[SFTPClient]:
    """An SFTP client of each kind of server."""
    with open_sftp(server_client) as opened:
        yield opened


@pytest.fixture
def openssh(client: BaseSSHClient) -> Iterator[SFTPClient]:
    """An SFTP client of ``sshd``."""
    with open_sftp(client) as opened:
        yield opened


@pytest.fixture
def through_proxy(connect: Connect, proxy: CutProxy) -> Iterator[SFTPClient]:
    """An SFTP client whose connection runs through ``proxy``."""
    with open_sftp(connect(port=proxy.port, host_key_policy="ignore")) as opened:
        yield opened


@pytest.fixture
def path(remote_folder: Path) -> Path:
    """Where a file may be."""
    return remote_folder / "a file"


@pytest.fixture
def full(path: Path) -> Path:
    """A file with :data:`CONTENT`."""
    path.write_bytes(CONTENT)
    give_away(path)
    return path


class Asked:
    """Counts what is asked of the server.

    Attributes: ``reads``, ``read_bytes``, ``writes``, ``others``.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.reads = self.read_bytes = self.writes = self.others = 0
        submit = SFTPSession.submit

        def counted(
            session: SFTPSession,
            request: Request,
            waiter: Waiter,
            payload: memoryview | None = None,
        ) -> None:
            self.reads += request.kind == constants.SSH_FXP_READ
            self.read_bytes += request.asked
            self.writes += request.kind == constants.SSH_FXP_WRITE
            kinds = (constants.SSH_FXP_READ, constants.SSH_FXP_WRITE)
            self.others += request.kind not in kinds
            submit(session, request, waiter, payload)

        patch.setattr(SFTPSession, "submit", counted)


# Reading and writing


def test_write_and_read_in_odd_pieces(sftp: SFTPClient, path: Path) -> None:
    numbers = random.Random(2)
    with sftp.open(path, "w") as file:
        at = 0
        while at < len(CONTENT):
            size = numbers.choice([1, 100, 4099, 32768, 300_001, 700_000])
            assert file.tell() == at
            assert file.write(CONTENT[at : at + size]) == len(CONTENT[at : at + size])
            at += size
    assert path.read_bytes() == CONTENT
    with sftp.open(path) as file:
        found = b""
        while data := file.read(numbers.choice([1, 100, 4099, 32768, 300_001, 700_000])):
            found += data
            assert file.tell() == len(found)
        assert file.read(100) == b""
    assert found == CONTENT
    eventually_closed(path.parent)


def test_everything_at_once(sftp: SFTPClient, path: Path) -> None:
    with sftp.open(path, "wb") as file:
        assert file.write(memoryview(CONTENT)) == len(CONTENT)
    with sftp.open(path, "rb") as file:
        assert file.read() == CONTENT
        assert file.read() == b""
        file.seek(0)
        assert file.readall() == CONTENT
        file.seek(1)
        assert file.read(10 * MEGABYTE) == CONTENT[1:]
        file.seek(0)
        buffer = bytearray(4 * MEGABYTE)
        assert file.readinto(buffer) == len(CONTENT)
        assert buffer[: len(CONTENT)] == CONTENT
        assert file.readinto(buffer) == 0
        assert file.readinto(bytearray()) == 0
        assert file.read(0) == b""


def test_kinds_of_data(openssh: SFTPClient, path: Path) -> None:
    words = memoryview(bytes(8)).cast("I")
    with openssh.open(path, "w") as file:
        assert file.write(bytearray(b"abc")) == 3
        assert file.write(words) == 8
        assert file.write(b"") == 0
        with pytest.raises(TypeError, match="str"):
            file.write("text")
        file.writelines([b"x", b"y"])
    assert path.read_bytes() == b"abc" + bytes(8) + b"xy"


def test_an_empty_file(sftp: SFTPClient, path: Path) -> None:
    sftp.open(path, "w").close()
    assert path.stat().st_size == 0
    with sftp.open(path) as file:
        assert file.read(10) == b""
        assert file.read() == b""
        assert file.readline() == b""
        assert list(file) == []


def test_files_that_are_made_up(openssh: SFTPClient) -> None:
    with openssh.open("/proc/self/status") as file:
        assert file.stat().st_size == 0
        assert b"Name:" in file.read()
    with openssh.open("/dev/zero") as file:
        assert file.read(MEGABYTE + 1) == bytes(MEGABYTE + 1)


def test_a_file_that_grows(openssh: SFTPClient, path: Path) -> None:
    path.write_bytes(b"one\n")
    with openssh.open(path) as file, path.open("ab", buffering=0) as other:
        assert file.read() == b"one\n"
        assert file.read() == b""
        other.write(b"two\n")
        assert file.readline() == b"two\n"
        assert file.readline() == b""
        other.write(b"three\n")
        assert file.read(100) == b"three\n"


def test_lines(sftp: SFTPClient, path: Path) -> None:
    path.write_bytes(b"".join(LINES) + b"no ending")
    with sftp.open(path) as file:
        assert list(file) == [*LINES, b"no ending"]
        file.seek(0)
        assert file.readline(3) == b"lin"
        assert file.readline(0) == b""
        assert file.readline(1000) == b"e 0\n"
        assert file.readlines(1) == [LINES[1]]
        assert file.tell() == sum(map(len, LINES[:2]))


def test_long_lines(openssh: SFTPClient, path: Path) -> None:
    path.write_bytes(b"x" * MEGABYTE + b"\n" + b"y" * MEGABYTE)
    with openssh.open(path) as file:
        assert file.readline() == b"x" * MEGABYTE + b"\n"
        assert file.readline(1000) == b"y" * 1000
        assert file.readline() == b"y" * (MEGABYTE - 1000)


# Positions


def test_seeking(sftp: SFTPClient, full: Path) -> None:
    numbers = random.Random(3)
    with sftp.open(full) as file:
        assert file.seekable()
        for _ in range(100):
            near = numbers.random() < 0.5
            offset = file.tell() + 3000 if near else numbers.randrange(len(CONTENT) + 10)
            assert file.seek(offset) == offset
            size = numbers.choice([0, 1, 5000, 100_000])
            assert file.read(size) == CONTENT[offset : offset + size]
        assert file.seek(-5, os.SEEK_END) == len(CONTENT) - 5
        assert file.read() == CONTENT[-5:]
        assert file.seek(-3, os.SEEK_CUR) == len(CONTENT) - 3
        assert file.read(2) == CONTENT[-3:-1]
        assert file.seek(100, os.SEEK_END) == len(CONTENT) + 100
        assert file.read(1) == b""
        for offset, whence in ((-1, 0), (-1 - len(CONTENT), 2), (0, 7)):
            with pytest.raises(ValueError, match=r"before the file|whence"):
                file.seek(offset, whence)


def test_positions_are_whole_numbers(openssh: SFTPClient, full: Path) -> None:
    with openssh.open(full) as file:
        for position in (1.0, "1", None):
            with pytest.raises(TypeError):
                file.seek(position)  # type: ignore[arg-type]
        assert file.tell() == 0


def test_writing_somewhere(sftp: SFTPClient, full: Path) -> None:
    expected = bytearray(CONTENT)
    numbers = random.Random(4)
    with sftp.open(full, "r+") as file:
        for _ in range(100):
            offset = numbers.randrange(len(CONTENT) - 70_000)
            size = numbers.choice([1, 1000, 70_000])
            file.seek(offset)
            if numbers.random() < 0.5:
                file.write(bytes([offset % 256]) * size)
                expected[offset : offset + size] = bytes([offset % 256]) * size
            else:
                assert file.read(size) == expected[offset : offset + size]
            assert file.tell() == offset + size
        # What was fetched ahead is not what is there any more.
        file.seek(0)
        file.read(10)
        file.write(b"new")
        expected[10:13] = b"new"
        assert file.read(3) == expected[13:16]
        file.seek(10)
        assert file.read(3) == b"new"
    assert full.read_bytes() == expected


def test_a_hole(openssh: SFTPClient, path: Path) -> None:
    with openssh.open(path, "w+") as file:
        file.seek(MEGABYTE)
        file.write(b"x")
        file.seek(0)
        assert file.read() == bytes(MEGABYTE) + b"x"
        file.seek(2**64 - 1)
        with pytest.raises(ValueError, match="no part of a file"):
            file.write(b"xy")
        file.seek(0)
        assert file.write(b"y") == 1
    assert path.read_bytes()[:2] == b"y\0"


def test_truncate(sftp: SFTPClient, full: Path) -> None:
    with sftp.open(full, "r+") as file:
        file.read(10)
        assert file.truncate() == 10
        assert file.read() == b""
        assert full.read_bytes() == CONTENT[:10]
        assert file.truncate(20) == 20
        assert file.tell() == 10
        assert file.read() == bytes(10)
        with pytest.raises(ValueError, match="cannot express"):
            file.truncate(-1)


# Modes


def test_append(sftp: SFTPClient, path: Path) -> None:
    with sftp.open(path, "a") as file:
        file.write(b"one")
    with sftp.open(path, "a") as file:
        assert file.tell() == 3
        file.write(b"two")
        file.seek(0)
        file.write(b"three")
        assert file.tell() == 11
    assert path.read_bytes() == b"onetwothree"
    with sftp.open(path, "a+") as file:
        assert file.read() == b""
        file.seek(3)
        assert file.read(3) == b"two"
        file.write(b"four")
        assert file.read() == b""
        file.seek(0)
        assert file.read() == b"onetwothreefour"
        assert file.truncate(3) == 3
        file.write(b"five")
    assert path.read_bytes() == b"onefive"


def test_exclusive(sftp: SFTPClient, path: Path) -> None:
    with sftp.open(path, "x") as file:
        file.write(b"mine")
        with pytest.raises(SFTPIOError, match="Could not create") as caught:
            sftp.open(path, "xb")
    assert caught.value.path == str(path)
    assert path.read_bytes() == b"mine"


def test_write_anew(sftp: SFTPClient, full: Path) -> None:
    with sftp.open(full, "w+b") as file:
        assert file.read() == b""
        file.write(b"short")
        file.seek(1)
        assert file.read() == b"hort"
    assert full.read_bytes() == b"short"


@pytest.mark.parametrize(
    ("mode", "shown", "readable", "writable"),
    [
        ("r", "rb", True, False),
        ("br", "rb", True, False),
        ("r+b", "rb+", True, True),
        ("w", "wb", False, True),
        ("+w", "wb+", True, True),
        ("ab", "ab", False, True),
        ("a+", "ab+", True, True),
    ],
)
def test_modes(
    openssh: SFTPClient, full: Path, mode: str, shown: str, readable: bool, writable: bool
) -> None:
    with openssh.open(full, mode) as file:
        assert (file.name, file.mode) == (str(full), shown)
        assert (file.readable(), file.writable()) == (readable, writable)
        assert not file.isatty()
        assert shown in repr(file)
        with pytest.raises(io.UnsupportedOperation):
            file.fileno()
        if not readable:
            for read in (file.read, file.readline, lambda: file.readinto(bytearray(3))):
                with pytest.raises(io.UnsupportedOperation, match="not open for reading"):
                    read()
        if not writable:
            for write in (lambda: file.write(b"x"), file.truncate, file.fsync):
                with pytest.raises(io.UnsupportedOperation, match="not open for writing"):
                    write()
            file.flush()
    assert repr(file).startswith("<closed SFTPFile")


@pytest.mark.parametrize("mode", ["", "b", "rw", "rr", "r++", "rU", "rt", "w+t", "R"])
def test_impossible_modes(openssh: SFTPClient, path: Path, mode: str) -> None:
    with pytest.raises(ValueError, match="mode") as caught:
        openssh.open(path, mode)
    assert ("TextIOWrapper" in str(caught.value)) == ("t" in mode)
    assert not path.exists()


def test_attributes(openssh: SFTPClient, path: Path) -> None:
    with openssh.open(path, "x") as file:
        file.write(CONTENT)
        assert file.stat().st_size == len(CONTENT)
        assert file.stat() == openssh.stat(path)
        file.chmod(0o600)
        file.utime((1, 2))
        file.fsync()
    found = path.stat()
    assert (found.st_mode & 0o777, found.st_atime, found.st_mtime) == (0o600, 1, 2)


def test_fsync_is_missing(openssh: SFTPClient, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SFTPSession, "supports", lambda self, extension: False)
    with (
        openssh.open(path, "w") as file,
        pytest.raises(SFTPUnsupportedError, match="it has no fsync@"),
    ):
        file.fsync()


# What the standard library puts around it


def test_buffers_and_text(sftp: SFTPClient, path: Path) -> None:
    with io.TextIOWrapper(io.BufferedWriter(sftp.open(path, "w")), "utf-8") as text:
        for number in range(1000):
            print("ä", number, file=text)
    with io.TextIOWrapper(io.BufferedReader(sftp.open(path)), "utf-8") as text:
        assert text.readlines() == [f"ä {number}\n" for number in range(1000)]
    with io.TextIOWrapper(sftp.open(path), "utf-8") as text:
        assert sum(1 for _ in text) == 1000
    with io.BufferedRandom(sftp.open(path, "r+")) as buffered:
        buffered.write(b"first")
        assert buffered.readline() == "ä 1\n".encode()
        buffered.seek(0)
        assert buffered.read(5) == b"first"
    eventually_closed(path.parent)


def test_archives(openssh: SFTPClient, path: Path) -> None:
    with openssh.open(path, "w+") as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a", CONTENT)
            archive.writestr("b", b"small")
        with zipfile.ZipFile(file) as archive:
            assert archive.read("a") == CONTENT
            assert archive.read("b") == b"small"
        file.seek(0)
        file.truncate()
        with tarfile.open(fileobj=file, mode="w") as tar:
            info = tarfile.TarInfo("c")
            info.size = len(CONTENT)
            tar.addfile(info, io.BytesIO(CONTENT))
        file.seek(0)
        with tarfile.open(fileobj=file) as tar:
            member = tar.extractfile("c")
            assert member is not None
            assert member.read() == CONTENT


def test_copy(sftp: SFTPClient, full: Path) -> None:
    with sftp.open(full) as source, sftp.open(f"{full}2", "w") as target:
        shutil.copyfileobj(source, target)
    assert Path(f"{full}2").read_bytes() == CONTENT


# What it costs


def test_small_reads_share_round_trips(
    openssh: SFTPClient, full: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with openssh.open(full) as file:
        asked = Asked(monkeypatch)
        while file.read(100):
            pass
        assert asked.reads < 60
        assert len(CONTENT) <= asked.read_bytes <= len(CONTENT) + 5 * MEGABYTE
        assert asked.others == 0


def test_random_reads_fetch_little(
    openssh: SFTPClient, full: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with openssh.open(full) as file:
        asked = Asked(monkeypatch)
        for number in range(20):
            file.seek((19 - number) * 150_000)
            assert len(file.read(10)) == 10
        assert asked.read_bytes <= 20 * 128 * 1024


def test_a_short_file_costs_few_requests(
    openssh: SFTPClient, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(b"short")
    with openssh.open(path) as file:
        asked = Asked(monkeypatch)
        assert file.read() == b"short"
        assert asked.reads <= 6


def test_writes_do_not_wait(through_proxy: SFTPClient, proxy: CutProxy, path: Path) -> None:
    with through_proxy.open(path, "w") as file:
        proxy.stall()
        for number in range(200):
            assert file.write(b"%03d" % number) == 3
        proxy.resume()
        file.flush()
        assert path.stat().st_size == 600
    assert path.read_bytes() == b"".join(b"%03d" % number for number in range(200))


def test_reading_is_bounded(openssh: SFTPClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with openssh.open("/dev/zero") as file:
        asked = Asked(monkeypatch)
        taken = 0
        for _ in range(300):
            taken += len(file.read(MEGABYTE // 4))
            assert asked.read_bytes <= taken + 5 * MEGABYTE
        assert asked.read_bytes >= taken + 2 * MEGABYTE


def test_small_writes_share_packets(
    openssh: SFTPClient, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with openssh.open(path, "w") as file:
        asked = Asked(monkeypatch)
        file.writelines(LINES)
        assert asked.writes < 60
        file.seek(3)
        file.write(b"here")
        file.seek(0)
        file.write(b"there")
    assert path.read_bytes() == b"therere" + b"".join(LINES)[7:]


def test_small_writes_are_sent_without_a_flush(openssh: SFTPClient, path: Path) -> None:
    with openssh.open(path, "w") as file:
        file.write(b"sent")
        eventually(lambda: path.read_bytes() == b"sent", "the bytes to be sent")
        file.write(b" as well")
        eventually(lambda: path.read_bytes() == b"sent as well", "the bytes to be sent")
        buffered = io.BufferedWriter(file)
        buffered.write(b", and this")
        buffered.flush()
        eventually(lambda: path.stat().st_size == 22, "the bytes to be sent")
        buffered.detach()


# Errors


def test_a_full_disk(openssh: SFTPClient) -> None:
    file = openssh.open(FULL, "w")
    file.write(b"x")
    with pytest.raises(SFTPFailureError, match="Could not write /dev/full on host") as caught:
        file.flush()
    assert caught.value.path == FULL
    assert caught.value.host == "127.0.0.1"
    for again in (lambda: file.write(b"y"), file.flush, file.fsync, file.stat):
        with pytest.raises(SFTPFailureError):
            again()
    file.close()
    assert file.closed


def test_closing_tells_of_an_error(openssh: SFTPClient, remote_folder: Path) -> None:
    file = openssh.open(FULL, "w")
    file.write(b"x")
    with pytest.raises(SFTPFailureError, match="Could not write"):
        file.close()
    assert file.closed
    file.close()
    with pytest.raises(SFTPFailureError), openssh.open(FULL, "w") as file:
        file.write(b"x")
    with pytest.raises(SFTPFailureError), io.BufferedWriter(openssh.open(FULL, "w")) as buffered:
        buffered.write(b"x")
    eventually_closed(Path(FULL))


def test_a_later_write_tells_of_an_error(openssh: SFTPClient) -> None:
    with pytest.raises(SFTPFailureError), openssh.open(FULL, "w") as file:
        while True:
            file.write(bytes(MEGABYTE))


def test_reading_a_directory(sftp: SFTPClient, remote_folder: Path) -> None:
    def read() -> None:
        with sftp.open(remote_folder) as file:
            file.read(10)

    with pytest.raises(SFTPIOError) as caught:
        read()
    assert caught.value.path == str(remote_folder)
    eventually_closed(remote_folder)


def test_a_closed_file(openssh: SFTPClient, full: Path) -> None:
    file = openssh.open(full, "r+")
    file.close()
    assert file.closed
    file.close()
    operations: list[Callable[[], object]] = [
        *(file.read, file.readall, file.readline, file.flush, file.fsync, file.stat),
        *(file.truncate, file.tell, file.utime),
        lambda: file.readinto(bytearray(1)),
        lambda: file.write(b"x"),
        lambda: file.seek(0),
        lambda: file.chmod(0o600),
    ]
    for operation in operations:
        with pytest.raises(ValueError, match=r"File /.*/a file on host .* has been closed"):
            operation()
    with pytest.raises(ValueError, match="closed"), file:
        pass
    with pytest.raises(ValueError, match="closed"):
        next(file)
    eventually_closed(full.parent)


def test_the_client_is_closed(openssh: SFTPClient, full: Path) -> None:
    reader, writer = openssh.open(full), openssh.open(full, "r+")
    reader.read(10)
    openssh.close()
    with pytest.raises(SFTPError, match="closed by this client"):
        while reader.read(MEGABYTE):
            pass
    reader.close()
    with pytest.raises(SFTPError, match="closed by this client"):
        writer.write(b"x")
    writer.close()
    eventually_closed(full.parent)


@pytest.mark.parametrize("count", [100, 100_000, 1_000_000])
def test_cut_while_reading(
    through_proxy: SFTPClient, proxy: CutProxy, full: Path, count: int
) -> None:
    file = through_proxy.open(full)
    found = b""
    proxy.cut_after(count)
    with pytest.raises(ConnectionLostError, match="was lost") as caught:
        while data := file.read(10_000):
            found += data
    assert caught.value.host == "127.0.0.1"
    assert CONTENT.startswith(found)
    assert len(found) <= count
    assert file.tell() == len(found)
    with pytest.raises(ConnectionLostError, match="was lost"):
        file.read()
    file.close()
    eventually_closed(full.parent)


def test_cut_while_writing(through_proxy: SFTPClient, proxy: CutProxy, path: Path) -> None:
    file = through_proxy.open(path, "w")
    file.write(b"x" * 100)
    file.flush()

    def write() -> None:
        while True:
            file.write(bytes(50_000))

    writing = gevent.spawn(write)
    eventually(lambda: path.stat().st_size > MEGABYTE, "the file to grow")
    proxy.cut()
    writing.join()
    assert isinstance(writing.exception, ConnectionLostError)
    with pytest.raises(ConnectionLostError):
        file.write(b"x")
    file.close()
    eventually_closed(path.parent)


def test_cut_before_closing(through_proxy: SFTPClient, proxy: CutProxy, path: Path) -> None:
    reader = through_proxy.open("/dev/zero")
    writer = through_proxy.open(path, "w")
    proxy.stall()
    writer.write(b"x")
    proxy.cut()
    with pytest.raises(ConnectionLostError):
        writer.close()
    assert writer.closed
    reader.close()


def test_time_outs(through_proxy: SFTPClient, proxy: CutProxy, full: Path) -> None:
    reader, writer = through_proxy.open(full), through_proxy.open(f"{full}2", "w")
    assert reader.read(10) == CONTENT[:10]
    session = through_proxy.session
    patience, session.timeout = session.timeout, 0.2
    proxy.stall()
    with pytest.raises(Timeout) as caught:
        reader.read()
    assert caught.value.step == "read over SFTP"
    writer.write(b"x")
    with pytest.raises(Timeout) as caught:
        writer.flush()
    assert caught.value.step == "write over SFTP"
    session.timeout = patience
    proxy.resume()
    # Nothing was lost.
    assert reader.tell() == 10
    assert reader.read() == CONTENT[10:]
    writer.write(b"y")
    writer.close()
    reader.close()
    assert Path(f"{full}2").read_bytes() == b"xy"


def test_an_interrupted_write_is_not_forgotten(
    through_proxy: SFTPClient, proxy: CutProxy, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As for a server that is far away: more than fits into all buffers on the way.
    monkeypatch.setattr(SFTPSession, "writes_max", 8 * MEGABYTE)
    file = through_proxy.open(path, "w")
    file.write(b"small")
    proxy.stall()
    with gevent.Timeout(0.5, False):
        while True:
            file.write(bytes(MEGABYTE))
    proxy.resume()
    with pytest.raises(SFTPError):
        while True:
            file.write(b"x")
            gevent.sleep(0)
    file.close()
    # Half a request cannot be taken back: it is sent to its end, and others go on behind it.
    with through_proxy.open(path, "w") as again:
        again.write(b"again")
    assert path.read_bytes() == b"again"


# Several greenlets


def test_two_greenlets_share_a_file(openssh: SFTPClient, path: Path) -> None:
    path.write_bytes(b"".join(LINES))
    give_away(path)
    with openssh.open(path) as file:
        readers = [gevent.spawn(lambda: list(file)) for _ in range(3)]
        gevent.joinall(readers, raise_error=True)
    assert sorted(line for reader in readers for line in reader.value) == sorted(LINES)
    with openssh.open(path, "w") as file:
        writers = [gevent.spawn(file.writelines, LINES[start::3]) for start in range(3)]
        gevent.joinall(writers, raise_error=True)
    assert sorted(path.read_bytes().splitlines(keepends=True)) == sorted(LINES)


def test_two_files_at_the_same_time(sftp: SFTPClient, full: Path) -> None:
    def copy(name: str) -> None:
        with sftp.open(full) as source, sftp.open(f"{full}{name}", "w") as target:
            while data := source.read(100_000):
                target.write(data)

    gevent.joinall([gevent.spawn(copy, name) for name in "abc"], raise_error=True)
    for name in "abc":
        assert Path(f"{full}{name}").read_bytes() == CONTENT


# Forgotten files


@pytest.mark.filterwarnings("ignore:File .* was not closed:ResourceWarning")
@pytest.mark.parametrize("around", ["nothing", "a buffer", "text", "a cycle"])
def test_a_forgotten_file(openssh: SFTPClient, full: Path, around: str) -> None:
    reader: Any = openssh.open(full)
    writer: Any = openssh.open(f"{full}2", "w")
    if around == "a buffer":
        reader, writer = io.BufferedReader(reader), io.BufferedWriter(writer, 100)
    elif around == "text":
        reader = io.TextIOWrapper(io.BufferedReader(reader), "latin-1")
        writer = io.TextIOWrapper(io.BufferedWriter(writer), "latin-1")
    elif around == "a cycle":
        reader.itself, writer.itself = reader, writer
    reader.read(5)
    for number in range(1000):
        line = f"{number:04}\n"
        writer.write(line if around == "text" else line.encode())
    assert open_below(full.parent) == 2
    others: list[bool] = []
    other = gevent.spawn(others.append, True)
    del reader, writer
    gc.collect()
    # The collector has not let anybody else run.
    assert not others
    other.join()
    eventually_closed(full.parent)
    assert Path(f"{full}2").read_text() == "".join(f"{number:04}\n" for number in range(1000))
    assert openssh.stat(full).st_size == len(CONTENT)


def test_a_forgotten_file_warns(
    openssh: SFTPClient, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forgotten = openssh.open(path, "w"), openssh.open(FULL, "w")
    for file in forgotten:
        file.write(b"x")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del file, forgotten
        eventually(lambda: len(caught) == 2, "the warnings")
    said = sorted(str(each.message) for each in caught)
    assert re.match(r"File /dev/full on host .* was not closed", said[0])
    assert re.match(r"File .*/a file on host .* was not closed", said[1])
    assert {each.category for each in caught} == {ResourceWarning}
    assert "/dev/full" in caplog.text
    assert "lacks what was written last: Could not write" in caplog.text


@pytest.mark.filterwarnings("ignore:File .* was not closed:ResourceWarning")
def test_a_file_that_another_thread_collects(openssh: SFTPClient, full: Path) -> None:
    files: list[Any] = [openssh.open(full), io.BufferedReader(openssh.open(full))]
    threads = ThreadPool(1)
    try:
        threads.apply(files.clear)
    finally:
        threads.kill()
    eventually_closed(full.parent)
    assert openssh.stat(full).st_size == len(CONTENT)


def test_the_interpreter_ends(run_program: RunProgram, full: Path) -> None:
    run_program(f"""
        import io
        gc.unfreeze()
        from pssh.clients.base.files.client import SFTPClient
        from pssh.clients.base.files.session import open_session
        client = library.SSHClient(host, **settings)
        sftp = SFTPClient(open_session(*client.open_channel(None), 20), keep=client)
        path = {str(full)!r}
        reader = sftp.open(path)
        reader.read(10)
        buffered = io.BufferedReader(sftp.open(path))
        buffered.read(10)
        text = io.TextIOWrapper(io.BufferedWriter(sftp.open(path + "2", "w")))
        text.write("never sent")
        writer = sftp.open(path + "3", "w")
        writer.write(b"sent")
        cycle = [sftp.open(path), sftp.scandir("/")]
        cycle.append(cycle)
        sys.modules["kept until the end"] = [sftp.open(path), io.BufferedReader(sftp.open(path))]
    """)
    eventually_closed(full.parent)


# Any answer that a server may give


class OddSession:
    """Answers reads in parts, short, and in any order, as the protocol allows.

    :param content: of the file.
    :param seed: of what is random.
    """

    host, port, timeout = "odd", 22, 20.0
    read_size = 1000

    def __init__(self, content: bytes, seed: int) -> None:
        self._content = content
        self._random = random.Random(seed)
        self._waiting: list[tuple[Request, Waiter]] = []

    def submit(self, request: Request, waiter: Waiter, payload: memoryview | None = None) -> None:
        """Take a request."""
        if request.kind == constants.SSH_FXP_READ:
            self._waiting.append((request, waiter))
            gevent.spawn(self._answer)

    def _answer(self) -> None:
        request, waiter = self._waiting.pop(self._random.randrange(len(self._waiting)))
        offset, length = struct.unpack(">QI", request.body[-12:])
        data = self._content[offset : offset + length]
        if not data:
            waiter(Status(0, constants.SSH_FX_EOF))
            return
        data = data[: self._random.randint(1, len(data))]
        at = 0
        while at < len(data):
            end = self._random.randint(at + 1, len(data))
            waiter(DataPart(0, at, memoryview(data)[at:end], len(data) - end))
            at = end


@pytest.mark.parametrize("seed", range(20))
def test_odd_answers(seed: int) -> None:
    numbers = random.Random(seed)
    content = b"".join(LINES)[: numbers.randrange(100_000)]
    session: Any = OddSession(content, seed)
    local = io.BytesIO(content)
    with SFTPFile(OpenHandle(session, b"handle", b"/odd"), "/odd", "rb") as file:
        for _ in range(200):
            action = numbers.randrange(4)
            size = numbers.choice([-1, 0, 1, 10, 700, 5000])
            if action == 0:
                offset = numbers.randrange(len(content) + 10)
                assert file.seek(offset) == local.seek(offset)
            elif action == 1:
                assert file.read(size) == local.read(size)
            elif action == 2:
                assert file.readline(size) == local.readline(size)
            else:
                buffer, expected = bytearray(300), bytearray(300)
                assert file.readinto(buffer) == local.readinto(expected)
                assert buffer == expected
            assert file.tell() == local.tell()
