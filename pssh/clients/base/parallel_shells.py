"""Shells on many hosts at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import gevent

from pssh.clients.base.options import ShellOptions, check_names
from pssh.clients.base.parallel_commands import ParallelCommands
from pssh.clients.base.shell import InteractiveShell
from pssh.clients.base.shell_request import ShellRequest
from pssh.clients.base.task import CommandStart, Task
from pssh.clients.base.waiting import too_long
from pssh.exceptions import Timeout

if TYPE_CHECKING:
    # In Python 3.10 the standard library lacks it; type checkers bring it along.
    from typing_extensions import Unpack

Shells = InteractiveShell | Iterable[InteractiveShell]


class ParallelShellAccess(ParallelCommands):
    """The part of a parallel client that has shells."""

    def open_shell(
        self,
        encoding: str | None = "utf-8",
        read_timeout: float | None = None,
        *,
        stop_on_errors: bool = True,
        **options: Unpack[ShellOptions],
    ) -> list[InteractiveShell]:
        """Start the user's login shell on all hosts.

        What becomes of them is in :attr:`last_result`, as it is of commands.

        :param encoding: how commands are encoded and output is decoded; ``None`` for bytes.
        :param read_timeout: seconds without output after which reading raises ``Timeout``.
        :param stop_on_errors: raise the first host's error, once all have been tried, and close
            the others' shells. With ``False`` each error is in its shell's
            :attr:`InteractiveShell.exception`, and only running something in it raises.
        :param options: ``use_pty``, ``pty_size``, ``term``, ``env``, ``encoding_errors`` and
            ``timeout`` of :meth:`BaseSSHClient.open_shell`.
        :returns: a shell for each host, in the order of the hosts.
        :raises PSSHError: the first host's error, with ``stop_on_errors``.
        """
        check_names("open_shell", options, ShellOptions)
        self._check_host_config()
        self._follow_changes()
        request = ShellRequest(encoding, read_timeout, **options)
        starts: list[CommandStart] = []
        self._start_at_once(starts, lambda client, _: client.start_shell(request))
        shells = [InteractiveShell(output) for output in self._outputs_of(starts)]
        for start in starts:
            if start.exception is not None and stop_on_errors:
                for shell in shells:
                    shell.abandon()
                raise start.exception
        return shells

    def run_shell_commands(
        self, shells: Shells, commands: str | bytes | Sequence[str | bytes]
    ) -> list[Task]:
        """Have shells run commands, one after the other, all shells at the same time.

        It does not wait for the commands, only until the servers have taken them.

        :param shells: from :meth:`open_shell`.
        :param commands: one command or a list; each may have several lines.
        :returns: a greenlet for each shell, which has ended.
        :raises ShellError: when one of the shells is closed, or has ended by itself; all have
            been tried by then.
        """
        several = [commands] if isinstance(commands, str | bytes) else list(commands)
        chosen = _list_of(shells)
        tasks = [_started(_run_all, shell, several) for shell in chosen]
        self._join(tasks, chosen)
        for task in tasks:
            if task.exception is not None:
                raise task.exception
        return tasks

    def join_shells(self, shells: Shells, timeout: float | None = None) -> None:
        """Wait until shells have run what they were given, and close them.

        Then their output can be read without waiting. A shell that died raises nothing here:
        what happened is in its :attr:`InteractiveShell.exception`.

        :param shells: from :meth:`open_shell`.
        :param timeout: seconds for all of them together.
        :raises Timeout: when it takes longer, with ``finished`` and ``unfinished`` (also
            ``args[2]`` and ``args[3]``) telling which shells are which. Those that have not
            finished run on, and take no more commands: call it again to wait longer.
        """
        several = _list_of(shells)
        tasks = [_started(shell.close, timeout) for shell in several]
        self._join(tasks, several)
        for task in tasks:
            if isinstance(task.exception, Timeout):
                raise too_long(several, timeout, "join", "shells")
            if task.exception is not None:
                raise task.exception

    def _join(self, tasks: Sequence[Task], shells: Sequence[InteractiveShell]) -> None:
        with self._ended_by_interrupt([shell.output for shell in shells]):
            gevent.joinall(tasks)


def _started(function: Any, *args: Any) -> Task:
    task = Task(function, *args)
    task.start()
    return task


def _run_all(shell: InteractiveShell, commands: Sequence[str | bytes]) -> None:
    for command in commands:
        shell.run(command)


def _list_of(shells: Shells) -> list[InteractiveShell]:
    several = [shells] if isinstance(shells, InteractiveShell) else list(shells)
    for shell in several:
        if not isinstance(shell, InteractiveShell):
            raise ValueError(f"Expected shells of open_shell, not {shell!r}")
    return several
