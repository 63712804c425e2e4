"""What a channel can be used for by hand, as scripts written for 2.x do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import gevent

from pssh.clients.base.command import Command
from pssh.clients.base.command_request import DEFAULT_PTY_SIZE, DEFAULT_TERM
from pssh.clients.base.host import HostClient
from pssh.clients.base.seam import Channel
from pssh.clients.reader import ConcurrentRWBuffer
from pssh.lines import LineDecoder
from pssh.output import Line, LineReader
from pssh.utils import host_logger


class ChannelAccess(HostClient):
    """The part of a client that takes channels and buffers rather than outputs."""

    def finished(self, channel: Channel | None) -> bool:
        """Whether the command on a channel has ended, without asking the network."""
        command = _command_on(channel)
        return command is None or command.done.is_set()

    def get_exit_status(self, channel: Channel | None) -> int | None:
        """Return the exit code of the command on a channel, ``None`` while it runs."""
        command = _command_on(channel)
        return command.exit_code if command is not None else None

    def close_channel(self, channel: Channel | None) -> None:
        """Close a channel. A command on it that has a pseudo terminal ends with it."""
        if channel is None:
            return
        command = _command_on(channel)
        if command is not None:
            command.close()
        elif self._connection is not None and channel.owner is None:
            self._connection.call(channel.close)
            self._connection.release(channel)

    # Reading, as 2.x had it

    def read_output(
        self, stdout_buffer: ConcurrentRWBuffer, timeout: float | None = None
    ) -> Iterator[Line]:
        """Iterate over the lines, as bytes, of a stream's buffer.

        :param stdout_buffer: ``host_output.buffers.stdout.rw_buffer``.
        :param timeout: seconds without data after which it raises.
        :raises Timeout: after that.
        """
        reader = LineReader(
            stdout_buffer,
            LineDecoder(None),
            self.host,
            self.port,
            lambda: self._interrupted_reading(stdout_buffer),
        )
        reader.read_timeout = timeout
        return iter(reader)

    def _interrupted_reading(self, buffer: ConcurrentRWBuffer) -> None:
        for command in list(self._connection.commands if self._connection is not None else ()):
            if buffer is command.stdout or buffer is command.stderr:
                self.interrupted(command)

    def read_stderr(
        self, stderr_buffer: ConcurrentRWBuffer, timeout: float | None = None
    ) -> Iterator[Line]:
        """Iterate over the lines, as bytes, of ``host_output.buffers.stderr.rw_buffer``.

        :param stderr_buffer: the buffer.
        :param timeout: seconds without data after which it raises.
        :raises Timeout: after that.
        """
        return self.read_output(stderr_buffer, timeout)

    def read_output_buffer(
        self,
        output_buffer: Iterable[str | bytes],
        prefix: str | None = None,
        callback: Callable[..., Any] | None = None,
        callback_args: Sequence[Any] | None = None,
        encoding: str = "utf-8",
    ) -> Iterator[str]:
        """Iterate over lines, logging each to the host logger.

        :param output_buffer: lines, such as ``host_output.stdout``.
        :param prefix: stands before each line in the log.
        :param callback: called after the last line.
        :param callback_args: with these arguments.
        :param encoding: how lines of bytes are decoded.
        """
        for line in output_buffer:
            text = line.decode(encoding) if isinstance(line, bytes) else line
            host_logger.info("[%s]%s\t%s", self.alias or self.host, prefix or "", text)
            yield text
        if callback is not None:
            callback(*(callback_args or ()))

    # Channels by hand

    def open_session(self) -> Channel:
        """Open a session channel.

        :raises Timeout: when that takes longer than the client's ``timeout``.
        :raises SessionError: when the server refuses.
        """
        return self.open_channel(self.config.timeout)[1]

    def execute(self, cmd: str, use_pty: bool = False, channel: Channel | None = None) -> Channel:
        """Start a command, as it is, and return its channel.

        .. deprecated:: 2.0 Use :meth:`run_command`.

        :param cmd: the command.
        :param use_pty: run it on a pseudo terminal.
        :param channel: a channel from :meth:`open_session`.
        """
        warnings.warn("execute is deprecated: use run_command", DeprecationWarning, stacklevel=2)
        opened = channel if channel is not None else self.open_session()
        if use_pty:
            self.eagain(opened.request_pty, DEFAULT_TERM, *DEFAULT_PTY_SIZE)
        self.eagain(opened.request_exec, cmd.encode())
        return opened

    def eagain(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method of a channel until it no longer would block.

        :param func: the method.
        :param args: its arguments.
        :param kwargs: its keyword arguments.
        """
        return self.connect().call(lambda: func(*args, **kwargs))

    def eagain_write(self, write_func: Callable[[bytes], Any], data: bytes) -> None:
        """Call a channel's ``write`` until everything has been sent.

        :param write_func: the method.
        :param data: what to send.
        """
        while data:
            data = data[self.connect().call(write_func, data) :]

    def poll(self, timeout: float | None = None) -> None:
        """Wait until the session may have got further.

        :param timeout: for so many seconds at most.
        """
        with gevent.Timeout(timeout, False):
            self.connect().wait()


def _command_on(channel: Channel | None) -> Command | None:
    owner = channel.owner if channel is not None else None
    return owner() if owner is not None else None
