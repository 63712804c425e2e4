"""A login shell on a host, which runs one command after the other."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import TYPE_CHECKING

import gevent
from gevent.lock import BoundedSemaphore

from pssh.clients.base.command_request import shell_encoding
from pssh.exceptions import PSSHError, ShellError, Timeout

if TYPE_CHECKING:
    from pssh.clients.base.command import Command
    from pssh.clients.base.seam import Channel
    from pssh.clients.base.single import BaseSSHClient
    from pssh.clients.base.stdin import Stdin
    from pssh.output import HostOutput, LineReader

#: What ends a shell on a terminal, where SSH's EOF does not reach it. Ctrl-D at the beginning of
#: a line ends whatever reads the terminal; in the middle of a line it takes two. A shell with a
#: line editor takes one that was typed while a command ran for something else, but not "exit".
_END_ON_TERMINAL = b"\x04\x04exit\n"


class InteractiveShell:
    """A shell from ``open_shell``; a context manager that waits for its commands and closes it.

    Its output is that of all commands together, and it is one stream: nothing tells where one
    command's ends and the next one's begins. What it prints can be read while it runs.

    :param output: its output. Where it could not be opened, that has the error.
    """

    __slots__ = ("__weakref__", "_closing", "_command", "_running", "_told_to_end", "output")

    def __init__(self, output: HostOutput) -> None:
        #: Its output, as that of a command.
        self.output = output
        self._command: Command | None = output.command
        self._running = BoundedSemaphore(1)
        self._closing = False
        self._told_to_end = False

    # What it is

    @property
    def host(self) -> str:
        """The host."""
        return self.output.host

    @property
    def alias(self) -> str | None:
        """The host's alias, if it has one."""
        return self.output.alias

    @property
    def client(self) -> BaseSSHClient | None:
        """The host's client."""
        return self.output.client

    @property
    def channel(self) -> Channel | None:
        """The shell's channel; ``None`` where it could not be opened."""
        return self.output.channel

    @property
    def stdout(self) -> LineReader | None:
        """The lines of standard output; ``None`` where the shell could not be opened."""
        return self.output.stdout

    @property
    def stderr(self) -> LineReader | None:
        """The lines of standard error; ``None`` where the shell could not be opened."""
        return self.output.stderr

    @property
    def stdin(self) -> Stdin | None:
        """The shell's standard input, and that of the command that it runs."""
        return self.output.stdin

    @property
    def exit_code(self) -> int | None:
        """The exit status of the last command, once the shell has ended; ``None`` until then.

        It stays ``None`` where the connection was lost first; negative: the number of the
        signal that killed the shell.
        """
        return self.output.exit_code

    @property
    def exit_signal(self) -> str | None:
        """The name of the signal that killed the shell."""
        return self.output.exit_signal

    @property
    def exception(self) -> BaseException | None:
        """Why the shell could not be opened, or did not come to its end."""
        return self.output.exception

    @property
    def closed(self) -> bool:
        """Whether the shell takes no more commands: it is closing, or has ended."""
        return self._closing or self.finished

    @property
    def finished(self) -> bool:
        """Whether the shell has ended, and all its output has come."""
        return self.output.finished

    # Using it

    def run(self, cmd: str | bytes) -> None:
        """Have the shell run a command once it has run those before.

        It does not wait for the command, only until the server has taken it.

        :param cmd: the command, as it is; of several lines, if you like. A line feed is added.
        :raises ShellError: when the shell is closed, or has ended by itself.
        """
        encoding = shell_encoding(self.output.encoding)
        line = cmd.encode(encoding) if isinstance(cmd, str) else cmd
        # Commands of several greenlets must not mix.
        with self._running:
            command = self._open_command()
            try:
                command.write(line + b"\n")
            except KeyboardInterrupt:
                self._interrupted(command)
                raise
            except PSSHError as ex:
                if not command.input_ended and not command.held_back:
                    # Not before it is known how the shell ended, which is about to be.
                    command.done.wait()
                raise self._cannot_run() from ex

    def send_signal(self, name: str) -> None:
        """Ask the server to deliver a signal to the shell (RFC 4254 section 6.9).

        :param name: its name, such as ``"INT"``.
        :raises SessionError: when the shell could not be opened.
        :raises ConnectionLostError: when the connection has ended.
        """
        self.output.send_signal(name)

    def resize(self, columns: int, rows: int) -> None:
        """Tell the shell's pseudo terminal its new size (RFC 4254 section 6.7).

        :param columns: how many characters a line has.
        :param rows: how many lines there are.
        :raises ValueError: when one of them is no size.
        :raises InvalidAPIUseError: when the shell has no pseudo terminal.
        :raises SessionError: when the shell could not be opened.
        :raises ConnectionLostError: when the connection has ended.
        """
        self.output.resize(columns, rows)

    # Ending it

    def close(self, timeout: float | None = None) -> None:
        """Let the shell run what it was given, and wait for its end. Again does nothing.

        Its output can be read afterwards. A shell that died raises nothing here: what happened
        is in :attr:`exception`.

        :param timeout: seconds to wait. After that the shell is closed for commands, and runs
            on: call it again to wait longer, or :meth:`terminate`.
        :raises Timeout: when it takes longer.
        """
        command = self._command
        if command is None:
            return
        try:
            with gevent.Timeout(timeout, False):
                self._end_input(command)
                command.done.wait()
        except KeyboardInterrupt:
            self._interrupted(command)
            raise
        if not command.done.is_set():
            raise Timeout(
                "The shell on host %s:%s has not ended in %s seconds",
                command.connection.host,
                command.connection.port,
                timeout,
                host=command.connection.host,
                port=command.connection.port,
                step="close the shell",
            )

    def terminate(self, timeout: float = 5) -> None:
        """End the shell and what it runs: hang up, and close its channel when it does not end.

        :param timeout: seconds to wait in between.
        :raises SessionError: when the shell could not be opened.
        :raises ConnectionLostError: when the connection has ended.
        """
        self._closing = True
        self.output.terminate(timeout)

    def abandon(self) -> None:
        """End the shell and what it runs, without waiting for anything."""
        self._closing = True
        if self._command is not None:
            gevent.spawn(self._abandon, self._command)

    @staticmethod
    def _abandon(command: Command) -> None:
        with contextlib.suppress(PSSHError):
            command.send_signal(command.first_signal)
        command.close()

    def _interrupted(self, command: Command) -> None:
        """End the shell and what it runs, after Ctrl-C."""
        self._closing = True
        assert self.client is not None
        self.client.interrupted(command)

    def _end_input(self, command: Command) -> None:
        self._closing = True
        # A shell that has ended needs no more to be told.
        with self._running, contextlib.suppress(PSSHError):
            if self._told_to_end:
                return
            if command.has_pty:
                command.write(_END_ON_TERMINAL)
            else:
                command.end_input()
            self._told_to_end = True

    # Errors

    def _open_command(self) -> Command:
        if self._command is None or self.closed:
            raise self._cannot_run() from self.exception
        return self._command

    def _cannot_run(self) -> ShellError:
        port = self._command.connection.port if self._command is not None else None
        where = self.host if port is None else f"{self.host}:{port}"
        return ShellError(
            "Cannot run a command in the shell on host %s: %s",
            where,
            self._why_not(),
            host=self.host,
            port=port,
        )

    def _why_not(self) -> str:
        if self.exception is not None:
            return str(self.exception)
        if self._closing:
            return "it has been closed"
        if self.exit_signal is not None:
            return f"it was ended by signal {self.exit_signal}"
        if self.exit_code is not None:
            return f"it has ended with exit code {self.exit_code}"
        return "its standard input has been closed"

    def __enter__(self) -> InteractiveShell:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        elif isinstance(error, KeyboardInterrupt) and self._command is not None:
            self._interrupted(self._command)
        else:
            # Whoever has an error does not want to wait for commands of another kind.
            self.abandon()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<InteractiveShell on {self.host}: {state}, exit code {self.exit_code}>"
