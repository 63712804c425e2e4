"""Shells on many hosts at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gevent

from pssh.clients.base.parallel_hosts import HostGroup
from pssh.clients.base.shell import InteractiveShell
from pssh.clients.base.task import Task
from pssh.clients.base.waiting import too_long
from pssh.exceptions import Timeout
from pssh.output import HostOutput

Shells = InteractiveShell | Iterable[InteractiveShell]


class ParallelShellAccess(HostGroup):
    """The part of a parallel client that has shells."""

    def open_shell(
        self,
        encoding: str | None = "utf-8",
        read_timeout: float | None = None,
        *,
        stop_on_errors: bool = True,
        **options: Any,
    ) -> list[InteractiveShell]:
        """Start the user's login shell on all hosts.

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
        self._check_host_config()
        self._follow_changes()
        options.update(encoding=encoding, read_timeout=read_timeout)
        tasks = [
            self._spawn(self._open_shell_on, index, options) for index in range(len(self._hosts))
        ]
        gevent.joinall(tasks)
        failed = [task.exception for task in tasks if task.exception is not None]
        for error in failed:
            if stop_on_errors or not isinstance(error, Exception):
                for task in tasks:
                    if task.exception is None:
                        task.value.abandon()
                raise error
        return [
            self._shell_that_failed(index, task.exception) if task.exception else task.value
            for index, task in enumerate(tasks)
        ]

    def _open_shell_on(self, index: int, options: dict[str, Any]) -> InteractiveShell:
        return self._client_of(index).open_shell(**options)

    def _shell_that_failed(self, index: int, error: BaseException) -> InteractiveShell:
        output = HostOutput(
            self._hosts[index],
            alias=self._config_of(index).alias,
            client=self._clients[index],
            exception=error,
        )
        return InteractiveShell(output)

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
        tasks = [_started(_run_all, shell, several) for shell in _list_of(shells)]
        gevent.joinall(tasks)
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
        gevent.joinall(tasks)
        for task in tasks:
            if isinstance(task.exception, Timeout):
                raise too_long(several, timeout, "join", "shells")
            if task.exception is not None:
                raise task.exception


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
