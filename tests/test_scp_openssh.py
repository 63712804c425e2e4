"""`pssh.scp` against the real scp, over pipes: what it takes, sends and says."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pytest

from pssh.exceptions import SCPError
from pssh.local_path import WRITE_FLAGS, join
from pssh.scp.command import fetch_command, last_name, send_command
from pssh.scp.record import Times
from pssh.scp.sink import (
    AHEAD,
    DirectoryEnd,
    DirectoryStart,
    Event,
    FileData,
    FileEnd,
    FileStart,
    RemoteWarning,
    Sink,
)
from pssh.scp.source import Reply, Source, Step
from tests.conftest import missing
from tests.servers.account import Account

#: Longest time that one scp may run before it is killed, in seconds.
TIME_LIMIT = 60

NAMES = [b"plain", b"a b", b'it\'s "q"', b"-r", b"$HOME `a` \\ *", b"\xff\xfe", "é".encode(), b" "]
LARGE = bytes(range(256)) * 4096 + b"!"
CONTENTS = [b"", b"x", b"C0644 1 evil\nx\0", LARGE]

#: In nanoseconds since 1970.
IN_AN_HOUR = (int(time.time()) + 3600) * 10**9


@pytest.fixture(autouse=True)
def scp_is_here() -> None:
    if shutil.which("scp") is None:
        missing("scp is not installed (Debian package openssh-client).")


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """The folder that scp works in."""
    folder = tmp_path / "remote"
    folder.mkdir()
    return folder


@pytest.fixture
def local(tmp_path: Path) -> Path:
    folder = tmp_path / "local"
    folder.mkdir()
    return folder


@pytest.fixture
def forbidden(account: Account) -> Iterator[Path]:
    """A folder of the account's with a folder in it that the account may not write to."""
    with tempfile.TemporaryDirectory(dir=account.folder) as name:
        folder = Path(name)
        account.give(folder, 0o755)
        (folder / "read-only").mkdir()
        account.give(folder / "read-only", 0o555)
        yield folder
        (folder / "read-only").chmod(0o755)


class RemoteProgram:
    """A command as a server runs it: by a shell, with pipes; a context manager that ends it."""

    def __init__(self, command: bytes, folder: Path, account: Account | None = None) -> None:
        user = None if account is None or not account.temporary else account.uid
        self._process = subprocess.Popen(
            [b"/bin/sh", b"-c", command],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            umask=0o027,
            user=user,
            group=None if account is None or user is None else account.gid,
            extra_groups=None if user is None else [],
        )
        self._timer = threading.Timer(TIME_LIMIT, self._process.kill)
        self.writes = 0
        self.received = b""

    def read(self) -> bytes:
        """What it sent, at least one byte; none at its end."""
        assert self._process.stdout is not None
        data = os.read(self._process.stdout.fileno(), 65536)
        self.received += data
        return data

    def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self.writes += 1
        while data:
            data = data[os.write(self._process.stdin.fileno(), data) :]

    def reply(self, sink: Sink) -> None:
        """Send a sink's replies; where it has ended already, what it sent tells whether well."""
        replies = sink.replies()
        if replies:
            with contextlib.suppress(BrokenPipeError):
                self.write(replies)

    def end(self) -> int:
        """Close its input, and return its exit status."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        while self.read():
            pass
        return self._process.wait()

    def __enter__(self) -> RemoteProgram:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        self._process.kill()
        with self._process:
            pass


class Sender:
    """Sends files to a remote scp, everything as early as it may be."""

    def __init__(self, program: RemoteProgram, *, times: bool = False) -> None:
        self.source = Source()
        self.replies: list[Reply] = []
        self._program = program
        self._times = times
        self._unsent = b""

    @property
    def errors(self) -> list[tuple[Step, str | None]]:
        return [(reply.step, reply.error) for reply in self.replies if reply.error]

    def file(self, name: bytes, content: bytes, mode: int = 0o644) -> bool:
        """Send a file and return whether it was accepted."""
        self._unsent += self.source.file(name, mode, len(content), self._some_times())
        self._wait()
        if not self.source.in_file:
            return False
        self.source.sent(len(content))
        self._unsent += content + self.source.end_file()
        return True

    def directory(self, name: bytes, mode: int = 0o755) -> bool:
        """Begin a directory and return whether it was accepted."""
        depth = self.source.depth
        self._unsent += self.source.directory(name, mode, self._some_times())
        self._wait()
        return self.source.depth > depth

    def end_directory(self) -> None:
        self._unsent += self.source.end_directory()

    def finish(self) -> None:
        self._flush()
        while not self.source.finished:
            self._read()

    def _some_times(self) -> Times | None:
        return Times(10**18, 10**18 + 10**9) if self._times else None

    def _wait(self) -> None:
        self._flush()
        while self.source.waiting:
            self._read()

    def _flush(self) -> None:
        try:
            self._program.write(self._unsent)
        except BrokenPipeError:
            while True:  # until what it said before it ended is an error
                self._read()
        self._unsent = b""

    def _read(self) -> None:
        data = self._program.read()
        if not data:
            self.source.finish()
        self.replies += self.source.feed(data)


class Receiver:
    """Writes what a remote scp sends below a folder.

    :param refused: names that it refuses; once their data comes, where `in_data`.
    """

    def __init__(
        self,
        program: RemoteProgram,
        sink: Sink,
        folder: Path,
        refused: tuple[bytes, ...] = (),
        in_data: bool = False,
    ) -> None:
        self.warnings: list[str] = []
        self.modes: dict[bytes, int] = {}
        self.times: dict[bytes, Times | None] = {}
        self._program = program
        self._sink = sink
        self._folders = [str(folder)]
        self._refused = refused
        self._in_data = in_data
        self._file = -1
        self._name = b""

    def receive(self) -> None:
        self._program.reply(self._sink)
        while not self._sink.finished:
            data = self._program.read()
            if not data:
                self._sink.finish()
            for event in self._sink.feed(data):
                self._handle(event)
            self._program.reply(self._sink)

    def _handle(self, event: Event) -> None:
        match event:
            case FileStart() | DirectoryStart():
                self._start(event)
            case FileData(data):
                if self._in_data and self._name in self._refused:
                    os.close(self._file)
                    self._sink.refuse("the disk is full")
                else:
                    os.write(self._file, data)
            case FileEnd(error):
                os.close(self._file)
                if error:
                    self.warnings.append(error)
            case DirectoryEnd():
                self._folders.pop()
            case RemoteWarning(text):
                self.warnings.append(text)

    def _start(self, event: FileStart | DirectoryStart) -> None:
        self._name = event.name
        if event.name in self._refused and not self._in_data:
            self._sink.refuse("not wanted")
            return
        path = join(self._folders[-1], event.name)
        self.modes[event.name], self.times[event.name] = event.mode, event.times
        if isinstance(event, FileStart):
            self._file = os.open(path, WRITE_FLAGS, 0o600)
        else:
            os.mkdir(path)
            self._folders.append(path)


def content(folder: Path) -> dict[bytes, bytes | None]:
    """The path of all files and folders below a folder, and what is in files."""
    found: dict[bytes, bytes | None] = {}
    root = os.fsencode(folder)
    for parent, folders, files in os.walk(root):
        for name in folders:
            found[os.path.relpath(os.path.join(parent, name), root)] = None
        for name in files:
            path = os.path.join(parent, name)
            if not os.path.isfile(path):
                continue
            found[os.path.relpath(path, root)] = Path(os.fsdecode(path)).read_bytes()
    return found


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestSending:
    @pytest.mark.parametrize("data", CONTENTS, ids=len)
    def test_a_file(self, remote: Path, data: bytes) -> None:
        with RemoteProgram(send_command("file"), remote) as program:
            sender = Sender(program)
            assert sender.file(b"any name", data)
            sender.finish()
            assert program.end() == 0
        assert content(remote) == {b"file": data}
        assert sender.errors == []

    @pytest.mark.parametrize("name", [*NAMES, b"new\nline", b"~"])
    def test_a_name_in_the_command(self, remote: Path, name: bytes) -> None:
        path = b"./~" if name == b"~" else name
        with RemoteProgram(send_command(path), remote) as program:
            sender = Sender(program)
            assert sender.file(b"any name", b"x")
            sender.finish()
            assert program.end() == 0
        assert content(remote) == {name: b"x"}

    def test_the_home_folder(self, remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        home = remote / "ho me"
        home.mkdir()
        monkeypatch.setenv("HOME", str(home))
        with RemoteProgram(send_command("~/a b"), remote) as program:
            sender = Sender(program)
            assert sender.file(b"any name", b"x")
            sender.finish()
        assert content(home) == {b"a b": b"x"}

    def test_a_tree_in_one_round_trip_for_each_file_and_directory(self, remote: Path) -> None:
        command = send_command(".", recursive=True, preserve=True, directory=True)
        expected: dict[bytes, bytes | None] = {b"top": None}
        with RemoteProgram(command, remote) as program:
            sender = Sender(program, times=True)
            assert sender.directory(b"top", 0o755)
            for name in NAMES:
                assert sender.directory(name, 0o500)
                expected[b"top/" + name] = None
                for number, data in enumerate(CONTENTS):
                    assert sender.file(b"%d" % number, data, 0o604)
                    expected[b"top/%b/%d" % (name, number)] = data
                sender.end_directory()
            for number in range(300):
                assert sender.file(b"%d" % number, b"%d" % number)
                expected[b"top/%d" % number] = b"%d" % number
            sender.end_directory()
            sender.finish()
            assert program.writes == 1 + len(NAMES) * (1 + len(CONTENTS)) + 300 + 1
            assert program.end() == 0
        assert sender.errors == []
        folder = remote / "top" / "plain"
        assert mode_of(folder) == 0o500
        assert mode_of(folder / "3") == 0o604
        assert folder.stat().st_mtime == 10**9
        assert (folder / "3").stat().st_mtime == 10**9
        assert (folder / "0").stat().st_atime == 10**9 + 1
        folder.chmod(0o700)
        assert content(remote) == expected

    @pytest.mark.parametrize(("preserve", "mode"), [(False, 0o640), (True, 0o666)])
    def test_modes_without_times(self, remote: Path, preserve: bool, mode: int) -> None:
        with RemoteProgram(send_command("file", preserve=preserve), remote) as program:
            sender = Sender(program)
            assert sender.file(b"file", b"x", 0o666)
            sender.finish()
            assert program.end() == 0
        assert mode_of(remote / "file") == mode

    @pytest.mark.parametrize(("preserve", "mode"), [(False, 0o711), (True, 0o700)])
    def test_the_mode_of_a_directory_that_exists(
        self, remote: Path, preserve: bool, mode: int
    ) -> None:
        (remote / "d").mkdir()
        (remote / "d").chmod(0o711)
        command = send_command(".", recursive=True, preserve=preserve)
        with RemoteProgram(command, remote) as program:
            sender = Sender(program)
            assert sender.directory(b"d", 0o700)
            sender.end_directory()
            sender.finish()
        assert mode_of(remote / "d") == mode

    @pytest.mark.parametrize("times", [False, True])
    def test_a_refused_file_costs_no_other(self, remote: Path, times: bool) -> None:
        (remote / "a").mkdir()
        with RemoteProgram(send_command(".", recursive=True, preserve=True), remote) as program:
            sender = Sender(program, times=times)
            assert sender.file(b"before", b"x")
            assert not sender.file(b"a", b"C0644 4 evil\nevil\0")
            assert sender.file(b"b", b"x")
            assert not sender.file(b"n" * 300, b"")
            sender.finish()
            assert program.end() == 1
        assert sender.errors == [
            (Step.FILE, "./a: Is a directory"),
            (Step.FILE, f"./{'n' * 300}: File name too long"),
        ]
        assert content(remote) == {b"a": None, b"b": b"x", b"before": b"x"}

    def test_a_refused_directory_costs_no_other(self, remote: Path) -> None:
        (remote / "a").touch()
        with RemoteProgram(send_command(".", recursive=True), remote) as program:
            sender = Sender(program)
            assert not sender.directory(b"a")
            assert sender.directory(b"b")
            assert sender.file(b"c", b"x")
            sender.end_directory()
            sender.finish()
            assert program.end() == 1
        assert sender.errors == [(Step.DIRECTORY, "./a: Not a directory")]
        assert content(remote) == {b"a": b"", b"b": None, b"b/c": b"x"}

    @pytest.mark.parametrize("data", [b"C0644 4 evil\nevil\0", b""], ids=["data", "empty"])
    def test_why_a_file_waits(self, remote: Path, data: bytes) -> None:
        """What would happen if a refused file's data were sent ahead."""
        (remote / "a").mkdir()
        with RemoteProgram(send_command("."), remote) as program:
            program.write(b"C0644 %d a\n%b\0C0644 1 b\nx\0" % (len(data), data))
            assert program.end() == 1
        assert program.received.endswith(b"\1scp: protocol error: expected control record\n")
        evil = {b"evil": b"evil"} if data else {}
        assert content(remote) == {b"a": None, **evil}

    def test_why_a_directory_waits(self, remote: Path) -> None:
        (remote / "a").touch()
        with RemoteProgram(send_command(".", recursive=True), remote) as program:
            program.write(b"D0755 0 a\nC0644 1 b\nx\0E\n")
            assert program.end() == 1
        assert program.received == b"\0\1scp: ./a: Not a directory\n\0\0\0"
        assert content(remote) == {b"a": b"", b"b": b"x"}

    def test_a_full_device(self, remote: Path) -> None:
        (remote / "full").symlink_to("/dev/full")
        with RemoteProgram(send_command("."), remote) as program:
            sender = Sender(program)
            assert sender.file(b"full", LARGE)
            assert sender.file(b"after", LARGE)
            sender.finish()
            assert program.end() == 1
        assert sender.errors == [(Step.DATA, "./full: No space left on device")]
        assert (remote / "after").read_bytes() == LARGE

    def test_an_error_of_ours_is_told(self, remote: Path) -> None:
        with RemoteProgram(send_command("."), remote) as program:
            source = Source()
            program.write(source.file(b"a", 0o644, 0))
            while source.waiting:
                source.feed(program.read())
            program.write(source.end_file("Input/output error"))
            while not source.finished:
                source.feed(program.read())
            assert program.end() == 1

    @pytest.mark.parametrize("recursive", [False, True])
    def test_a_read_only_folder(self, forbidden: Path, account: Account, recursive: bool) -> None:
        command = send_command("read-only", recursive=recursive)
        with RemoteProgram(command, forbidden, account) as program:
            sender = Sender(program)
            if recursive:
                assert not sender.directory(b"d")
            else:
                assert not sender.file(b"d", LARGE)
            sender.finish()
            assert program.end() == 1
        step = Step.DIRECTORY if recursive else Step.FILE
        assert sender.errors == [(step, "read-only/d: Permission denied")]
        assert content(forbidden) == {b"read-only": None}

    def test_a_target_that_is_no_directory(self, remote: Path) -> None:
        (remote / "file").touch()
        with RemoteProgram(send_command("file", directory=True), remote) as program:
            sender = Sender(program)
            with pytest.raises(SCPError, match="The remote scp gave up: file: Not a directory"):
                sender.file(b"a", b"x")
        assert content(remote) == {b"file": b""}

    def test_no_such_folder(self, remote: Path) -> None:
        with RemoteProgram(send_command("no/such"), remote) as program:
            sender = Sender(program)
            assert not sender.file(b"a", b"x")
        assert sender.errors == [(Step.FILE, "no/such: No such file or directory")]

    def test_a_message_with_a_line_feed(self, remote: Path) -> None:
        with RemoteProgram(send_command("new\nline/x"), remote) as program:
            sender = Sender(program)
            with pytest.raises(SCPError, match=r"'line/x: No such file or directory'.*: new$"):
                sender.file(b"a", b"x")

    def test_no_scp(self, remote: Path) -> None:
        with RemoteProgram(b"exit 127", remote) as program:
            source = Source()
            assert program.read() == b""
            with pytest.raises(SCPError, match="The remote scp ended before it started"):
                source.finish()


@pytest.mark.parametrize("ahead", [0, AHEAD])
class TestFetching:
    @pytest.mark.parametrize("data", CONTENTS, ids=len)
    def test_a_file(self, remote: Path, local: Path, ahead: int, data: bytes) -> None:
        (remote / "file").write_bytes(data)
        (remote / "file").chmod(0o604)
        with RemoteProgram(fetch_command("file"), remote) as program:
            receiver = Receiver(program, Sink(ahead=ahead), local)
            receiver.receive()
            assert program.end() == 0
        assert content(local) == {b"file": data}
        assert receiver.modes == {b"file": 0o604}
        assert receiver.times == {b"file": None}

    @pytest.mark.parametrize("name", NAMES)
    def test_a_name(self, remote: Path, local: Path, ahead: int, name: bytes) -> None:
        (remote / os.fsdecode(name)).touch()
        with RemoteProgram(fetch_command(name), remote) as program:
            Receiver(program, Sink(ahead=ahead), local).receive()
            assert program.end() == 0
        assert list(content(local)) == [name] == [last_name(name)]

    def test_a_name_with_a_line_feed(self, remote: Path, local: Path, ahead: int) -> None:
        (remote / "new\nline").touch()
        with RemoteProgram(fetch_command("new\nline"), remote) as program:
            Receiver(program, Sink(ahead=ahead), local).receive()
            assert program.end() == 0
        assert list(content(local)) == [b"new\\^Jline"]
        assert last_name("new\nline") == b"new\nline"

    @pytest.mark.parametrize("preserve", [False, True])
    def test_a_tree(self, remote: Path, local: Path, ahead: int, preserve: bool) -> None:
        top = make_tree(remote)
        with RemoteProgram(
            fetch_command("top", recursive=True, preserve=preserve), remote
        ) as program:
            receiver = Receiver(program, Sink(recursive=True, ahead=ahead), local)
            receiver.receive()
            status = program.end()
        expected = content(remote)
        assert expected.pop(b"top/new\nline") == b"y"
        assert content(local) == {**expected, b"top/new\\^Jline": b"y"}
        assert receiver.warnings == ["top/pipe: not a regular file"]
        assert status == 1
        assert receiver.modes[b"setuid"] == 0o755
        assert receiver.modes[b"plain"] == 0o700
        times = Times(10**18, IN_AN_HOUR)
        assert receiver.times[b"setuid"] == (times if preserve else None)
        assert (receiver.times[b"top"] is None) is not preserve
        assert not (local / "top" / "link").is_symlink()
        assert mode_of(top / "setuid") == 0o4755

    @pytest.mark.parametrize(
        ("name", "files"),
        [(b"plain", CONTENTS[:0]), (b"3", CONTENTS[:3])],
        ids=["directory", "files"],
    )
    def test_refusing(
        self, remote: Path, local: Path, ahead: int, name: bytes, files: list[bytes]
    ) -> None:
        make_tree(remote)
        (remote / "top" / "pipe").unlink()
        expected = {
            path: data
            for path, data in content(remote).items()
            if name not in path.split(b"/") and b"\n" not in path
        }
        (remote / "top" / "new\nline").unlink()
        with RemoteProgram(fetch_command("top", recursive=True), remote) as program:
            sink = Sink(recursive=True, ahead=ahead)
            Receiver(program, sink, local, refused=(name,)).receive()
            assert program.end() == (0 if ahead else 1)
        assert content(local) == expected
        assert (local / "top" / "plain").exists() == (name != b"plain")
        assert len(list((local / "top").glob("a b/*"))) == len(files or CONTENTS)

    def test_a_full_disk_here(self, remote: Path, local: Path, ahead: int) -> None:
        make_tree(remote)
        (remote / "top" / "pipe").unlink()
        with RemoteProgram(fetch_command("top", recursive=True), remote) as program:
            sink = Sink(recursive=True, ahead=ahead)
            Receiver(program, sink, local, refused=(b"3",), in_data=True).receive()
            assert program.end() == (0 if ahead else 1)
        assert (local / "top" / "plain" / "2").read_bytes() == CONTENTS[2]
        assert (local / "top" / "plain" / "3").read_bytes() == b""

    @pytest.mark.parametrize("path", [".", "top/..", "top/."])
    def test_a_path_without_a_name(self, remote: Path, local: Path, ahead: int, path: str) -> None:
        (remote / "top").mkdir()
        with RemoteProgram(fetch_command(path, recursive=True), remote) as program:
            sink = Sink(recursive=True, ahead=ahead)
            with pytest.raises(SCPError, match="a name that is no file name"):
                Receiver(program, sink, local).receive()
        with RemoteProgram(fetch_command(path, recursive=True), remote) as program:
            sink = Sink(recursive=True, unnamed=last_name(path) is None, ahead=ahead)
            program.write(sink.replies())
            (event,) = list(sink.feed(program.read()))[:1]
        assert isinstance(event, DirectoryStart)
        assert event.name == b""

    @pytest.mark.parametrize(
        ("path", "sentence"),
        [
            ("nope", "sent nothing: nope: No such file or directory"),
            ("*", r"sent nothing: \*: No such file or directory"),
            ("folder", "sent nothing: folder: not a regular file"),
            ("new\nline", "'line: No such file or directory'.*; it had said: new$"),
        ],
    )
    def test_what_cannot_be_fetched(
        self, remote: Path, local: Path, ahead: int, path: str, sentence: str
    ) -> None:
        (remote / "folder").mkdir()
        with RemoteProgram(fetch_command(path), remote) as program:
            with pytest.raises(SCPError, match=sentence):
                Receiver(program, Sink(ahead=ahead), local).receive()
            assert program.end() == 1
        assert content(local) == {}

    def test_what_may_not_be_read(self, forbidden: Path, account: Account, ahead: int) -> None:
        secret = forbidden / "secret"
        secret.write_text("mine")
        secret.chmod(0)
        with RemoteProgram(fetch_command(".", recursive=True), forbidden, account) as program:
            sink = Sink(recursive=True, unnamed=True, ahead=ahead)
            warnings = [event for event in events(program, sink) if type(event) is RemoteWarning]
            assert program.end() == 1
        assert warnings == [RemoteWarning("./secret: Permission denied")]

    def test_a_loop_of_links_ends(self, remote: Path, ahead: int) -> None:
        (remote / "top").mkdir()
        (remote / "top" / "again").symlink_to(".")
        with RemoteProgram(fetch_command("top", recursive=True), remote) as program:
            found = list(events(program, Sink(recursive=True, ahead=ahead)))
            assert program.end() == 1
        assert sum(type(event) is DirectoryStart for event in found) > 30
        (warning,) = (event for event in found if isinstance(event, RemoteWarning))
        assert warning.text.endswith("Too many levels of symbolic links")

    def test_many_files(self, remote: Path, local: Path, ahead: int) -> None:
        top = remote / "top"
        top.mkdir()
        for number in range(1500 if ahead else 300):
            (top / str(number)).write_text(str(number))
        with RemoteProgram(fetch_command("top", recursive=True, preserve=True), remote) as program:
            Receiver(program, Sink(recursive=True, ahead=ahead), local).receive()
            assert program.end() == 0
        assert content(local) == content(remote)


def test_replies_ahead_need_no_round_trips(remote: Path) -> None:
    make_tree(remote)
    (remote / "top" / "pipe").unlink()
    with RemoteProgram(fetch_command("top", recursive=True, preserve=True), remote) as program:
        sink = Sink(recursive=True, ahead=AHEAD)
        program.write(sink.replies())
        assert program.end() == 0
    assert list(sink.feed(program.received))[-1] == DirectoryEnd()
    assert sink.finished


def events(program: RemoteProgram, sink: Sink) -> Iterator[Event]:
    """All that a remote scp sends."""
    program.reply(sink)
    while not sink.finished:
        data = program.read()
        if not data:
            sink.finish()
        yield from sink.feed(data)
        program.reply(sink)


def make_tree(folder: Path) -> Path:
    """A folder with everything that scp may meet in it."""
    top = folder / "top"
    top.mkdir()
    for name in NAMES:
        inner = top / os.fsdecode(name)
        inner.mkdir()
        for number, data in enumerate(CONTENTS):
            (inner / str(number)).write_bytes(data)
    (top / "plain").chmod(0o700)
    (top / "new\nline").write_text("y")
    (top / "setuid").write_text("x")
    (top / "setuid").chmod(0o4755)
    # It may first be read by way of the link, and the system would then replace a time in the past.
    os.utime(top / "setuid", ns=(IN_AN_HOUR, 10**18))
    (top / "link").symlink_to("setuid")
    os.mkfifo(top / "pipe")
    return top
