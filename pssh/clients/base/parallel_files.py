"""Files to and from many hosts at once."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pssh.clients.base.files.access import PathLike
from pssh.clients.base.files.options import Progress
from pssh.clients.base.parallel_hosts import HostGroup
from pssh.clients.base.parallel_run import Watch, check_rules
from pssh.clients.base.single import BaseSSHClient
from pssh.clients.base.task import Task
from pssh.exceptions import HostArgumentError
from pssh.fleet import HostResult, Observer, Rollout
from pssh.sftp.names import path_text

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
        local_file: PathLike,
        remote_file: PathLike,
        recurse: bool = False,
        copy_args: CopyArgs | None = None,
        *,
        rollout: Rollout | None = None,
        observer: Observer | None = None,
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
        :param rollout: how many hosts at a time, and when to stop. The greenlet of a host that
            is not tried ends with ``NotTriedError``.
        :param observer: is told what happens on each host.
        :returns: a greenlet for each host, in the order of the hosts.
        :raises HostArgumentError: when there are not as many ``copy_args`` as hosts.
        """
        names = self._sent_names(local_file, remote_file, copy_args)
        return self._copy_all(self._CLIENT.copy_file, names, recurse, options, rollout, observer)

    def scp_send(
        self,
        local_file: PathLike,
        remote_file: PathLike,
        recurse: bool = False,
        copy_args: CopyArgs | None = None,
        *,
        rollout: Rollout | None = None,
        observer: Observer | None = None,
        **options: Any,
    ) -> list[Task]:
        """Copy a local file, or what is in a directory, to all hosts over SCP.

        The parameters are those of :meth:`copy_file`.

        :returns: a greenlet for each host, in the order of the hosts.
        :raises HostArgumentError: when there are not as many ``copy_args`` as hosts.
        """
        names = self._sent_names(local_file, remote_file, copy_args)
        return self._copy_all(self._CLIENT.scp_send, names, recurse, options, rollout, observer)

    def copy_remote_file(
        self,
        remote_file: PathLike,
        local_file: PathLike,
        recurse: bool = False,
        suffix_separator: str = "_",
        copy_args: CopyArgs | None = None,
        encoding: str = "utf-8",
        *,
        rollout: Rollout | None = None,
        observer: Observer | None = None,
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
        :param rollout: as for :meth:`copy_file`.
        :param observer: likewise.
        :returns: a greenlet for each host, in the order of the hosts.
        :raises HostArgumentError: when there are not as many ``copy_args`` as hosts, or two
            hosts' copies would have the same name.
        """
        names = self._fetched_names(
            remote_file, local_file, suffix_separator, copy_args, encoding, recurse
        )
        options["encoding"] = encoding
        return self._copy_all(
            self._CLIENT.copy_remote_file, names, recurse, options, rollout, observer
        )

    def scp_recv(
        self,
        remote_file: PathLike,
        local_file: PathLike,
        recurse: bool = False,
        copy_args: CopyArgs | None = None,
        suffix_separator: str = "_",
        *,
        rollout: Rollout | None = None,
        observer: Observer | None = None,
        **options: Any,
    ) -> list[Task]:
        """Copy a file, or what is in a directory, from all hosts over SCP.

        The parameters are those of :meth:`copy_remote_file`, but for their order.

        :returns: a greenlet for each host, in the order of the hosts.
        :raises HostArgumentError: when there are not as many ``copy_args`` as hosts, or two
            hosts' copies would have the same name.
        """
        encoding = options.get("encoding", "utf-8")
        names = self._fetched_names(
            remote_file, local_file, suffix_separator, copy_args, encoding, recurse
        )
        return self._copy_all(self._CLIENT.scp_recv, names, recurse, options, rollout, observer)

    def _copy_all(
        self,
        copy: _Copy,
        names: Sequence[tuple[str, str]],
        recurse: bool,
        options: dict[str, Any],
        rollout: Rollout | None,
        observer: Observer | None,
    ) -> list[Task]:
        progress: Progress | None = options.pop("progress", None)
        check_rules(rollout, observer)
        watch = self._watch(observer)

        def work(client: BaseSSHClient, host: HostResult) -> bool:
            source, target = names[host.index]
            told = _counting(watch, host, progress) if watch.observed else progress
            copy(client, source, target, recurse, progress=told, **options)
            return True

        return self._run_in_background(work, rollout, watch)

    def _fetched_names(
        self,
        remote_file: PathLike,
        local_file: PathLike,
        separator: str,
        copy_args: CopyArgs | None,
        encoding: str,
        recurse: bool,
    ) -> list[tuple[str, str]]:
        names = self._formatted(
            path_text(remote_file, encoding), os.fsdecode(local_file), copy_args
        )
        if copy_args is None:
            names = [
                (remote, f"{local}{separator}{self._alias_of(index) or self._hosts[index]}")
                for index, (remote, local) in enumerate(names)
            ]
        _check_distinct(names, recurse)
        return names

    def _sent_names(
        self, local_file: PathLike, remote_file: PathLike, copy_args: CopyArgs | None
    ) -> list[tuple[str, str]]:
        return self._formatted(os.fsdecode(local_file), path_text(remote_file), copy_args)

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


def _check_distinct(names: Sequence[tuple[str, str]], recurse: bool) -> None:
    """Check that no two hosts' copies are written to the same path.

    :param names: the remote and the local path for each host.
    :param recurse: whether directories are copied.
    """
    taken: set[str] = set()
    for remote, local in names:
        # In a directory a file keeps its own name.
        into = local.endswith("/") and not recurse
        path = os.path.abspath(local + posixpath.basename(remote) if into else local)
        if path in taken:
            raise HostArgumentError(
                "The files of two hosts would both be written to %s: give the hosts "
                "different names with alias, or use copy_args",
                path,
            )
        taken.add(path)


def _counting(watch: Watch, host: HostResult, progress: Progress | None) -> Progress:
    """Have the bytes of all files counted, and pass each call on."""
    done_before: dict[str, int] = {}

    def told(name: str, path: str, done: int, total: int) -> None:
        # The first call is about what was there before, which a copy that is resumed keeps.
        count = done - done_before.get(path, done)
        done_before[path] = done
        if done >= total:
            del done_before[path]
        if count > 0:
            watch.copied(host, count)
        if progress is not None:
            progress(name, path, done, total)

    return told
