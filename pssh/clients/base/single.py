"""What a user can do with one host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gevent.exceptions import LoopExit

from pssh.clients.base import workers
from pssh.clients.base.command import Command
from pssh.clients.base.command_request import CommandRequest, Pty
from pssh.clients.base.connection import Connection
from pssh.clients.base.deadline import Deadline
from pssh.clients.base.ending import abandon, end_all
from pssh.clients.base.endless import explain
from pssh.clients.base.feeding import feed
from pssh.clients.base.files.scp_access import SCPAccess
from pssh.clients.base.follower import LineFollower, OnLine
from pssh.clients.base.limit import limit
from pssh.clients.base.seam import Channel
from pssh.clients.base.shell import InteractiveShell
from pssh.clients.base.shell_request import ShellRequest
from pssh.clients.base.stdin import Stdin
from pssh.clients.base.stdin_source import StdinSource
from pssh.clients.base.sudo import SudoDialogue
from pssh.clients.base.waiting import raise_error_of_on_line
from pssh.exceptions import ConnectionLostError, SSHError, Timeout
from pssh.output import HostOutput
from pssh.utils import logger

__all__ = ["BaseSSHClient", "InteractiveShell", "Stdin"]


class BaseSSHClient(SCPAccess):
    """A connection to one host, whichever library speaks the protocol.

    The constructor connects and authenticates. Use the client as a context manager, or
    :meth:`close` it; one that is forgotten is closed when it is collected.

    :param host: the host's name or address.
    :param settings: any of the settings of :class:`pssh.config.HostConfig`; the private key
        is called ``pkey`` here. The order of positional ones is that of parallel-ssh 2.x.
    :raises InvalidAPIUseError: when a setting cannot be used with this client.
    :raises PKeyFileError: when the private key is missing or is none.
    :raises PSSHError: when the host cannot be reached or does not let the user in.
    """

    def run_command(
        self,
        command: str,
        sudo: bool = False,
        user: str | None = None,
        use_pty: bool = False,
        shell: str | None = None,
        encoding: str | None = "utf-8",
        timeout: float | None = None,
        read_timeout: float | None = None,
        *,
        env: Mapping[str, str] | None = None,
        sudo_password: str | None = None,
        pty_size: tuple[int, int] | None = None,
        term: str | None = None,
        stdin: StdinSource | None = None,
        encoding_errors: str = "strict",
        on_line: OnLine | None = None,
        command_timeout: float | None = None,
        kill_after: float | None = None,
    ) -> HostOutput:
        """Start a command and return its output while it runs.

        :param command: what to run; it is quoted for the shell.
        :param sudo: run it with sudo.
        :param user: run it as this user, with sudo.
        :param use_pty: run it on a pseudo terminal; its standard error comes with its
            standard output then.
        :param shell: the shell and its option for a command; default ``$SHELL -c``.
        :param encoding: how the output is decoded; ``None`` for bytes.
        :param timeout: seconds that opening the channel and starting the command may take
            each; default is the client's ``timeout``.
        :param read_timeout: seconds without output after which reading raises ``Timeout``.
        :param env: environment variables (``AcceptEnv`` in sshd_config(5)).
        :param sudo_password: given to sudo when it asks; implies ``sudo``.
        :param pty_size: columns and rows of the pseudo terminal; implies ``use_pty``.
        :param term: its terminal type; implies ``use_pty``.
        :param stdin: sent to the command's standard input, which is then closed: text, bytes,
            an iterable of them, or an open file.
        :param encoding_errors: the codec's error handler.
        :param on_line: called with the output, ``"stdout"`` or ``"stderr"``, and each line as
            it comes, one call at a time. What it raises ends its calls, is in the output's
            ``exception``, and is raised by :meth:`wait_finished`; the command runs on, and the
            lines that are left can be read.
        :param command_timeout: seconds that the command may run. Then it is sent TERM, then
            KILL, then its channel is closed; the output's ``exception`` is a ``Timeout``.
        :param kill_after: seconds from one of these to the next; default 5.
        :raises Timeout: naming the step that took too long.
        :raises SessionError: when the server refuses the channel, the pseudo terminal, a
            variable or the command.
        :raises PSSHError: when the connection is lost, or cannot be opened again.
        """
        request = CommandRequest(
            command,
            sudo,
            user,
            use_pty,
            shell,
            encoding,
            timeout,
            read_timeout,
            env,
            sudo_password,
            pty_size,
            term,
            stdin,
            encoding_errors,
            on_line,
            command_timeout,
            kill_after,
        )
        output, running = self.start_command(request)
        workers.start(running.run)
        return output

    def start_command(self, request: CommandRequest) -> tuple[HostOutput, Command]:
        """Start a command for a caller who then has :meth:`Command.run` read it.

        That saves a greenlet where the caller is in one that has nothing else to do.

        :param request: what :meth:`run_command` was asked for.
        :raises PSSHError: as :meth:`run_command` does.
        """
        if self._given is not None:
            self.complete_settings()
        if self.config.use_pty:
            # The request may be other hosts' too.
            request = replace(request, use_pty=True)
        dialogue = request.sudo_dialogue()
        sent = request.line(dialogue)
        running = self._start(
            sent,
            request.timeout,
            request.env,
            request.pty,
            dialogue,
        )
        output = self._output_of(
            running, request.encoding, request.encoding_errors, request.read_timeout, sent
        )
        if request.on_line is not None:
            running.follower = LineFollower(output, request.on_line)
        if request.stdin is not None:
            after = dialogue.over if dialogue is not None else None
            feed(running, request.stdin_chunks(), after=after)
        if request.command_timeout is not None:
            limit(running, request.command_timeout, request.kill_after)
        return output, running

    def _output_of(
        self,
        running: Command,
        encoding: str | None,
        encoding_errors: str,
        read_timeout: float | None,
        sent: bytes | None = None,
    ) -> HostOutput:
        return HostOutput(
            self.host,
            running,
            Stdin(running, encoding, self),
            client=self,
            alias=self.alias,
            encoding=encoding,
            encoding_errors=encoding_errors,
            read_timeout=read_timeout,
            fully_qualified_command=sent,
        )

    def _start(
        self,
        sent: bytes | None,
        timeout: float | None,
        env: Mapping[str, str] | None,
        pty: Pty | None,
        dialogue: SudoDialogue | None = None,
    ) -> Command:
        """Open a channel and start on it a command, or the login shell when there is none."""
        step = "start the shell" if sent is None else "start the command"
        seconds = timeout or self.config.timeout
        connection, channel = self.open_channel(seconds)
        command = Command(
            connection,
            channel,
            self.config.buffer_size or 1,
            self.config.buffer_overflow or "file",
            dialogue,
            pty is not None,
            # A shell on a terminal takes no notice of TERM.
            "HUP" if sent is None else "TERM",
        )
        request: tuple[Any, ...] = (
            (channel.request_shell,) if sent is None else (channel.request_exec, sent)
        )
        tried = False
        try:
            with Deadline(seconds, self.host, self.port, step):
                if env or self.config.set_env:
                    self._send_environment(connection, channel, env or {})
                if pty is not None:
                    connection.call(channel.request_pty, *pty)
                if self._forwarding is not None:
                    self.request_agent(channel)
                tried = True
                connection.call(*request)
        except BaseException as ex:
            abandon(command, request if tried and not isinstance(ex, SSHError) else None)
            if isinstance(ex, KeyboardInterrupt):
                end_all([connection])
            raise
        return command

    def open_shell(
        self,
        encoding: str | None = "utf-8",
        read_timeout: float | None = None,
        *,
        use_pty: bool = False,
        pty_size: tuple[int, int] | None = None,
        term: str | None = None,
        env: Mapping[str, str] | None = None,
        encoding_errors: str = "strict",
        timeout: float | None = None,
    ) -> InteractiveShell:
        """Start the user's login shell, which then runs one command after the other.

        :param encoding: how commands are encoded and output is decoded; ``None`` for bytes.
        :param read_timeout: seconds without output after which reading raises ``Timeout``.
        :param use_pty: run it on a pseudo terminal. It prompts and echoes then, as it does for
            a person; its standard error comes with its standard output.
        :param pty_size: columns and rows of the pseudo terminal; implies ``use_pty``.
        :param term: its terminal type; implies ``use_pty``.
        :param env: environment variables (``AcceptEnv`` in sshd_config(5)).
        :param encoding_errors: the codec's error handler.
        :param timeout: seconds that opening the channel and starting the shell may take each;
            default is the client's ``timeout``.
        :raises Timeout: naming the step that took too long.
        :raises SessionError: when the server refuses the channel, the pseudo terminal, a
            variable or the shell.
        :raises PSSHError: when the connection is lost, or cannot be opened again.
        """
        request = ShellRequest(
            encoding, read_timeout, use_pty, pty_size, term, env, encoding_errors, timeout
        )
        output, running = self.start_shell(request)
        workers.start(running.run)
        return InteractiveShell(output)

    def start_shell(self, request: ShellRequest) -> tuple[HostOutput, Command]:
        """Start a shell for a caller who then has :meth:`Command.run` read it.

        :param request: what :meth:`open_shell` was asked for.
        :raises PSSHError: as :meth:`open_shell` does.
        """
        running = self._start(None, request.timeout, request.env, request.pty)
        output = self._output_of(
            running, request.encoding, request.encoding_errors, request.read_timeout
        )
        return output, running

    def _send_environment(
        self, connection: Connection, channel: Channel, env: Mapping[str, str]
    ) -> None:
        """Send the variables of ``set_env``, as far as the server takes them, and others.

        :param env: variables for this command alone.
        """
        for name, value in (self.config.set_env or {}).items():
            if name in env or name in self._refused_variables:
                continue
            try:
                connection.call(channel.request_environment, name, value)
            except ConnectionLostError:
                raise
            except SSHError as ex:
                # As for OpenSSH, it is no reason to do without the command.
                self._refused_variables.add(name)
                logger.warning("%s. Commands run without it", ex)
        for name, value in env.items():
            connection.call(channel.request_environment, name, str(value))

    def wait_finished(self, host_output: HostOutput, timeout: float | None = None) -> None:
        """Wait until a command has finished.

        :param host_output: its output.
        :param timeout: seconds.
        :raises Timeout: when it takes longer.
        :raises Exception: what ``on_line`` raised.
        """
        command = host_output.command
        if command is not None and not self._wait_for(command, timeout):
            raise Timeout(
                "The command on host %s:%s has not finished in %s seconds",
                self.host,
                self.port,
                timeout,
                host=self.host,
                port=self.port,
                step="wait for the command",
            )
        raise_error_of_on_line(host_output)

    def _wait_for(self, command: Command, timeout: float | None) -> bool:
        try:
            return command.wait(timeout)
        except KeyboardInterrupt:
            self.interrupted(command)
            raise
        except LoopExit as ex:
            raise explain([command], ex) from ex
