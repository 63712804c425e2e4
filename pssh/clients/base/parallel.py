"""Fan-out: the same on many hosts at once. Only this module knows that there is more than one."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, ClassVar, TypeVar

import gevent
from gevent.lock import BoundedSemaphore

from pssh import config as configuration
from pssh.clients.base import waiting
from pssh.clients.base.command_request import CommandRequest, StdinSource
from pssh.clients.base.host import signature
from pssh.clients.base.resources import Resources
from pssh.clients.base.single import BaseSSHClient
from pssh.clients.base.streams import stream_lines
from pssh.clients.base.task import CommandStart, Task
from pssh.command_line import commands_for_hosts
from pssh.config import HostConfig
from pssh.exceptions import HostConfigError, InvalidAPIUseError
from pssh.output import HostOutput, Line

_Self = TypeVar("_Self", bound="BaseParallelSSHClient")

Outputs = HostOutput | Sequence[HostOutput] | None


class BaseParallelSSHClient:
    """Runs commands on many hosts at the same time.

    Connections are opened when they are first needed and stay open for what comes next.
    Use the client as a context manager, or :meth:`close` it; one that is forgotten is closed
    when it is collected.

    :param hosts: names or addresses, any iterable but a string. Repeated ones are separate.
    :param pool_size: on how many hosts work goes on at the same time. Default 100.
    :param host_config: one :class:`pssh.config.HostConfig` for each host.
    :param settings: any of the settings of :class:`pssh.config.HostConfig`, for all hosts;
        the private key is called ``pkey`` here. The order of positional ones is that of
        parallel-ssh 2.x.
    :raises TypeError: when ``hosts`` is a string.
    :raises ValueError: when ``host_config`` has another length than ``hosts``.
    :raises HostConfigError: when one of its entries is something else.
    :raises InvalidAPIUseError: when a setting cannot be used with this client.
    :raises PKeyFileError: when the private key is missing or is none.
    """

    _POSITIONAL: ClassVar[Sequence[str]] = ()
    _CLIENT: ClassVar[type[BaseSSHClient]]

    def __init__(self, hosts: Iterable[str], *args: Any, **settings: Any) -> None:
        given = _take_positional(type(self).__name__, self._POSITIONAL, args, settings)
        pool_size = given.pop("pool_size", None)
        if pool_size is not None and (not isinstance(pool_size, int) or pool_size < 1):
            raise ValueError("pool_size must be a number of hosts, 1 or more")
        self.pool_size: int = pool_size or 100
        self.host_config: Sequence[HostConfig] | None = given.pop("host_config", None)
        self._config = configuration.from_arguments(type(self).__name__, (), (), given)
        self._CLIENT.check(self._config)
        # Most hosts have no settings of their own, and share these.
        self._complete_config = self._config.with_defaults()
        self._resources = Resources()
        self._slots = BoundedSemaphore(self.pool_size)
        self._hosts: list[str] = _host_list(hosts)
        self._check_host_config()
        for index in range(len(self._hosts) if self.host_config else 1):
            self._resources.check_credentials(self._config_of(index))
        self._clients: list[BaseSSHClient | None] = [None] * len(self._hosts)
        self._output: list[HostOutput] | None = None
        self.cmds: list[CommandStart] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__signature__ = _parallel_signature(cls)  # type: ignore[attr-defined]

    # Hosts

    @property
    def hosts(self) -> list[str]:
        """The hosts. Assigning closes the connections of those that leave their position."""
        return self._hosts

    @hosts.setter
    def hosts(self, hosts: Iterable[str]) -> None:
        new = _host_list(hosts)
        old_hosts, old_clients = self._hosts, self._clients
        self._hosts = new
        self._clients = [None] * len(new)
        for index, client in enumerate(old_clients):
            if client is None:
                continue
            if index < len(new) and new[index] == old_hosts[index]:
                self._clients[index] = client
            else:
                client.close()

    def _check_host_config(self) -> None:
        if self.host_config is None:
            return
        if len(self.host_config) != len(self._hosts):
            raise ValueError(
                "Host config entries must match number of hosts if provided. Got "
                f"{len(self.host_config)} host config entries from {len(self._hosts)} hosts"
            )
        for index, config in enumerate(self.host_config):
            if not isinstance(config, HostConfig):
                raise HostConfigError(
                    "Host config entry %s must be a HostConfig, not %s",
                    index,
                    type(config).__name__,
                )
            self._CLIENT.check(config)

    def _config_of(self, index: int) -> HostConfig:
        if self.host_config is None:
            return self._complete_config
        return self.host_config[index].over(self._complete_config)

    def _client_of(self, index: int) -> BaseSSHClient:
        """Return the client of the host at a position."""
        client = self._clients[index]
        if client is None:
            client = self._CLIENT.for_host(
                self._hosts[index], self._config_of(index), self._resources
            )
            self._clients[index] = client
        return client

    def _follow_changes(self) -> None:
        """The list of hosts may have been changed in place, as 2.x allows."""
        clients = self._clients
        if len(clients) != len(self._hosts):
            for client in clients[len(self._hosts) :]:
                if client is not None:
                    client.close()
            missing = len(self._hosts) - len(clients)
            self._clients = clients[: len(self._hosts)] + [None] * max(0, missing)
            clients = self._clients
        for index, client in enumerate(clients):
            if client is not None and client.host != self._hosts[index]:
                client.close()
                clients[index] = None

    def connect_auth(self) -> list[Task]:
        """Connect to all hosts and authenticate.

        :returns: a greenlet for each host, in the order of the hosts; join them.
        """
        self._check_host_config()
        self._follow_changes()
        return [self._spawn(self._client_of(index).connect) for index in range(len(self._hosts))]

    def _spawn(self, function: Callable[..., Any], *args: Any) -> Task:
        """Start work on a host, when work on fewer than ``pool_size`` hosts goes on."""
        self._slots.acquire()
        task = Task(function, *args)
        task.rawlink(lambda _: self._slots.release())
        task.start()
        return task

    def close(self) -> None:
        """Close all connections. Commands that run lose them; a new command connects again."""
        for client in self._clients:
            if client is not None:
                client.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # Commands

    def run_command(
        self,
        command: str,
        sudo: bool = False,
        user: str | None = None,
        stop_on_errors: bool = True,
        use_pty: bool = False,
        host_args: Sequence[Any] | None = None,
        shell: str | None = None,
        encoding: str | None = "utf-8",
        read_timeout: float | None = None,
        *,
        stdin: StdinSource | None = None,
        return_list: bool | None = None,
        **options: Any,
    ) -> list[HostOutput]:
        """Start a command on all hosts.

        :param command: what to run; it is quoted for the shell.
        :param sudo: run it with sudo.
        :param user: run it as this user, with sudo.
        :param stop_on_errors: raise the first host's error, once all hosts have been tried;
            the others' commands run and are in :meth:`get_last_output`. With ``False`` each
            error is in its host's :attr:`HostOutput.exception`.
        :param use_pty: run it on a pseudo terminal.
        :param host_args: for each host a tuple, list or dict for ``%`` substitution.
        :param shell: the shell and its option for a command; default ``$SHELL -c``.
        :param encoding: how the output is decoded; ``None`` for bytes.
        :param read_timeout: seconds without output after which reading raises ``Timeout``.
        :param stdin: sent to each command's standard input, which is then closed. What is
            neither text nor bytes is read once and kept.
        :param return_list: of 1.10; output is always a list.
        :param options: ``env``, ``sudo_password``, ``pty_size``, ``term`` and
            ``encoding_errors`` of :meth:`BaseSSHClient.run_command`.
        :returns: an output for each host, in the order of the hosts.
        :raises HostArgumentError: when there are fewer ``host_args`` than hosts.
        :raises PSSHError: the first host's error, with ``stop_on_errors``.
        """
        _check_return_list(return_list)
        self._check_host_config()
        self._follow_changes()
        commands = commands_for_hosts(command, len(self._hosts), host_args)
        if stdin is not None and not isinstance(stdin, str | bytes):
            stdin = list(stdin)
        requests = [
            CommandRequest(
                text,
                sudo,
                user,
                use_pty,
                shell,
                encoding,
                read_timeout=read_timeout,
                stdin=stdin,
                **options,
            )
            for text in commands
        ]
        cmds: list[CommandStart] = []
        self.cmds, self._output = cmds, None
        for index, request in enumerate(requests):
            self._slots.acquire()
            cmds.append(CommandStart())
            gevent.spawn_raw(self._run_on_host, cmds[-1], index, request)
        gevent.joinall(cmds)
        outputs = self._outputs_of(cmds)
        if self.cmds is cmds:
            self._output = outputs
        if stop_on_errors:
            for cmd in cmds:
                if cmd.exception is not None:
                    raise cmd.exception
        return outputs

    def _run_on_host(self, start: CommandStart, index: int, request: CommandRequest) -> None:
        try:
            output, running = self._client_of(index).start_command(request)
        except BaseException as ex:
            # Whatever it is, somebody waits for the start.
            start.set_exception(ex)
            if not isinstance(ex, Exception):
                raise
            return
        finally:
            self._slots.release()
        start.set(output)
        running.run()

    def _outputs_of(self, cmds: Sequence[CommandStart]) -> list[HostOutput]:
        """Return an output for each host; one with the error where nothing was started."""
        outputs = []
        for index, cmd in enumerate(cmds):
            if cmd.exception is None:
                outputs.append(cmd.value)
                continue
            outputs.append(
                HostOutput(
                    self._hosts[index],
                    alias=self._config_of(index).alias,
                    client=self._clients[index],
                    exception=cmd.exception,
                )
            )
        return outputs

    def get_last_output(
        self, cmds: Sequence[CommandStart] | None = None
    ) -> list[HostOutput] | None:
        """Return the output of the last commands, ``None`` before the first.

        :param cmds: other commands: a list that :attr:`cmds` was.
        """
        if cmds is None:
            if self.cmds is not None and self._output is None:
                gevent.joinall(self.cmds)
                self._output = self._outputs_of(self.cmds)
            return self._output
        gevent.joinall(cmds)
        return self._outputs_of(cmds)

    # Waiting

    def join(
        self,
        output: Outputs = None,
        consume_output: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Wait until commands have finished; then their output can be read without waiting.

        :param output: one output or a list; default are the last commands'.
        :param consume_output: log the output to the host logger, a line at a time as it
            comes, and forget it.
        :param timeout: seconds for all of them together.
        :raises Timeout: when it takes longer, with ``finished`` and ``unfinished`` (also
            ``args[2]`` and ``args[3]``) telling which are which.
        :raises ValueError: when ``output`` is something else.
        """
        outputs = self._given(output)
        if not outputs:
            return
        waiting.join(outputs, consume_output, timeout)

    def finished(self, output: Outputs = None) -> bool:
        """Whether commands have finished, without waiting.

        :param output: one output or a list; default are the last commands'.
        """
        return all(out.finished for out in self._given(output))

    def as_completed(
        self, output: Outputs = None, timeout: float | None = None
    ) -> Iterator[HostOutput]:
        """Iterate over outputs, each as its command finishes.

        :param output: one output or a list; default are the last commands'.
        :param timeout: seconds for all of them together.
        :raises Timeout: when it takes longer, with ``finished`` and ``unfinished``.
        """
        return waiting.as_completed(self._given(output), timeout)

    def stream_output(self, output: Outputs = None) -> Iterator[tuple[HostOutput, str, Line]]:
        """Iterate over the lines of all hosts as they come.

        A host that prints faster than the lines are taken is held up here, not in memory.

        :param output: one output or a list; default are the last commands'.
        :returns: output, ``"stdout"`` or ``"stderr"``, and line. A host whose output was cut
            off ends here without an exception: look at :attr:`HostOutput.exception`.
        """
        return stream_lines(self._given(output))

    def reset_output_generators(
        self, host_out: HostOutput, *_args: Any, **_kwargs: Any
    ) -> tuple[Any, Any]:
        """Return a host's two streams. Of 2.0: they need no reset any more.

        :param host_out: the output.
        """
        return host_out.stdout, host_out.stderr

    def _given(self, output: Outputs) -> list[HostOutput]:
        if output is None:
            return self.get_last_output() or []
        outputs = [output] if isinstance(output, HostOutput) else output
        if not isinstance(outputs, list | tuple) or not all(
            isinstance(out, HostOutput) for out in outputs
        ):
            raise ValueError("Unexpected output object type: a HostOutput, or a list of them")
        return list(outputs)


def _host_list(hosts: Iterable[str]) -> list[str]:
    if isinstance(hosts, str | bytes):
        raise TypeError(
            "Hosts must be list or other iterable, not string. "
            f"For example: ['localhost'] not {hosts!r}"
        )
    return hosts if isinstance(hosts, list) else list(hosts)


def _take_positional(
    client: str, names: Sequence[str], args: Sequence[Any], settings: dict[str, Any]
) -> dict[str, Any]:
    if len(args) > len(names):
        raise TypeError(f"{client} takes at most {len(names)} positional settings")
    given = dict(zip(names, args, strict=False))
    twice = given.keys() & settings.keys()
    if twice:
        raise TypeError(f"{client} got multiple values for {', '.join(sorted(twice))}")
    return {**given, **settings}


def _parallel_signature(cls: type[BaseParallelSSHClient]) -> inspect.Signature:
    shown = signature("hosts", cls._POSITIONAL)
    parameters = [p for p in shown.parameters.values() if p.name != "alias"]
    return inspect.Signature(parameters)


def _check_return_list(return_list: bool | None) -> None:
    if return_list is None:
        return
    if not return_list:
        raise InvalidAPIUseError("Output is a list since 2.0: return_list=False is not possible")
    warnings.warn("return_list does nothing: output is a list", DeprecationWarning, stacklevel=3)
