"""OpenSSH's client configuration for the hosts of a client: read once, resolved for each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from gevent.event import AsyncResult

from pssh.clients.base import algorithms
from pssh.clients.base.threads import in_thread
from pssh.config import ALGORITHM_SETTINGS, HostConfig
from pssh.exceptions import SSHConfigError
from pssh.ssh_config import files, shell, values
from pssh.ssh_config.files import Configuration
from pssh.ssh_config.resolve import Resolved, resolve
from pssh.utils import logger

#: Returns the algorithms that a client's library knows for a setting.
Supported = Callable[[str], Sequence[str]]


class OpenSSHConfig:
    """A configuration, as ``ssh_config`` names it.

    :param source: ``True`` for the user's and the system's files, or the path of one.
    :raises SSHConfigError: when it cannot be read or is wrong.
    """

    __slots__ = ("_configuration", "_named", "_runs")

    def __init__(self, source: bool | str | os.PathLike[str]) -> None:
        path = None if isinstance(source, bool) else source
        self._configuration: Configuration = in_thread(files.load, path)
        #: Commands of ``Match exec``, and whether each has succeeded.
        self._runs: dict[str, AsyncResult[bool]] = {}
        self._named: set[str] = set()

    def settings(self, host: str, given: HostConfig, supported: Supported) -> HostConfig:
        """Return what it says of a host, for all settings that are not given.

        May wait for a command of ``Match exec``, which is run once for all hosts for which it
        is the same.

        :param host: the host as the user names it.
        :param given: the settings that win.
        :param supported: what the client's library knows.
        :raises SSHConfigError: when that cannot be told, or asks for what cannot be done.
        """
        try:
            resolved = resolve(
                self._configuration, host, self._succeeds, user=given.user, port=given.port
            )
            found = values.settings(resolved)
            for name in given.set_names():
                setattr(found, name, None)
            for name in ALGORITHM_SETTINGS:
                asked = getattr(found, name)
                if asked is not None:
                    setattr(found, name, _known(name, asked, supported))
        except SSHConfigError as ex:
            if ex.host is not None:
                raise
            raise SSHConfigError(
                "OpenSSH's configuration of host %s: %s",
                host,
                ex,
                host=host,
                path=ex.path,
                line=ex.line,
            ) from ex
        self._warn(resolved)
        if given.ipv6_only is not None:
            found.address_family = None
        if _has_proxy(given):
            found.proxy_jump = found.proxy_command = None
        return found

    def _succeeds(self, command: str) -> bool:
        run = self._runs.get(command)
        if run is None:
            run = self._runs[command] = AsyncResult()
            try:
                run.set(in_thread(shell.succeeds, command, kind="commands"))
            except BaseException as ex:
                # Whoever waits for it gets an error; whoever asks later runs it again.
                del self._runs[command]
                run.set_exception(_not_run(command, ex))
                if not isinstance(ex, OSError):
                    raise
        return bool(run.get())

    def _warn(self, resolved: Resolved) -> None:
        """Name the options that have no effect, each of them once."""
        new = [line for line in resolved.unused if line.keyword not in self._named]
        if new:
            self._named.update(line.keyword for line in new)
            logger.warning(
                "These options of OpenSSH's configuration have no effect here: %s",
                ", ".join(f"{line.name} ({line.path} line {line.number})" for line in new),
            )


def _has_proxy(given: HostConfig) -> bool:
    return any(
        getattr(given, name) is not None for name in ("proxy_host", "proxy_jump", "proxy_command")
    )


def _not_run(command: str, error: BaseException) -> SSHConfigError:
    return SSHConfigError("the command %r of Match exec could not be run: %s", command, error)


def _known(setting: str, asked: Sequence[str], supported: Supported) -> Sequence[str] | None:
    """Leave out names that the library does not know; the file is OpenSSH's as well.

    :returns: ``None`` where nothing is left that could be added or put first.
    :raises SSHConfigError: when nothing is left that could be offered.
    """
    sign, names = algorithms.split_sign(asked)
    if sign == "-":
        return asked
    known = [name for name in names if name in supported(setting)]
    if known:
        return [f"{sign}{known[0]}", *known[1:]]
    if sign:
        return None
    raise SSHConfigError(
        "of the %s that it names (%s) this client knows none", setting, ", ".join(names)
    )
