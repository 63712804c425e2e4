"""What a command on a host prints, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import gevent
from gevent.exceptions import LoopExit

from pssh.clients.reader import ConcurrentRWBuffer
from pssh.exceptions import SessionError, Timeout
from pssh.lines import LineDecoder

if TYPE_CHECKING:
    from pssh.clients.base.command import Command
    from pssh.clients.base.seam import Channel
    from pssh.clients.base.single import BaseSSHClient, Stdin

Line = str | bytes

#: What the kernel's ``struct winsize`` (tty_ioctl(4)) has room for.
_TERMINAL_MAX = 0xFFFF


class BufferData(NamedTuple):
    """A stream: who reads it, and where its bytes wait."""

    reader: Any
    rw_buffer: ConcurrentRWBuffer


class HostOutputBuffers(NamedTuple):
    """The streams of a command."""

    stdout: BufferData
    stderr: BufferData


class LineReader:
    """Iterates over the lines of a stream, as they come.

    Lines that were read are gone. Iteration can be interrupted, also by a time-out, and
    goes on where it stopped. It ends when the command has finished.

    :param buffer: where the stream's bytes come in.
    :param decoder: splits them.
    :param host: the host, for messages.
    :param port: its port.
    :param interrupted: called when Ctrl-C comes while somebody waits for lines. What it belongs to
        is kept alive as long as the lines can be read.
    :param stuck: returns what to raise when nothing can end a wait, for what gevent says of that.
    """

    __slots__ = (
        "_buffer",
        "_decoder",
        "_finished",
        "_host",
        "_interrupted",
        "_port",
        "_stuck",
        "read_timeout",
    )

    def __init__(
        self,
        buffer: ConcurrentRWBuffer,
        decoder: LineDecoder,
        host: str,
        port: int | None,
        interrupted: Callable[[], object] | None = None,
        stuck: Callable[[LoopExit], BaseException] | None = None,
    ) -> None:
        self._buffer = buffer
        self._decoder = decoder
        self._host = host
        self._port = port
        self._interrupted = interrupted
        self._stuck = stuck
        self._finished = False
        self.read_timeout: float | None = None

    @property
    def decoder(self) -> LineDecoder:
        """What splits and decodes."""
        return self._decoder

    def __iter__(self) -> Iterator[Line]:
        # A generator is the fastest that Python offers for each single line.
        try:
            while True:
                yield from self._decoder.lines
                if self._finished:
                    self._raise_cut_off()
                    return
                self._next_chunk()
        except KeyboardInterrupt:
            if self._interrupted is not None:
                self._interrupted()
            raise

    def __next__(self) -> Line:
        for line in self:
            return line
        raise StopIteration

    def _next_chunk(self) -> None:
        """Feed the decoder with what comes next, or finish when nothing will come."""
        data = self._buffer.take()
        while data is None and not self._buffer.eof:
            self._wait()
            data = self._buffer.take()
        if data is None:
            self._finished = True
            self._decoder.finish()
        else:
            self._decoder.feed(data)

    def _wait(self) -> None:
        if not self.read_timeout:
            try:
                self._buffer.wait_for_data()
            except LoopExit as ex:
                if self._stuck is None:
                    raise
                raise self._stuck(ex) from ex
            return
        with gevent.Timeout(self.read_timeout, False):
            self._buffer.wait_for_data()
            return
        raise Timeout(
            "Host %s:%s sent no output for %s seconds",
            self._host,
            self._port,
            self.read_timeout,
            host=self._host,
            port=self._port,
            step="read",
        )

    def take_lines(self) -> Iterator[Line]:
        """Iterate over the lines that are here, without waiting for more.

        At the end of the stream that includes a last line without an ending.
        """
        while True:
            yield from self._decoder.lines
            if self._finished or (not self._buffer.eof and not self._has_data()):
                return
            self._next_chunk()

    def _has_data(self) -> bool:
        return len(self._buffer) > 0

    @property
    def at_end(self) -> bool:
        """Whether :meth:`take_lines` has come to the end of the stream."""
        return self._finished

    def wait(self) -> None:
        """Wait, however long, until :meth:`take_lines` may have something, or is at its end."""
        self._buffer.wait_for_data()

    def _raise_cut_off(self) -> None:
        error = self._buffer.error
        if error is not None:
            raise error


class _Done:
    """Stands for a reader greenlet in :class:`BufferData`, whose interface 2.x showed."""

    __slots__ = ("_command",)

    def __init__(self, command: Command) -> None:
        self._command = command

    def ready(self) -> bool:
        """Whether the stream has been read to its end."""
        return bool(self._command.done.is_set())

    def join(self, timeout: float | None = None) -> None:
        """Wait until the stream has been read to its end, for so many seconds at most."""
        self._command.done.wait(timeout)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and 1 <= value <= _TERMINAL_MAX


def terminal_size(columns: int, rows: int) -> tuple[int, int]:
    """Return the size of a terminal.

    :param columns: characters in a line.
    :param rows: lines.
    :raises ValueError: when one of them is no size.
    """
    for size in (columns, rows):
        if not _is_size(size):
            raise ValueError(
                f"The size of a terminal is its columns and rows, each from 1 to {_TERMINAL_MAX}, "
                f"not {columns!r} and {rows!r}"
            )
    return columns, rows


class HostOutput:
    """A command on a host: its output, its input and its exit code.

    :ivar host: the host.
    :ivar alias: its alias, if it has one.
    :ivar client: the host's client.
    :ivar channel: the command's channel.
    :ivar stdin: the command's standard input.
    :ivar fully_qualified_command: the bytes that were sent.
    :ivar buffers: where output waits until it is read.
    """

    __slots__ = (
        "__weakref__",
        "_command",
        "_encoding",
        "_encoding_errors",
        "_exception",
        "_read_timeout",
        "_stderr",
        "_stdout",
        "alias",
        "channel",
        "client",
        "fully_qualified_command",
        "host",
        "stdin",
    )

    def __init__(
        self,
        host: str,
        command: Command | None = None,
        stdin: Stdin | None = None,
        client: BaseSSHClient | None = None,
        alias: str | None = None,
        exception: BaseException | None = None,
        encoding: str | None = "utf-8",
        encoding_errors: str = "strict",
        read_timeout: float | None = None,
        fully_qualified_command: bytes | None = None,
    ) -> None:
        self.host = host
        self.alias = alias
        self.client = client
        self.channel: Channel | None = command.channel if command is not None else None
        self.stdin = stdin
        self.fully_qualified_command = fully_qualified_command
        self._command = command
        self._exception = exception
        self._encoding = encoding
        self._read_timeout = read_timeout
        self._encoding_errors = encoding_errors
        # Made when they are asked for: many commands are only about their exit code.
        self._stdout: LineReader | None = None
        self._stderr: LineReader | None = None

    @property
    def stdout(self) -> LineReader | None:
        """The lines of standard output; ``None`` when the command was not started."""
        if self._stdout is None and self._command is not None:
            self._stdout = self._reader(self._command.stdout)
        return self._stdout

    @property
    def stderr(self) -> LineReader | None:
        """The lines of standard error; ``None`` when the command was not started."""
        if self._stderr is None and self._command is not None:
            self._stderr = self._reader(self._command.stderr)
        return self._stderr

    def _reader(self, buffer: ConcurrentRWBuffer) -> LineReader:
        assert self._command is not None
        decoder = LineDecoder(self._encoding, self._encoding_errors)
        port = self._command.connection.port
        # Not a method of ours: a reader may be kept longer than this, and is not to keep it.
        interrupted = partial(self.client.interrupted, self._command) if self.client else None
        stuck = partial(self.client.stuck, self._command) if self.client else None
        reader = LineReader(buffer, decoder, self.host, port, interrupted, stuck)
        reader.read_timeout = self._read_timeout
        return reader

    @property
    def exit_code(self) -> int | None:
        """The command's exit status, without asking the network.

        ``None`` until it has finished, and for ever where it was not started or the
        connection was lost first. Negative: the number of the signal that killed it.
        """
        return self._command.exit_code if self._command is not None else None

    @property
    def exit_signal(self) -> str | None:
        """The name of the signal that killed the command, such as ``"KILL"``."""
        return self._command.exit_signal if self._command is not None else None

    @property
    def exception(self) -> BaseException | None:
        """Why the command was not started, or did not come to its end.

        If it did, what ``on_line`` raised.
        """
        command = self._command
        if self._exception is not None or command is None:
            return self._exception
        if command.error is None and command.follower is not None:
            return command.follower.error
        return command.error

    @property
    def finished(self) -> bool:
        """Whether the command has ended, and all its output has come."""
        return self._command is None or self._command.finished

    @property
    def command(self) -> Command | None:
        """The running command."""
        return self._command

    @property
    def encoding(self) -> str | None:
        """How lines are decoded, from the next one on; ``None`` for bytes."""
        return self._encoding

    @encoding.setter
    def encoding(self, encoding: str | None) -> None:
        for reader in (self._stdout, self._stderr):
            if reader is not None:
                reader.decoder.encoding = encoding
        self._encoding = encoding

    @property
    def read_timeout(self) -> float | None:
        """Seconds without data after which reading a stream raises ``Timeout``."""
        return self._read_timeout

    @read_timeout.setter
    def read_timeout(self, seconds: float | None) -> None:
        self._read_timeout = seconds
        for reader in (self._stdout, self._stderr):
            if reader is not None:
                reader.read_timeout = seconds

    @property
    def buffers(self) -> HostOutputBuffers | None:
        """Where output waits until it is read; ``None`` when the command was not started."""
        if self._command is None:
            return None
        reader = _Done(self._command)
        return HostOutputBuffers(
            stdout=BufferData(reader, self._command.stdout),
            stderr=BufferData(reader, self._command.stderr),
        )

    def send_signal(self, name: str) -> None:
        """Ask the server to deliver a signal to the command (RFC 4254 section 6.9).

        Servers need not support that; there is no answer. OpenSSH delivers it to commands
        of the same user since 7.9.

        :param name: its name, such as ``"TERM"``.
        :raises SessionError: when the command was not started.
        :raises ConnectionLostError: when the connection has ended.
        """
        self._started().send_signal(name)

    def terminate(self, timeout: float = 5) -> None:
        """End the command: send TERM (a shell: HUP), and close its channel when it does not end.

        :param timeout: seconds to wait in between.
        :raises SessionError: when the command was not started.
        :raises ConnectionLostError: when the connection has ended.
        """
        command = self._started()
        try:
            command.send_signal(command.first_signal)
            command.done.wait(timeout)
        except KeyboardInterrupt:
            if self.client is not None:
                self.client.interrupted(command)
            raise
        command.close()

    def resize(self, columns: int, rows: int) -> None:
        """Tell the command's pseudo terminal its new size (RFC 4254 section 6.7).

        A command that has ended is left alone.

        :param columns: how many characters a line has.
        :param rows: how many lines there are.
        :raises ValueError: when one of them is no size.
        :raises InvalidAPIUseError: when the command has no pseudo terminal.
        :raises SessionError: when the command was not started.
        :raises ConnectionLostError: when the connection has ended.
        """
        self._started().resize(*terminal_size(columns, rows))

    def _started(self) -> Command:
        if self._command is None:
            raise SessionError("No command was started on host %s", self.host, host=self.host)
        return self._command

    def __repr__(self) -> str:
        return (
            f"\thost={self.host}\n"
            f"\talias={self.alias}\n"
            f"\texit_code={self.exit_code}\n"
            f"\tchannel={self.channel}\n"
            f"\texception={self.exception}\n"
            f"\tencoding={self.encoding}\n"
            f"\tread_timeout={self.read_timeout}\n"
            f"\tfully_qualified_command={self.fully_qualified_command!r}"
        )

    __str__ = __repr__
