"""`pssh.sftp` against OpenSSH's own server program, which speaks over two pipes."""

from __future__ import annotations

import os
import select
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import pytest

from pssh.exceptions import (
    SFTPFailureError,
    SFTPIOError,
    SFTPNoSuchFileError,
    SFTPPermissionDeniedError,
    SFTPProtocolError,
    SFTPUnsupportedError,
)
from pssh.sftp import constants, requests
from pssh.sftp.attributes import Attributes
from pssh.sftp.exchange import Exchange
from pssh.sftp.limits import DEFAULT_LIMITS, Limits
from pssh.sftp.names import decode_name, encode_path
from pssh.sftp.replies import (
    DataPart,
    FileAttributes,
    Handle,
    Name,
    Names,
    Reply,
    Status,
    StatVFS,
    Version,
)
from pssh.sftp.requests import NO_ATTRIBUTES, Expects, Request
from pssh.sftp.status import error_for
from tests.conftest import missing

#: Where the systems put it; it is in no search path.
FOLDERS = ("/usr/lib/openssh", "/usr/lib/ssh", "/usr/libexec/openssh", "/usr/libexec")

#: How long the server may take for any one thing, in seconds.
PATIENCE = 20.0

READ = constants.SSH_FXF_READ
CREATE = constants.SSH_FXF_WRITE | constants.SSH_FXF_CREAT | constants.SSH_FXF_TRUNC

Kind = TypeVar("Kind")


class Collected:
    """The context of a request: everything that was answered."""

    def __init__(self, request: Request | None) -> None:
        self.request = request
        self.reply: Reply | None = None
        self.data = b""
        self.is_complete = False

    def take(self, reply: Reply) -> None:
        """Take a reply, or a part of one."""
        assert not self.is_complete
        if isinstance(reply, DataPart):
            assert reply.position == len(self.data)
            self.data += bytes(reply.data)
            self.is_complete = reply.remaining == 0
        else:
            self.is_complete = True
        self.reply = reply


class Client:
    """A blocking client of a server program; a context manager.

    :param program: the path of ``sftp-server``.
    :param folder: where relative paths start from.
    :param arguments: further arguments for it.
    """

    def __init__(self, program: str, folder: Path, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [program, "-e", "-d", str(folder), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self.exchange: Exchange[Collected] = Exchange(host="pipe", port=0)

    def start(self) -> Version:
        """Agree on the version, and ask for the limits."""
        begun = Collected(None)
        self._write(self.exchange.start(begun))
        self._wait(begun)
        assert isinstance(begun.reply, Version)
        self.ask(requests.limits(), Limits)
        return begun.reply

    def send(self, request: Request, payload: bytes = b"") -> Collected:
        """Send a request, and do not wait."""
        assert len(payload) == request.payload
        context = Collected(request)
        self._write(self.exchange.send(request, context))
        self._write(payload)
        return context

    def wait(self, context: Collected, what: str = "do it", path: bytes | None = None) -> Reply:
        """Wait until a request is answered; errors are raised."""
        self._wait(context)
        reply, request = context.reply, context.request
        assert reply is not None
        assert request is not None
        if isinstance(reply, Status) and not reply.is_ok:
            ends = request.expects in (Expects.DATA, Expects.NAMES) and reply.is_eof
            if not ends:
                raise error_for(reply, what, path, host="pipe", port=0)
        return reply

    def ask(self, request: Request, kind: type[Kind], payload: bytes = b"") -> Kind:
        """Send a request and wait for its answer."""
        reply = self.wait(self.send(request, payload))
        assert isinstance(reply, kind)
        return reply

    def do(self, request: Request, payload: bytes = b"") -> None:
        """Have something done."""
        assert self.ask(request, Status, payload).is_ok

    def open(self, path: bytes, flags: int, attributes: Attributes = NO_ATTRIBUTES) -> bytes:
        """Open a file; returns its handle."""
        return self.ask(requests.open_file(path, flags, attributes), Handle).handle

    def write(self, path: bytes, content: bytes, size: int) -> None:
        """Write a file in blocks, all of them in flight."""
        handle = self.open(path, CREATE)
        blocks = [(at, content[at : at + size]) for at in range(0, len(content), size)]
        sent = [
            self.send(requests.write_header(handle, at, len(block)), block) for at, block in blocks
        ]
        for each in sent:
            self.wait(each)
        self.do(requests.close(handle))

    def read(self, path: bytes, size: int) -> bytes:
        """Read a file in blocks, eight in flight."""
        handle = self.open(path, READ)
        content, at, ends = b"", 0, False
        while not ends:
            sent = [self.send(requests.read(handle, at + size * i, size)) for i in range(8)]
            for each in sent:
                ends = isinstance(self.wait(each), Status) or ends
                content += each.data
            at += size * 8
        self.do(requests.close(handle))
        return content

    def entries(self, path: bytes) -> list[Name]:
        """List a directory."""
        handle = self.ask(requests.opendir(path), Handle).handle
        found: list[Name] = []
        while True:
            reply = self.wait(self.send(requests.readdir(handle)))
            if isinstance(reply, Status):
                break
            assert isinstance(reply, Names)
            found += reply.entries
        self.do(requests.close(handle))
        return found

    def stat(self, path: bytes) -> Attributes:
        """What a link points to."""
        return self.ask(requests.stat(path), FileAttributes).attributes

    def one_name(self, request: Request) -> bytes:
        """The only name that answers a request."""
        (entry,) = self.ask(request, Names).entries
        return entry.filename

    def end(self) -> int:
        """Let the server end; returns its status."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(PATIENCE)

    def receive(self) -> None:
        """Wait for anything, and hand it to those who asked."""
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        readable, _, _ = select.select([output], [], [], PATIENCE)
        assert readable, "the server does not answer"
        chunk = os.read(output, 30011)
        assert chunk, "the server has ended"
        for context, reply in self.exchange.receive(chunk):
            context.take(reply)

    def _wait(self, context: Collected) -> None:
        while not context.is_complete:
            self.receive()

    def _write(self, content: bytes) -> None:
        assert self._process.stdin is not None
        rest = memoryview(content)
        while rest:
            rest = rest[self._process.stdin.write(rest) :]

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


Connect = Callable[..., Client]


@pytest.fixture(scope="module")
def program() -> str:
    """The path of the server."""
    found = shutil.which("sftp-server", path=os.pathsep.join(FOLDERS))
    if found is None:
        missing("sftp-server is not installed (Debian package openssh-sftp-server).")
    return found


@pytest.fixture
def connect(program: str, tmp_path: Path) -> Iterator[Connect]:
    """A function that starts a server with further arguments, and ends it after the test."""
    with ExitStack() as stack:

        def start(*arguments: str) -> Client:
            return stack.enter_context(Client(program, tmp_path, *arguments))

        yield start


@pytest.fixture
def client(connect: Connect) -> Client:
    """A client that knows the version and the limits."""
    client = connect()
    client.start()
    return client


def test_start(connect: Connect) -> None:
    client = connect()
    assert client.start().version == 3
    for name in constants.EXTENSION_REVISIONS:
        assert client.exchange.supports(name)
    limits = client.exchange.limits
    assert limits.max_packet == 256 * 1024
    assert limits.max_read == limits.max_write == 255 * 1024
    assert limits.max_handles is not None
    assert limits.max_handles > 0
    assert limits != DEFAULT_LIMITS
    assert client.end() == 0


def test_a_path_before_the_version(connect: Connect, tmp_path: Path) -> None:
    client = connect()
    begun, home = Collected(None), Collected(requests.realpath(b"."))
    client._write(client.exchange.start(begun))
    client._write(client.exchange.send(requests.realpath(b"."), home))
    reply = client.wait(home)
    assert begun.is_complete
    assert isinstance(reply, Names)
    assert reply.entries[0].filename == os.fsencode(tmp_path.resolve())


@pytest.mark.parametrize("size", [1000, 32768, 255 * 1024])
def test_write_and_read(client: Client, tmp_path: Path, size: int) -> None:
    content = os.urandom(size * 9 + 17)
    client.write(b"a file", content, size)
    assert (tmp_path / "a file").read_bytes() == content
    assert client.read(b"a file", size) == content
    assert client.exchange.outstanding == 0


def test_an_empty_file(client: Client, tmp_path: Path) -> None:
    client.write(b"empty", b"", 1)
    assert (tmp_path / "empty").stat().st_size == 0
    assert client.read(b"empty", 100) == b""


def test_open_flags(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "f"
    exclusive = CREATE | constants.SSH_FXF_EXCL
    mode = Attributes(permissions=0o640)
    client.do(requests.close(client.open(b"f", exclusive, mode)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    with pytest.raises(SFTPFailureError):
        client.open(b"f", exclusive)

    path.write_bytes(b"old")
    append = constants.SSH_FXF_WRITE | constants.SSH_FXF_APPEND
    handle = client.open(b"f", append)
    client.do(requests.write_header(handle, 0, 3), b"new")
    client.do(requests.close(handle))
    assert path.read_bytes() == b"oldnew"


def test_a_short_read_and_the_end(client: Client, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    handle = client.open(b"f", READ)
    sent = client.send(requests.read(handle, 4, 100))
    client.wait(sent)
    assert sent.data == b"456789"
    assert client.ask(requests.read(handle, 10, 1), Status).is_eof
    assert client.ask(requests.read(handle, 2**40, 1), Status).is_eof


def test_list_many(client: Client, tmp_path: Path) -> None:
    wanted = {b"%05d-\xe4 name" % number for number in range(1200)}
    for name in wanted:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))).touch(0o600)
    (tmp_path / "folder").mkdir()
    entries = {entry.filename: entry for entry in client.entries(b".")}
    assert entries.keys() == wanted | {b".", b"..", b"folder"}
    assert entries[b"folder"].attributes.is_dir
    for name in wanted:
        assert entries[name].attributes.is_file
        assert entries[name].attributes.mode == 0o600
        assert entries[name].longname.startswith(b"-rw-------")


@pytest.mark.parametrize("name", ["plain", "a b", "'\"\n", "ä€", "\udcff\udc80", "-rf", "%s\\"])
def test_any_name(client: Client, tmp_path: Path, name: str) -> None:
    (tmp_path / "d").mkdir()
    path = encode_path(f"d/{name}")
    client.write(path, b"x", 1)
    assert os.listdir(os.fsencode(tmp_path / "d")) == [encode_path(name)]
    names = {decode_name(entry.filename) for entry in client.entries(b"d")}
    assert names == {".", "..", name}
    client.do(requests.remove(path))
    assert os.listdir(tmp_path / "d") == []


def test_attributes(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    seen, wanted = client.stat(b"f"), path.stat()
    assert (seen.size, seen.uid, seen.gid) == (5, wanted.st_uid, wanted.st_gid)
    assert seen.permissions == wanted.st_mode
    assert (seen.atime, seen.mtime) == (int(wanted.st_atime), int(wanted.st_mtime))
    assert seen.is_file
    assert client.stat(b".").is_dir
    change = Attributes(size=3, permissions=0o604, atime=1_000_000_000, mtime=4_000_000_000)
    client.do(requests.setstat(b"f", change))
    assert stat.S_IMODE(path.stat().st_mode) == 0o604
    assert (path.stat().st_atime, path.stat().st_mtime) == (1_000_000_000, 4_000_000_000)
    assert path.read_bytes() == b"123"
    handle = client.open(b"f", constants.SSH_FXF_WRITE)
    client.do(requests.fsetstat(handle, Attributes(permissions=0o400)))
    attributes = client.ask(requests.fstat(handle), FileAttributes).attributes
    assert (attributes.size, attributes.mode, attributes.mtime) == (3, 0o400, 4_000_000_000)
    owner = Attributes(uid=os.getuid(), gid=os.getgid())
    client.do(requests.setstat(b"f", owner))


def test_links(client: Client, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    client.do(requests.symlink(target=b"f", link=b"link"))
    assert os.readlink(tmp_path / "link") == "f"
    assert client.one_name(requests.readlink(b"link")) == b"f"
    assert client.stat(b"link").is_file
    assert client.ask(requests.lstat(b"link"), FileAttributes).attributes.is_symlink
    times = Attributes(atime=1, mtime=2)
    client.do(requests.lsetstat(b"link", times))
    assert (tmp_path / "link").lstat().st_mtime == 2
    assert (tmp_path / "f").stat().st_mtime != 2

    client.do(requests.hardlink(b"f", b"second"))
    assert (tmp_path / "second").samefile(tmp_path / "f")


def test_renaming(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    with pytest.raises(SFTPFailureError):
        client.do(requests.rename(b"a", b"b"))
    client.do(requests.posix_rename(b"a", b"b"))
    assert (tmp_path / "b").read_bytes() == b"a"
    client.do(requests.rename(b"b", b"c"))
    assert os.listdir(tmp_path) == ["c"]


def test_directories(client: Client, tmp_path: Path) -> None:
    client.do(requests.mkdir(b"d", Attributes(permissions=0o700)))
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700
    with pytest.raises(SFTPFailureError):
        client.do(requests.mkdir(b"d"))
    (tmp_path / "d" / "f").touch()
    with pytest.raises(SFTPFailureError):
        client.do(requests.rmdir(b"d"))
    client.do(requests.remove(b"d/f"))
    client.do(requests.rmdir(b"d"))
    assert os.listdir(tmp_path) == []


def test_realpath(client: Client, tmp_path: Path) -> None:
    home = os.fsencode(tmp_path.resolve())
    (tmp_path / "d").mkdir()
    assert client.one_name(requests.realpath(b"")) == home
    assert client.one_name(requests.realpath(b"d/../d/.")) == home + b"/d"


def test_file_systems(client: Client, tmp_path: Path) -> None:
    handle = client.open(b"f", CREATE)
    wanted = os.statvfs(tmp_path)
    for request in (requests.statvfs(b"."), requests.fstatvfs(handle)):
        found = client.ask(request, StatVFS)
        assert (found.f_bsize, found.f_frsize) == (wanted.f_bsize, wanted.f_frsize)
        assert (found.f_blocks, found.f_namemax) == (wanted.f_blocks, wanted.f_namemax)
        assert 0 <= found.f_bavail <= found.f_bfree <= found.f_blocks


def test_fsync(client: Client) -> None:
    handle = client.open(b"f", CREATE)
    client.do(requests.write_header(handle, 0, 1), b"x")
    client.do(requests.fsync(handle))
    client.do(requests.close(handle))
    with pytest.raises(SFTPIOError):
        client.do(requests.fsync(handle))


def test_no_such_file(client: Client) -> None:
    sent = client.send(requests.open_file(b"/nowhere/\xff", READ))
    with pytest.raises(SFTPNoSuchFileError) as caught:
        client.wait(sent, "open", b"/nowhere/\xff")
    assert str(caught.value) == (
        "Could not open /nowhere/\\xff on host pipe:0: no such file or directory"
        " (SSH_FX_NO_SUCH_FILE: No such file)"
    )
    for request in (
        *(requests.stat(b"no"), requests.lstat(b"no"), requests.readlink(b"no")),
        *(requests.opendir(b"no"), requests.remove(b"no"), requests.rmdir(b"no")),
        *(requests.rename(b"no", b"x"), requests.posix_rename(b"no", b"x")),
        *(requests.hardlink(b"no", b"x"), requests.statvfs(b"no")),
        *(requests.setstat(b"no", Attributes(permissions=0)), requests.mkdir(b"no/no")),
    ):
        with pytest.raises(SFTPNoSuchFileError):
            client.wait(client.send(request))


def test_permission_denied(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    client = connect("-R")  # read only
    client.start()
    for request in (
        *(requests.open_file(b"f", constants.SSH_FXF_WRITE), requests.remove(b"f")),
        *(requests.mkdir(b"d"), requests.rename(b"f", b"g"), requests.symlink(b"f", b"l")),
    ):
        with pytest.raises(SFTPPermissionDeniedError):
            client.wait(client.send(request))
    assert client.read(b"f", 10) == b"x"


def test_unknown_extension(client: Client) -> None:
    with pytest.raises(SFTPUnsupportedError):
        client.do(requests.extended(b"no-such-thing@example.com", b""))


def test_a_handle_that_is_none(client: Client) -> None:
    for request in (requests.close(b"none"), requests.read(b"\0\0\0\x09", 0, 1)):
        with pytest.raises(SFTPIOError):
            client.wait(client.send(request))


def test_a_directory_is_no_file(client: Client, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(SFTPFailureError):
        client.open(b"d", CREATE)
    with pytest.raises(SFTPFailureError):
        client.do(requests.remove(b"d"))


def test_replies_out_of_order_do_not_matter(client: Client, tmp_path: Path) -> None:
    """Many small requests in flight, waited for from the last to the first."""
    for number in range(300):
        (tmp_path / str(number)).write_bytes(bytes(number))
    sent = [client.send(requests.stat(b"%d" % number)) for number in range(300)]
    for number, each in reversed(list(enumerate(sent))):
        reply = client.wait(each)
        assert isinstance(reply, FileAttributes)
        assert reply.attributes.size == number


def test_a_login_script_that_prints(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho Welcome to this host!\nexec cat >/dev/null\n")
    script.chmod(0o700)
    with (
        Client(str(script), tmp_path) as client,
        pytest.raises(SFTPProtocolError, match="the text 'Welc': does a login script"),
    ):
        client.start()
