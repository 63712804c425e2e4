"""What the parts of a copy with SCP share: the client, the options, and words for what fails."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator

import gevent

from pssh.clients.base.connection import Connection
from pssh.clients.base.ending import GRACE
from pssh.clients.base.files import scp_shell as shell
from pssh.clients.base.files.blocks import blocks
from pssh.clients.base.files.options import CopyOptions, Meter, Rate
from pssh.clients.base.files.scp_program import WRITE_SIZE, Program, answer
from pssh.clients.base.files.source import Source
from pssh.clients.base.host import HostClient
from pssh.exceptions import (
    ConnectionLostError,
    HostKeyError,
    PSSHError,
    SCPConnectionLostError,
    SCPError,
    SessionError,
    SSHError,
    Timeout,
)
from pssh.sftp.names import printable


class Copy:
    """A copy with SCP between here and a client's host.

    :param client: the client.
    :param options: how to copy.
    :param encoding: how remote paths are encoded.
    """

    __slots__ = ("_began", "_connection", "client", "encoding", "options", "rate")

    def __init__(self, client: HostClient, options: CopyOptions, encoding: str = "utf-8") -> None:
        self.client = client
        self.options = options
        self.encoding = encoding
        self.rate = Rate(options.limit_rate)
        self._connection: Connection | None = None
        self._began = time.monotonic()

    def start(self, command: bytes) -> Program:
        """Start a program on the host."""
        seconds = self.client.config.timeout
        self._connection, channel = self.client.open_channel(seconds)
        return Program(self._connection, channel, command, seconds)

    def meter(self, path: bytes, size: int) -> Meter:
        """Make what tells how far the copy of a remote file, or to one, has got."""
        return Meter(self.client.host, self.text(path), size, self.options.progress)

    def text(self, path: bytes) -> str:
        """Return a remote path as text."""
        return path.decode(self.encoding, "surrogateescape")

    def shown(self, path: bytes) -> str:
        """Return a remote path for a message."""
        return printable(self.text(path))

    @contextlib.contextmanager
    def open_source(self, path: str) -> Iterator[Source]:
        """Open a local file, or share it with other hosts that it is being sent to.

        :param path: its path.
        :raises SCPError: when SCP cannot say how long it is.
        """
        with self.client._resources.sources.open(path, self._began) as source:
            if source.is_made_up:
                raise SCPError(
                    "local file %s tells its length only at its end, and SCP has to say it before",
                    printable(path),
                )
            yield source

    # The remote shell

    def ask(self, command: bytes) -> bytes:
        """Run a command on the host and return what it prints.

        :raises SCPError: when it fails.
        """
        program = self.start(command)
        said = answer(program)
        if not program.succeeded:
            raise SCPError("%s", program.reason())
        return said

    def succeeds(self, command: bytes) -> bool:
        """Whether a command on the host succeeds; not where the host runs scp and nothing else."""
        try:
            program = self.start(command)
        except SessionError:
            return False
        answer(program)
        return program.succeeded

    def has_inode(self, path: bytes, number: int) -> bool:
        """Whether a remote path leads to the file with a number; not where the host cannot say."""
        try:
            said = self.ask(shell.inode(path)).split()
        except (SCPError, SessionError):
            return False
        return said[:1] == [b"%d" % number]

    def tidy(self, commands: Iterable[bytes], error: BaseException) -> None:
        """Run commands after a failure, if the connection still stands.

        :param commands: the commands; whether they succeed does not matter any more.
        :param error: the failure. Where it was a time-out, or this greenlet is to end, nobody
            waits for the commands.
        """
        connection, work = self._connection, list(commands)
        if connection is None or not work:
            return
        if isinstance(error, Timeout) or not isinstance(error, Exception):
            tidying = gevent.spawn(self._run_all, connection, work)
            if isinstance(error, KeyboardInterrupt):
                # The program may end now, and with it what was not waited for.
                tidying.join(GRACE)
        else:
            self._run_all(connection, work)

    def _run_all(self, connection: Connection, commands: Iterable[bytes]) -> None:
        seconds = self.client.config.timeout
        with contextlib.suppress(PSSHError):
            for command in commands:
                # Not on a new connection: the failure may be that there is none.
                if not connection.alive:
                    return
                answer(Program(connection, connection.open_session(), command, seconds))


def content(
    source: Source, start: int, rate: Rate, meter: Meter, write: Callable[[memoryview], None]
) -> None:
    """Send what is in a local file, from an offset on.

    The last of it is told to nobody: that it has arrived is for the host to say.

    :param source: the file.
    :param start: the offset in bytes.
    :param rate: holds it back.
    :param meter: is told how far it has got.
    :param write: sends.
    :raises OSError: when the file cannot be read.
    :raises SCPError: when it changes meanwhile.
    """
    offset, size = start, source.size
    piece = rate.piece(WRITE_SIZE)
    meter.tell(start)
    with contextlib.closing(blocks(source, start)) as found:
        for _, rest in found:
            while rest:
                part, rest = rest[:piece], rest[piece:]
                rate.pause(len(part))
                write(part)
                offset += len(part)
                meter.tell(offset)
    if offset < size or source.has_changed():
        raise changed(source.path)


def changed(path: str) -> SCPError:
    """Make the error for a local file that is another one than it was."""
    return SCPError("local file %s changed while it was copied", printable(path))


@contextlib.contextmanager
def explained(client: HostClient, local: str, remote: str, *, to_host: bool) -> Iterator[None]:
    """Say in every error which copy has failed.

    :param client: the client.
    :param local: the local path.
    :param remote: the remote path.
    :param to_host: the direction.
    """
    host, port = client.host, client.port
    here, there = printable(local), printable(remote)
    kind = SCPError
    try:
        yield
    except HostKeyError:
        raise
    except (SCPError, SSHError, ConnectionLostError) as ex:
        if isinstance(ex, ConnectionLostError):
            kind = SCPConnectionLostError
        said: tuple[object, ...]
        if to_host:
            said = ("Could not copy %s to %s on host %s:%s: %s", here, there, host, port, ex)
        else:
            said = ("Could not copy %s on host %s:%s to %s: %s", there, host, port, here, ex)
        error = kind(*said, host=host, port=port)
        error.path = remote
        raise error from ex
    except Timeout as ex:
        ex.path = remote
        raise
    except PSSHError:
        raise
    except OSError as ex:
        if ex.filename is None:
            ex.filename = local
        ex.host, ex.port = host, port  # type: ignore[attr-defined]
        ex.path = os.fsdecode(ex.filename)  # type: ignore[attr-defined]
        raise
