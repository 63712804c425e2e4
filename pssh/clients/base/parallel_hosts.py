"""The hosts of a parallel client, and the client of each."""

from __future__ import annotations

import contextlib
import inspect
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gevent.lock import BoundedSemaphore

from pssh import config as configuration
from pssh.clients.base.closing import Closing
from pssh.clients.base.ending import end_all
from pssh.clients.base.host import signature
from pssh.clients.base.parallel_run import (
    FleetRun,
    Watch,
    Work,
    check_rules,
    not_tried,
    results_for,
)
from pssh.clients.base.resources import Resources
from pssh.clients.base.single import BaseSSHClient
from pssh.clients.base.task import Task
from pssh.config import HostConfig
from pssh.constants import DEFAULT_POOL_SIZE
from pssh.exceptions import HostConfigError
from pssh.fleet import FleetResult, HostResult, Observer, Rollout

if TYPE_CHECKING:
    # In Python 3.10 the standard library lacks it; type checkers bring it along.
    from typing_extensions import Unpack

    from pssh.settings import ParallelSettings


class HostGroup(Closing):
    """Keeps the hosts, their settings and their connections.

    :param hosts: see :class:`pssh.clients.base.parallel.BaseParallelSSHClient`.
    :param settings: likewise.
    """

    _POSITIONAL: ClassVar[Sequence[str]] = ()
    _CLIENT: ClassVar[type[BaseSSHClient]]

    def __init__(
        self, hosts: Iterable[str], *args: Any, **settings: Unpack[ParallelSettings]
    ) -> None:
        given = configuration.by_name(type(self).__name__, self._POSITIONAL, args, settings)
        pool_size = given.pop("pool_size", None)
        if pool_size is not None and (not isinstance(pool_size, int) or pool_size < 1):
            raise ValueError("pool_size must be a number of hosts, 1 or more")
        self.pool_size: int = pool_size or DEFAULT_POOL_SIZE
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
            self._resources.check_files(self._config_of(index))
        self._clients: list[BaseSSHClient | None] = [None] * len(self._hosts)
        #: What goes on in the background, or by rules.
        self._runs: set[FleetRun] = set()
        self._result: FleetResult | None = None
        self._interrupts = weakref.WeakMethod(self._interrupt)

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

    def _given_for(self, index: int) -> HostConfig:
        """Return what was set for a host, without the defaults."""
        if self.host_config is None:
            return self._config
        return self.host_config[index].over(self._config)

    def _client_of(self, index: int) -> BaseSSHClient:
        """Return the client of the host at a position."""
        client = self._clients[index]
        if client is None:
            config = self._config_of(index)
            client = self._CLIENT.for_host(
                self._hosts[index],
                config,
                self._resources,
                self._given_for(index) if config.ssh_config else None,
            )
            client.interrupts = self._interrupts
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

    def connect_auth(
        self, *, rollout: Rollout | None = None, observer: Observer | None = None
    ) -> list[Task]:
        """Connect to all hosts and authenticate.

        :param rollout: how many hosts at a time, and when to stop.
        :param observer: is told what happens on each host.
        :returns: a greenlet for each host, in the order of the hosts, at once; join them. That
            of a host that is not tried ends with ``NotTriedError``.
        """
        self._check_host_config()
        self._follow_changes()
        check_rules(rollout, observer)
        return self._run_in_background(lambda client, host: True, rollout, self._watch(observer))

    # Runs

    @property
    def last_result(self) -> FleetResult | None:
        """What has become of each host in the last call of ``run_command``, ``connect_auth`` or
        one of the functions that copy; ``None`` before the first.
        """
        return self._result

    def _run_in_background(self, work: Work, rollout: Rollout | None, watch: Watch) -> list[Task]:
        return list(self._new_run(work, rollout or Rollout(), watch).run_in_background())

    def _watch(self, observer: Observer | None) -> Watch:
        """Keep from now on what becomes of each host."""
        self._result = results_for(self._hosts, self._aliases())
        return Watch(self._result, observer)

    def _new_run(
        self,
        work: Work,
        rules: Rollout,
        watch: Watch,
        on_end: Callable[[HostResult], None] = lambda _: None,
    ) -> FleetRun:
        names = list(self._hosts)
        run = FleetRun(
            watch,
            lambda index: self._client_in_run(index, names),
            work,
            rules,
            self._slots,
            self.pool_size,
            self._is_connected,
            on_end,
        )
        self._runs.add(run)
        run.over.rawlink(lambda _: self._runs.discard(run))
        return run

    def _client_in_run(self, index: int, names: Sequence[str]) -> BaseSSHClient:
        """Return a host's client, when it has its turn long after the run began."""
        if index >= len(self._hosts) or self._hosts[index] != names[index]:
            raise not_tried(names[index], "the client has other hosts now")
        return self._client_of(index)

    def _is_connected(self, index: int) -> bool:
        client = self._clients[index] if index < len(self._clients) else None
        return client is not None and client.connected

    def _aliases(self) -> list[str | None]:
        if self.host_config is None:
            return [self._config.alias] * len(self._hosts)
        return [self._alias_of(index) for index in range(len(self._hosts))]

    def _alias_of(self, index: int) -> str | None:
        own = self.host_config[index].alias if self.host_config is not None else None
        return own or self._config.alias

    def close(self) -> None:
        """Close all connections. Commands that run lose them; a new command connects again.

        Hosts of a run that have not had their turn are not tried.
        """
        for run in list(self._runs):
            run.stop("the client was closed")
        for client in self._clients:
            if client is not None:
                client.close()

    def _interrupt(self) -> None:
        with self._closed_by_another_interrupt():
            for run in list(self._runs):
                run.interrupt()
            clients = [client for client in self._clients if client is not None]
            end_all([client.connection for client in clients if client.connection is not None])

    @contextlib.contextmanager
    def _closed_by_another_interrupt(self) -> Iterator[None]:
        """Whoever presses Ctrl-C a second time does not want to wait, wherever that comes."""
        try:
            yield
        except KeyboardInterrupt:
            self.close()
            raise


def _host_list(hosts: Iterable[str]) -> list[str]:
    if isinstance(hosts, str | bytes):
        raise TypeError(
            "Hosts must be list or other iterable, not string. "
            f"For example: ['localhost'] not {hosts!r}"
        )
    return hosts if isinstance(hosts, list) else list(hosts)


def _parallel_signature(cls: type[HostGroup]) -> inspect.Signature:
    shown = signature("hosts", cls._POSITIONAL).parameters.values()
    parameters = [p for p in shown if p.name != "alias"]
    own = {"pool_size": DEFAULT_POOL_SIZE}
    return inspect.Signature(
        [p.replace(default=own[p.name]) if p.name in own else p for p in parameters]
    )
