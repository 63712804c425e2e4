"""Files to and from many hosts at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pssh.clients.base.parallel_hosts import HostGroup
from pssh.clients.base.single import BaseSSHClient
from pssh.clients.base.task import Task
from pssh.exceptions import HostArgumentError

CopyArgs = Sequence[Mapping[str, Any]]

#: A function of a host's client that copies, such as ``BaseSSHClient.copy_file``.
_Copy = Callable[..., None]


class ParallelFileAccess(HostGroup):
    """The part of a parallel client that copies files.

    Each function returns at once, with a greenlet for each host: join them, or ``get()`` each
    for its error. Copies to ``pool_size`` hosts go on at a time.
    """

    def copy_file(
        self,
        local_file: str | os.PathLike[str],
        remote_file: str,
        recurse: bool = False,
        copy_args: CopyArgs | None = None,
        **options: Any,
    ) -> list[Task]:
        """Copy a local file, or what is in a directory, to all hosts over SFTP.

        It is read once for all of them.

        :param local_file: the local path.
        :param remote_file: the remote path.
        :param recurse: copy a directory, with all that is below it.
        :param copy_args: for each host a dict for ``%`` substitution in both paths.
        :param options: ``preserve_times``, ``atomic``, ``resume``, ``progress`` and
            ``limit_rate`` (bytes per second, for each host) of
            :meth:`BaseSSHClient.copy_file`.
        :returns: a greenlet for each host, in the order of the hosts.
        :raises HostArgumentError: when there are not as many ``copy_args`` as hosts.
        """
        return self._send(
            self._CLIENT.copy_file, local_file, remote_file, recurse, copy_args, options
        )

    def scp_send(
        self,
        local_file: str | os.PathLike[str],
        remote_file: str,
        recurse: bool = False,
        copy_args: CopyArgs | None = None,
        **options: Any,
    ) -> list[Task]:
        """Copy a local file, or what is in a directory, to all hosts over SCP.

        The parameters are those of :meth:`copy_file`.

        :returns: a greenlet for each host, in the order of the hosts.
        :raises HostArgumentError: when there are not as many ``copy_args`` as hosts.
        """
        return self._send(
            self._CLIENT.scp_send, local_file, remote_file, recurse, copy_args, options
        )

    def copy_remote_file(
        self,
        remote_file: str,
        local_file: str | os.PathLike[str],
        recurse: bool = False,
        suffix_separator: str = "_",
        copy_args: CopyArgs | None = None,
        encoding: str = "utf-8",
        **options: Any,
    ) -> list[Task]:
        """Copy a file, or what is in a directory, from all hosts over SFTP.

        The copies are called ``<local_file><suffix_separator><host>``, with a host's alias in
        place of its name where it has one, or as ``copy_args`` says.

        :param remote_file: the remote path.
        :param local_file: the local path.
        :param recurse: copy a directory, with all that is below it.
        :param suffix_separator: stands before the host's name.
        :param copy_args: for each host a dict for ``%`` substitution in both paths.
        :param encoding: how ``remote_file`` is encoded on the hosts.
        :param options: ``preserve_times``, ``atomic``, ``resume``, ``progress`` and
            ``limit_rate`` (bytes per second, for each host) of
            :meth:`BaseSSHClient.copy_remote_file`.
        :returns: a greenlet for each host, in the order of the hosts.
        :raises HostArgumentError: when there are not as many ``copy_args`` as hosts, or two
            hosts' copies would have the same name.
        """
        names = self._fetched_names(remote_file, local_file, suffix_separator, copy_args)
        options["encoding"] = encoding
        return self._receive(self._CLIENT.copy_remote_file, names, recurse, options)

    def scp_recv(
        self,
        remote_file: str,
        local_file: str | os.PathLike[str],
        recurse: bool = False,
        copy_args: CopyArgs | None = None,
        suffix_separator: str = "_",
        **options: Any,
    ) -> list[Task]:
        """Copy a file, or what is in a directory, from all hosts over SCP.

        The parameters are those of :meth:`copy_remote_file`, but for their order.

        :returns: a greenlet for each host, in the order of the hosts.
        :raises HostArgumentError: when there are not as many ``copy_args`` as hosts, or two
            hosts' copies would have the same name.
        """
        names = self._fetched_names(remote_file, local_file, suffix_separator, copy_args)
        return self._receive(self._CLIENT.scp_recv, names, recurse, options)

    def _send(
        self,
        copy: _Copy,
        local_file: str | os.PathLike[str],
        remote_file: str,
        recurse: bool,
        copy_args: CopyArgs | None,
        options: Mapping[str, Any],
    ) -> list[Task]:
        names = self._formatted(os.fspath(local_file), remote_file, copy_args)
        return self._copy_all(copy, names, recurse, options)

    def _receive(
        self,
        copy: _Copy,
        names: Sequence[tuple[str, str]],
        recurse: bool,
        options: Mapping[str, Any],
    ) -> list[Task]:
        taken: set[str] = set()
        for _, local in names:
            if local in taken:
                raise HostArgumentError(
                    "The files of two hosts would both be written to %s: give the hosts "
                    "different names with alias, or use copy_args",
                    local,
                )
            taken.add(local)
        return self._copy_all(copy, names, recurse, options)

    def _copy_all(
        self,
        copy: _Copy,
        names: Sequence[tuple[str, str]],
        recurse: bool,
        options: Mapping[str, Any],
    ) -> list[Task]:
        tasks = []
        for index, (source, target) in enumerate(names):
            task = Task(
                self._copy_one, copy, self._client_of(index), source, target, recurse, options
            )
            task.start()
            tasks.append(task)
        return tasks

    def _copy_one(
        self,
        copy: _Copy,
        client: BaseSSHClient,
        source: str,
        target: str,
        recurse: bool,
        options: Mapping[str, Any],
    ) -> None:
        with self._slots:
            copy(client, source, target, recurse, **options)

    def _fetched_names(
        self,
        remote_file: str,
        local_file: str | os.PathLike[str],
        separator: str,
        copy_args: CopyArgs | None,
    ) -> list[tuple[str, str]]:
        names = self._formatted(remote_file, os.fspath(local_file), copy_args)
        if copy_args is not None:
            return names
        return [
            (remote, f"{local}{separator}{self._config_of(index).alias or self._hosts[index]}")
            for index, (remote, local) in enumerate(names)
        ]

    def _formatted(
        self, first: str, second: str, copy_args: CopyArgs | None
    ) -> list[tuple[str, str]]:
        """Return both paths for each host."""
        self._check_host_config()
        self._follow_changes()
        hosts = len(self._hosts)
        if copy_args is None:
            return [(first, second)] * hosts
        if len(copy_args) != hosts:
            raise HostArgumentError(
                "There must be as many copy_args as hosts: got %s for %s hosts",
                len(copy_args),
                hosts,
            )
        return [(first % arguments, second % arguments) for arguments in copy_args]
