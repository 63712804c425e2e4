"""What a user can do with one host."""

from __future__ import annotations

import inspect
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, TypeVar

import gevent
from gevent.lock import BoundedSemaphore

from pssh import config as configuration
from pssh.clients.base.auth import Credentials
from pssh.clients.base.command import Command, feed
from pssh.clients.base.connect import Target, connect
from pssh.clients.base.connection import Connection
from pssh.clients.base.deadline import Deadline
from pssh.clients.base.resources import Resources
from pssh.clients.base.seam import STDERR, STDOUT, Algorithms, Channel, Session
from pssh.clients.base.stdin import Stdin
from pssh.clients.base.sudo import SudoDialogue
from pssh.clients.reader import ConcurrentRWBuffer
from pssh.command_line import fully_qualified_command
from pssh.config import HostConfig
from pssh.exceptions import ConnectionLostError, InvalidAPIUseError, PSSHError, Timeout
from pssh.lines import LineDecoder
from pssh.output import HostOutput, Line, LineReader
from pssh.utils import host_logger

__all__ = ["BaseSSHClient", "Stdin"]

_Self = TypeVar("_Self", bound="BaseSSHClient")
StdinSource = str | bytes | Iterable[str | bytes]

_DEFAULT_TERM = "vt100"
_DEFAULT_PTY_SIZE = (80, 24)


class BaseSSHClient(ABC):
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

    #: Private keys that are tried where ``identity_auth`` is on, as in ssh_config(5).
    IDENTITIES: ClassVar[Sequence[str]] = (
        "~/.ssh/id_ed25519",
        "~/.ssh/id_ecdsa",
        "~/.ssh/id_rsa",
    )

    #: What positional arguments after the host mean.
    _POSITIONAL: ClassVar[Sequence[str]] = ()
    #: Settings that this client's library cannot do, and what to say about each.
    _UNSUPPORTED: ClassVar[Mapping[str, str]] = {}

    def __init__(self, host: str, *args: Any, **settings: Any) -> None:
        name = type(self).__name__
        self._prepare(host, configuration.from_arguments(name, self._POSITIONAL, args, settings))
        self.connect()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__signature__ = _signature("host", cls._POSITIONAL)  # type: ignore[attr-defined]

    @classmethod
    def for_host(cls: type[_Self], host: str, config: HostConfig, resources: Resources) -> _Self:
        """Make a client that is not connected yet and shares what others have read.

        :param host: the host's name or address.
        :param config: its settings.
        :param resources: what is shared.
        """
        client = cls.__new__(cls)
        client._prepare(host, config, resources)
        return client

    def _prepare(self, host: str, config: HostConfig, resources: Resources | None = None) -> None:
        if not host or not isinstance(host, str):
            raise ValueError(f"A host is a name or an address, not {host!r}")
        self.check(config)
        self.host = host
        self.config = config.with_defaults()
        self._resources = resources if resources is not None else Resources()
        self._connection: Connection | None = None
        self._connecting = BoundedSemaphore(1)
        if config.private_key is not None:
            self._resources.key(config.private_key)

    # What a library has to say

    @classmethod
    @abstractmethod
    def _new_session(cls, host: str, port: int, algorithms: Algorithms) -> Session:
        """Make the library's session."""

    @classmethod
    @abstractmethod
    def supported_algorithms(cls, setting: str) -> Sequence[str]:
        """Return the names that the library knows for ``"ciphers"``, ``"macs"``,
        ``"kex_algorithms"`` or ``"host_key_algorithms"``.
        """

    @classmethod
    @abstractmethod
    def _offered_host_keys(cls) -> Sequence[str]:
        """Return the host key algorithms that are offered to an unknown host."""

    @classmethod
    def check(cls, config: HostConfig) -> None:
        """Raise for settings that cannot work.

        :param config: the settings of a host; unset ones are fine.
        :raises InvalidAPIUseError: naming the setting and the reason.
        """
        client = f"{cls.__module__.rpartition('.')[0]}.{cls.__name__}"
        configuration.refuse_unsupported(config, cls._UNSUPPORTED, client)
        for name in ("ciphers", "macs", "kex_algorithms", "host_key_algorithms"):
            asked = getattr(config, name)
            known = cls.supported_algorithms(name) if asked else ()
            unknown = [algorithm for algorithm in asked or () if algorithm not in known]
            if unknown:
                raise InvalidAPIUseError(
                    "%s: %s unknown to %s, which knows %s",
                    name,
                    ", ".join(unknown),
                    client,
                    ", ".join(known),
                )

    # The connection

    @property
    def user(self) -> str:
        """The user to log in as."""
        return self.config.user or self._resources.login_user()

    @property
    def port(self) -> int:
        """The host's port."""
        return self.config.port or 22

    @property
    def alias(self) -> str | None:
        """The host's alias."""
        return self.config.alias

    @property
    def session(self) -> Session | None:
        """The library's session, behind the seam; ``None`` while there is no connection."""
        return self._connection.session if self._connection is not None else None

    def connect(self) -> Connection:
        """Return the connection, opening it where there is none that works.

        :raises PSSHError: when the host cannot be reached or does not let the user in.
        """
        connection = self._connection
        if connection is not None and connection.alive:
            return connection
        # Greenlets that need it at the same time share one attempt.
        with self._connecting:
            if self._connection is None or not self._connection.alive:
                self._drop_connection()
                self._check_password()
                self._connection = connect(self._target(), self._new_session)
            return self._connection

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _check_password(self) -> None:
        if self.config.keyboard_interactive and self.config.password is None:
            raise InvalidAPIUseError(
                "keyboard_interactive answers prompts with password, and host %s has none",
                self.host,
                host=self.host,
            )

    def _target(self) -> Target:
        config, resources = self.config, self._resources
        key = resources.key(config.private_key) if config.private_key is not None else None
        policy = config.host_key_policy or "accept-new"
        return Target(
            host=self.host,
            port=self.port,
            credentials=Credentials(
                user=self.user,
                key=key,
                agent=resources.agent() if config.allow_agent else None,
                identity_files=self.IDENTITIES if config.identity_auth else (),
                password=config.password,
                keyboard_interactive=bool(config.keyboard_interactive),
            ),
            algorithms=Algorithms(
                ciphers=config.ciphers,
                macs=config.macs,
                kex=config.kex_algorithms,
                host_keys=config.host_key_algorithms,
                compress=bool(config.compress),
            ),
            host_key_algorithms=self._offered_host_keys(),
            known_hosts=(
                None if policy == "ignore" else resources.known_hosts(config.known_hosts or ())
            ),
            host_key_policy=policy,
            timeout=config.timeout or None,
            attempts=config.num_retries or 1,
            retry_delay=config.retry_delay or 0,
            keepalive=float(config.keepalive_seconds or 0),
            ipv6_only=bool(config.ipv6_only),
        )

    def close(self) -> None:
        """Close the connection. Commands that run lose it; a new command connects again."""
        self._drop_connection()

    def disconnect(self) -> None:
        """Close the connection.

        .. deprecated:: 3.0 Use :meth:`close`, or the client as a context manager.
        """
        warnings.warn("disconnect is deprecated: use close", DeprecationWarning, stacklevel=2)
        self.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not sys.is_finalizing() and getattr(self, "_connection", None) is not None:
            self.close()

    # Commands

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
        :param stdin: sent to the command's standard input, which is then closed.
        :param encoding_errors: the codec's error handler.
        :raises Timeout: naming the step that took too long.
        :raises SessionError: when the server refuses the channel, the pseudo terminal, a
            variable or the command.
        :raises PSSHError: when the connection is lost, or cannot be opened again.
        """
        _check_encoding(encoding, encoding_errors)
        use_pty = use_pty or pty_size is not None or term is not None
        dialogue = _sudo_dialogue(sudo_password, use_pty)
        sent = fully_qualified_command(
            command,
            sudo=sudo or dialogue is not None,
            user=user,
            shell=shell,
            sudo_prompt=dialogue.prompt if dialogue is not None else None,
            sudo_wrapper=dialogue.wrapper if dialogue is not None else None,
            encoding=encoding or "utf-8",
        )
        pty = (term or _DEFAULT_TERM, *(pty_size or _DEFAULT_PTY_SIZE)) if use_pty else None
        running = self._start(sent, env or {}, pty, timeout, dialogue)
        if stdin is not None:
            source = _encoded(stdin, encoding or "utf-8")
            feed(running, source, after=dialogue.over if dialogue is not None else None)
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
        command: bytes,
        env: Mapping[str, str],
        pty: tuple[str, int, int] | None,
        timeout: float | None,
        dialogue: SudoDialogue | None,
    ) -> Command:
        seconds = timeout or self.config.timeout
        connection, channel = self._open_channel(seconds)
        started = False
        try:
            with Deadline(seconds, self.host, self.port, "start the command"):
                for name, value in env.items():
                    connection.call(channel.request_environment, name, str(value))
                if pty is not None:
                    connection.call(channel.request_pty, *pty)
                connection.call(channel.request_exec, command)
            started = True
        finally:
            if not started:
                _abandon(connection, channel)
        return Command(
            connection,
            channel,
            self.config.buffer_size or 1,
            self.config.buffer_overflow or "file",
            dialogue,
        )

    def _open_channel(self, seconds: float | None) -> tuple[Connection, Channel]:
        """Open a channel, on a new connection when the one that stood has ended unnoticed.

        Nothing has been started on it yet, so that is safe to do again.
        """
        stood = self._connection is not None and self._connection.alive
        if stood and self._connection is not None and self._connection.hung_up():
            self._drop_connection()
        connection = self.connect()
        try:
            with Deadline(seconds, self.host, self.port, "open a channel"):
                return connection, connection.open_session()
        except ConnectionLostError:
            if not stood:
                raise
        connection = self.connect()
        with Deadline(seconds, self.host, self.port, "open a channel"):
            return connection, connection.open_session()

    # The end of a command

    def wait_finished(self, host_output: HostOutput, timeout: float | None = None) -> None:
        """Wait until a command has finished.

        :param host_output: its output.
        :param timeout: seconds.
        :raises Timeout: when it takes longer.
        """
        command = host_output.command
        if command is not None and not command.done.wait(timeout):
            raise Timeout(
                "The command on host %s:%s has not finished in %s seconds",
                self.host,
                self.port,
                timeout,
                host=self.host,
                port=self.port,
                step="wait for the command",
            )

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
            channel.release()

    # Reading, as 2.x had it

    def read_output(
        self, stdout_buffer: ConcurrentRWBuffer, timeout: float | None = None
    ) -> Iterator[Line]:
        """Iterate over the lines, as bytes, of a stream's buffer.

        :param stdout_buffer: ``host_output.buffers.stdout.rw_buffer``.
        :param timeout: seconds without data after which it raises.
        :raises Timeout: after that.
        """
        reader = LineReader(stdout_buffer, LineDecoder(None), self.host, self.port, self)
        reader.read_timeout = timeout
        return iter(reader)

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
        return self._open_channel(self.config.timeout)[1]

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
            self.eagain(opened.request_pty, _DEFAULT_TERM, *_DEFAULT_PTY_SIZE)
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

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.user}@{self.host}:{self.port}>"


def _signature(first: str, positional: Sequence[str]) -> inspect.Signature:
    """Show in ``help()`` what the constructor takes: the settings, from their declaration."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(first, kind)]
    parameters += [inspect.Parameter(name, kind, default=None) for name in positional]
    taken = set(positional)
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in configuration.names()
        if name not in taken
    ]
    return inspect.Signature(parameters)


def _sudo_dialogue(password: str | None, use_pty: bool) -> SudoDialogue | None:
    if password is None:
        return None
    return SudoDialogue(password, STDOUT if use_pty else STDERR)


def _check_encoding(encoding: str | None, errors: str) -> None:
    """Find out about a codec that does not exist before anything is started."""
    LineDecoder(encoding, errors)


def _encoded(source: StdinSource, encoding: str) -> Iterator[bytes]:
    chunks = [source] if isinstance(source, str | bytes) else source
    for chunk in chunks:
        yield chunk.encode(encoding) if isinstance(chunk, str) else chunk


def _command_on(channel: Channel | None) -> Command | None:
    owner = channel.owner if channel is not None else None
    return owner() if owner is not None else None


def _abandon(connection: Connection, channel: Channel) -> None:
    """Give up a channel on which nothing was started, without waiting for the server."""

    def close() -> None:
        try:
            connection.call(channel.close)
        except PSSHError:
            pass
        finally:
            channel.release()

    if connection.alive:
        gevent.spawn(close)
    else:
        channel.release()


def deadline_after(seconds: float | None) -> float | None:
    """Return the point of the monotonic clock that is so many seconds from now."""
    return None if seconds is None else time.monotonic() + seconds
