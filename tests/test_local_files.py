"""Local files that are copied: read once for all hosts, and written without surprises."""

from __future__ import annotations

import errno
import gc
import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
import pytest

from pssh.clients.base.files import page_cache
from pssh.clients.base.files import source as source_module
from pssh.clients.base.files.page_cache import Block
from pssh.clients.base.files.source import BLOCK, Source, Sources
from pssh.clients.base.files.target import Target
from pssh.clients.base.threads import in_thread

CONTENT = bytes(range(256)) * (3 * BLOCK // 256) + b"the end"


def open_files(path: Path) -> int:
    """How many descriptors of a file this process has."""
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(path))
        except FileNotFoundError:
            continue  # that of the listing
    return count


def views(*parts: bytes) -> list[memoryview]:
    """Bytes as they come from the network."""
    return [memoryview(part) for part in parts]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of a little more than three blocks."""
    made = tmp_path / "file"
    made.write_bytes(CONTENT)
    return made


@pytest.fixture
def reads(slow_disk: None, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of each block that is read."""
    found: list[int] = []
    pread = os.pread

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        found.append(offset // BLOCK)
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", counted)
    return found


class Gate:
    """Holds up a function that runs in threads.

    :ivar entered: how often it has been called.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.entered = 0
        self._function = function
        self._open = threading.Event()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.entered += 1
        self._open.wait(20)
        return self._function(*args, **kwargs)

    def open(self) -> None:
        """Let everybody through from now on."""
        self._open.set()

    def wait(self, count: int) -> None:
        """Wait until so many have come."""
        with gevent.Timeout(20):
            while self.entered < count:
                gevent.sleep(0.001)


# Sources


def test_blocks(path: Path) -> None:
    source = Source(str(path))
    assert source.path == str(path)
    assert source.size == len(CONTENT)
    assert b"".join(source.block(number) for number in range(4)) == CONTENT
    assert len(source.block(0)) == BLOCK
    assert source.block(3) == b"the end"
    assert source.block(4) == b""
    assert source.block(1) == CONTENT[BLOCK : 2 * BLOCK]
    source.close()
    assert open_files(path) == 0
    source.close()


def test_blocks_that_were_just_read_are_kept(path: Path, reads: list[int]) -> None:
    os.truncate(path, 20 * BLOCK)
    sources = Sources()
    with sources.open(str(path)) as source, sources.open(str(path)):
        for number in [*range(20), *range(12, 20)]:
            source.block(number)
        assert reads == list(range(20))
        # No more than eight of them, or memory would grow with the file.
        source.block(11)
        assert reads[20:] == [11]


@pytest.mark.usefixtures("slow_disk")
def test_hosts_that_want_the_same_block_at_the_same_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(os.pread)
    monkeypatch.setattr(os, "pread", gate)
    source = Source(str(path))
    readers = [gevent.spawn(source.block, 1) for _ in range(20)]
    gate.wait(1)
    gate.open()
    gevent.joinall(readers, raise_error=True)
    assert {reader.value for reader in readers} == {CONTENT[BLOCK : 2 * BLOCK]}
    assert gate.entered == 1
    source.close()


@pytest.mark.usefixtures("slow_disk")
def test_a_host_that_is_given_up_while_it_reads(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(os.pread)
    monkeypatch.setattr(os, "pread", gate)
    source = Source(str(path))
    first, second = gevent.spawn(source.block, 0), gevent.spawn(source.block, 0)
    gate.wait(1)
    first.kill(block=False)
    gevent.idle()
    gate.open()
    assert second.get() == CONTENT[:BLOCK]
    source.close()


@pytest.mark.usefixtures("slow_disk")
def test_an_error_is_for_each_who_wants_the_block(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    gate = Gate(fail)
    pread = os.pread
    monkeypatch.setattr(os, "pread", gate)
    source = Source(str(path))
    readers = [gevent.spawn(source.block, 0) for _ in range(3)]
    gate.wait(1)
    gate.open()
    gevent.joinall(readers)
    errors = [reader.exception for reader in readers]
    assert all(isinstance(error, OSError) and error.errno == errno.EIO for error in errors)
    # Each host adds its name to its own.
    assert len({id(error) for error in errors}) == 3
    monkeypatch.setattr(os, "pread", pread)
    assert source.block(0) == CONTENT[:BLOCK]
    source.close()


@pytest.mark.parametrize("kind", ["directory", "pipe", "missing"])
def test_what_cannot_be_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with gevent.Timeout(10), pytest.raises(OSError, match=r"it") as caught:
        Source(str(path))
    assert str(path) in str(caught.value)
    if kind != "missing":
        assert "not a regular file" in str(caught.value)
    assert open_files(path) == 0


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"x")


@pytest.mark.parametrize("change", [append, overwrite, lambda path: os.truncate(path, 5)])
def test_changes_are_noticed(path: Path, change: Callable[[Path], None]) -> None:
    os.utime(path, (1, 1))
    source = Source(str(path))
    source.block(0)
    assert not source.has_changed()
    change(path)
    assert source.has_changed()
    source.close()


def test_what_is_no_change(path: Path) -> None:
    source = Source(str(path))
    path.chmod(0o600)
    os.utime(path, ns=(5, source.status.st_mtime_ns))
    path.rename(path.with_name("other"))
    path.write_bytes(b"another file")
    assert not source.has_changed()
    assert source.block(3) == b"the end"
    source.close()


def test_a_forgotten_source_is_closed(path: Path) -> None:
    source = Source(str(path))
    assert open_files(path) == 1
    del source
    gc.collect()
    assert open_files(path) == 0


# What is in memory


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is called in threads from now on."""
    found: list[object] = []

    def noted(function: Callable[..., Any], *args: Any) -> Any:
        found.append(args[0] if args else function)
        return in_thread(function, *args)

    monkeypatch.setattr(source_module, "in_thread", noted)
    return found


def test_a_memory_file_system_is_read_without_threads(threads: list[object]) -> None:
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(CONTENT)
        file.flush()
        source = Source(file.name)
        threads.clear()
        assert b"".join(map(source.block, range(4))) == CONTENT
        source.close()
    assert threads == []
    assert source.in_memory


def test_whether_a_target_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        opened = target(Path(folder, "new"))
        opened.close()
        assert opened.in_memory
    device = target(Path("/dev/null"))
    device.close()
    assert not device.in_memory
    # Wherever the test's own folder is.
    monkeypatch.setattr(page_cache, "is_in_memory", lambda _: False)
    opened = target(tmp_path / "new")
    opened.close()
    assert not opened.in_memory


def cached(content: bytes, until: int) -> Callable[..., int]:
    """A system that has of a file only the beginning in memory."""

    def preadv(_: int, buffers: list[bytearray], offset: int, flags: int) -> int:
        assert flags == os.RWF_NOWAIT
        (buffer,) = buffers
        count = min(len(buffer), until - offset)
        if count <= 0:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        buffer[:count] = content[offset : offset + count]
        return count

    return preadv


@pytest.mark.parametrize(
    ("until", "in_threads"), [(len(CONTENT), 0), (2 * BLOCK, 2), (2 * BLOCK + 1, 2), (0, 4)]
)
def test_what_is_cached_is_read_without_threads(
    path: Path,
    threads: list[object],
    monkeypatch: pytest.MonkeyPatch,
    until: int,
    in_threads: int,
) -> None:
    # Wherever the test's own file is.
    monkeypatch.setattr(page_cache, "is_in_memory", lambda _: False)
    monkeypatch.setattr(os, "preadv", cached(CONTENT, until))
    source = Source(str(path))
    threads.clear()
    assert b"".join(map(source.block, range(4))) == CONTENT
    assert threads == [source_module._read_whole] * in_threads
    assert source.in_memory == (in_threads == 0)
    source.close()


# Sources of several hosts


def test_hosts_share_a_source(path: Path, reads: list[int]) -> None:
    sources = Sources()
    with ExitStack() as stack:
        opened = [stack.enter_context(sources.open(str(path))) for _ in range(5)]
        assert len(set(map(id, opened))) == 1
        assert open_files(path) == 1
        for source in opened:
            assert source.block(0) == CONTENT[:BLOCK]
    assert reads == [0]
    assert open_files(path) == 0


def test_the_last_one_closes_it(path: Path) -> None:
    sources = Sources()
    with sources.open(str(path)) as first:
        with pytest.raises(KeyError), sources.open(str(path)) as second:
            assert second is first
            raise KeyError
        assert open_files(path) == 1
        assert first.block(3) == b"the end"
    assert open_files(path) == 0


def test_those_who_come_later_get_what_is_there_then(path: Path) -> None:
    sources = Sources()
    with sources.open(str(path)) as source:
        assert source.size == len(CONTENT)
    path.write_bytes(b"new")
    with sources.open(str(path)) as source:
        assert source.block(0) == b"new"


def test_a_copy_that_began_later_gets_what_is_there_then(path: Path, tmp_path: Path) -> None:
    sources = Sources()
    began = time.monotonic()
    with sources.open(str(path), began) as source:
        (tmp_path / "new").write_bytes(b"new")
        os.replace(tmp_path / "new", path)
        with sources.open(str(path), began) as same:
            assert same is source
        with sources.open(str(path), time.monotonic()) as other, sources.open(str(path)) as third:
            assert other is third
            assert other.block(0) == b"new"
        path.write_bytes(b"newer")
        with sources.open(str(path)) as other:
            assert other.block(0) == b"newer"
        assert source.block(3) == b"the end"
        path.unlink()
        with pytest.raises(FileNotFoundError), sources.open(str(path)):
            pass
    assert open_files(path) == 0


def test_hosts_that_open_it_at_the_same_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(os.open)
    monkeypatch.setattr(os, "open", gate)
    sources = Sources()
    found: list[Block] = []

    def use() -> None:
        with sources.open(str(path)) as source:
            found.append(source.block(3))

    users = [gevent.spawn(use) for _ in range(5)]
    gate.wait(1)
    gate.open()
    gevent.joinall(users, raise_error=True)
    assert found == [b"the end"] * 5
    assert open_files(path) == 0


def test_different_files(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"other")
    sources = Sources()
    with sources.open(str(path)) as first, sources.open(str(other)) as second:
        assert (first.block(3), second.block(0)) == (b"the end", b"other")


def test_a_file_that_cannot_be_opened_is_not_kept(tmp_path: Path) -> None:
    sources = Sources()
    path = tmp_path / "file"
    for _ in range(2):
        with pytest.raises(FileNotFoundError), sources.open(str(path)):
            pass
    path.write_bytes(b"here")
    with sources.open(str(path)) as source:
        assert source.block(0) == b"here"


# Targets


@pytest.fixture
def no_umask() -> Iterator[None]:
    """Let a test see the modes that are asked for."""
    before = os.umask(0)
    yield
    os.umask(before)


def target(path: Path, mode: int = 0o644, *, keep: bool = False, follow: bool = True) -> Target:
    return Target(str(path), mode, keep=keep, follow=follow)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("no_umask")
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o4755, 0o444, 0o000, 0o070])
def test_a_new_target(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "new"
    opened = target(path, mode)
    assert opened.size == 0
    # Until it is whole it is for nobody else, and a later copy has to be able to go on with it.
    assert mode_of(path) & 0o077 == 0
    assert mode_of(path) & 0o200
    opened.write(0, views(b"abc", b"def"))
    opened.write(6, views(b"ghi"))
    opened.finish(9, mode, (1_000_000_000_000_000_005, 1_500_000_000_000_000_007))
    assert path.read_bytes() == b"abcdefghi"
    assert mode_of(path) == mode
    found = path.stat()
    assert (found.st_atime_ns, found.st_mtime_ns)[1] == 1_500_000_000_000_000_007
    assert open_files(path) == 0


def test_an_existing_target_is_emptied(path: Path) -> None:
    opened = target(path, 0o600)
    assert path.stat().st_size == 0
    opened.write(0, views(b"new"))
    opened.finish(3, None, None)
    assert path.read_bytes() == b"new"
    assert mode_of(path) == 0o644


def test_a_target_that_is_gone_on_with(path: Path) -> None:
    opened = target(path, keep=True)
    assert opened.size == len(CONTENT)
    opened.write(5, views(b"new"))
    opened.finish(10, None, None)
    assert path.read_bytes() == CONTENT[:5] + b"new" + CONTENT[8:10]


def test_a_target_that_is_closed_as_it_is(path: Path) -> None:
    opened = target(path)
    opened.write(2, views(b"x"))
    opened.close()
    opened.close()
    assert path.read_bytes() == b"\0\0x"
    assert open_files(path) == 0


def test_a_forgotten_target_is_closed(path: Path) -> None:
    opened = target(path)
    assert open_files(path) == 1
    del opened
    gc.collect()
    assert open_files(path) == 0


@pytest.mark.parametrize("keep", [False, True])
def test_a_target_that_is_given_up_while_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    gate = Gate(os.open)
    monkeypatch.setattr(os, "open", gate)
    opening = gevent.spawn(target, tmp_path / "new", keep=keep)
    gate.wait(1)
    opening.kill()
    gate.open()
    with gevent.Timeout(20):
        # With keep an empty file stays, which a later copy can go on with.
        while open_files(tmp_path / "new") or (tmp_path / "new").exists() != keep:
            gc.collect()
            gevent.sleep(0.001)


def test_links(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("file")
    with pytest.raises(OSError, match="symbolic links") as caught:
        target(link, follow=False)
    assert caught.value.errno == errno.ELOOP
    assert caught.value.filename == str(link)
    assert path.read_bytes() == CONTENT
    opened = target(link)
    opened.write(0, views(b"new"))
    opened.finish(3, 0o600, None)
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert mode_of(path) == 0o600


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("new")
    with pytest.raises(OSError, match="symbolic links"):
        target(tmp_path / "link", follow=False)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("kind", ["directory", "pipe", "below a file", "in a missing directory"])
def test_what_cannot_be_written(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "below a file":
        path.touch()
        path = path / "x"
    else:
        path = path / "x"
    with gevent.Timeout(10), pytest.raises(OSError, match=r"it") as caught:
        target(path)
    assert caught.value.filename == str(path)
    assert open_files(path) == 0


def test_a_device_is_not_changed(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("Making a device needs root.")
    device = tmp_path / "null"
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    device.chmod(0o666)
    opened = target(device, 0o600)
    opened.write(0, views(b"abc"))
    opened.finish(3, 0o600, (1, 1))
    assert mode_of(device) == 0o666
    assert device.stat().st_mtime_ns > 1


def test_writes_that_are_cut_short(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwritev, pwrite = os.pwritev, os.pwrite

    def few(descriptor: int, parts: Sequence[memoryview], offset: int) -> int:
        return pwritev(descriptor, [parts[0][:2]], offset)

    def fewer(descriptor: int, data: memoryview, offset: int) -> int:
        return pwrite(descriptor, data[:3], offset)

    monkeypatch.setattr(os, "pwritev", few)
    monkeypatch.setattr(os, "pwrite", fewer)
    opened = target(path)
    opened.write(4, views(b"abcdef", b"ghijk", b"lm"))
    opened.finish(17, None, None)
    assert path.read_bytes() == b"\0\0\0\0abcdefghijklm"


def test_an_error_when_it_is_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = target(path)
    descriptor = next(
        int(name)
        for name in os.listdir("/proc/self/fd")
        if os.path.realpath(f"/proc/self/fd/{name}") == str(path)
    )
    close = os.close

    def fail(number: int) -> None:
        close(number)
        if number == descriptor:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "close", fail)
    with pytest.raises(OSError, match="No space left"):
        opened.finish(0, None, None)
    monkeypatch.setattr(os, "close", close)
    # The descriptor is gone all the same, and may be somebody else's by now.
    opened.close()
    assert open_files(path) == 0
