"""Fan-out: the same on many hosts at once. Only the parallel modules know of more than one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pssh.clients.base import waiting
from pssh.clients.base.command_request import CommandRequest
from pssh.clients.base.options import CommandOptions, check_names
from pssh.clients.base.parallel_run import check_rules
from pssh.clients.base.parallel_shells import ParallelShellAccess
from pssh.clients.base.parallel_stdin import for_each_host
from pssh.clients.base.stdin_source import StdinSource
from pssh.clients.base.streams import stream_lines
from pssh.command_line import commands_for_hosts
from pssh.exceptions import InvalidAPIUseError
from pssh.fleet import Observer, Rollout
from pssh.output import HostOutput, Line

if TYPE_CHECKING:
    # In Python 3.10 the standard library lacks it; type checkers bring it along.
    from typing_extensions import Unpack

Outputs = HostOutput | Sequence[HostOutput] | None


class BaseParallelSSHClient(ParallelShellAccess):
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
        rollout: Rollout | None = None,
        observer: Observer | None = None,
        return_list: bool | None = None,
        **options: Unpack[CommandOptions],
    ) -> list[HostOutput]:
        """Start a command on all hosts.

        With ``rollout`` it returns when all commands have ended, or the rules have stopped it.

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
        :param stdin: sent to each command's standard input, which is then closed. A file or an
            iterable is read once, as fast as the fastest host takes it; what others have not
            had yet is in temporary files.
        :param rollout: how many hosts at a time, and when to stop. A command has failed too when
            it ends with another exit code than 0. The error of a host that is not tried is
            ``NotTriedError``.
        :param observer: is told what happens on each host.
        :param return_list: of 1.10; output is always a list.
        :param options: ``env``, ``sudo_password``, ``pty_size``, ``term``, ``encoding_errors``,
            ``on_line``, ``command_timeout`` and ``kill_after`` of
            :meth:`BaseSSHClient.run_command`.
        :returns: an output for each host, in the order of the hosts.
        :raises TypeError: for an option that there is not.
        :raises HostArgumentError: when there are fewer ``host_args`` than hosts.
        :raises PSSHError: the first host's error, with ``stop_on_errors``.
        """
        _check_return_list(return_list)
        check_names("run_command", options, CommandOptions)
        check_rules(rollout, observer)
        self._check_host_config()
        self._follow_changes()
        request = CommandRequest(
            command, sudo, user, use_pty, shell, encoding, read_timeout=read_timeout, **options
        )
        requests = self._requests(request, host_args, stdin)
        cmds = (
            self._run_at_once(requests, observer)
            if rollout is None
            else self._run_by_rules(requests, rollout, observer)
        )
        if stop_on_errors:
            for cmd in cmds:
                if cmd.exception is not None:
                    raise cmd.exception
        return self._outputs(cmds)

    def _requests(
        self,
        request: CommandRequest,
        host_args: Sequence[Any] | None,
        stdin: StdinSource | None,
    ) -> list[CommandRequest]:
        """Return a request for each host: one for all, where they do not differ."""
        hosts = len(self._hosts)
        if host_args is None and stdin is None:
            return [request] * hosts
        commands = commands_for_hosts(request.command, hosts, host_args)
        inputs = for_each_host(stdin, request.encoding, hosts)
        return [
            replace(request, command=command, stdin=source)
            for command, source in zip(commands, inputs, strict=True)
        ]

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
        :raises Exception: what the first ``on_line`` raised, once all have finished.
        :raises ValueError: when ``output`` is something else.
        """
        outputs = self._given(output)
        if not outputs:
            return
        with self._ended_by_interrupt(outputs):
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
        outputs = self._given(output)
        return self._iterate(outputs, waiting.as_completed(outputs, timeout))

    def stream_output(self, output: Outputs = None) -> Iterator[tuple[HostOutput, str, Line]]:
        """Iterate over the lines of all hosts as they come.

        A host that prints faster than the lines are taken is held up here, not in memory.

        :param output: one output or a list; default are the last commands'.
        :returns: output, ``"stdout"`` or ``"stderr"``, and line. A host whose output was cut
            off ends here without an exception: look at :attr:`HostOutput.exception`. Whoever
            leaves the loop early gives up lines that had been read for it, a thousand at most.
        """
        outputs = self._given(output)
        return self._iterate(outputs, stream_lines(outputs))

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


def _check_return_list(return_list: bool | None) -> None:
    if return_list is None:
        return
    if not return_list:
        raise InvalidAPIUseError("Output is a list since 2.0: return_list=False is not possible")
    warnings.warn("return_list does nothing: output is a list", DeprecationWarning, stacklevel=3)
