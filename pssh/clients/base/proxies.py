"""Connections to the hosts in between, shared by everybody who goes through them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol

from pssh.clients.base.connection import Connection
from pssh.clients.base.task import Task
from pssh.proxy_route import Hop


class ProxyClient(Protocol):
    """What is needed of the client of a host in between."""

    def connect(self) -> Connection:
        """Return the connection, opening it first where there is none."""

    def close(self) -> None:
        """Close the connection."""


class SharedProxy:
    """One connection to a host in between.

    :param client: the client of that host, not connected yet.
    :ivar users: how many go through it.
    """

    __slots__ = ("_client", "_task", "users")

    def __init__(self, client: ProxyClient) -> None:
        self._client = client
        self._task: Task | None = None
        self.users = 0

    @property
    def stands(self) -> bool:
        """Whether there is a connection, as far as is known."""
        task = self._task
        return task is not None and task.successful() and bool(task.value.alive)

    @property
    def usable(self) -> bool:
        """Whether it stands, or may yet."""
        return self._task is None or not self._task.ready() or self.stands

    def connect(self) -> Connection:
        """Return the connection. Greenlets that need it at the same time share one attempt.

        :raises PSSHError: what the attempt failed with, which is the same for all of them.
        """
        if self._task is None:
            # In a greenlet of its own: whoever asked first may give up before the others do.
            self._task = Task(self._client.connect)
            self._task.start()
        connection: Connection = self._task.get()
        return connection

    def close(self) -> None:
        """Nobody needs it any more."""
        if self._task is not None:
            self._task.kill(block=False)
        self._client.close()


class Lease:
    """The right of one host to go through a shared connection, until the last holder lets go.

    :param proxies: where the connection is kept.
    :param proxy: the connection.
    """

    __slots__ = ("_holders", "_proxies", "proxy")

    def __init__(self, proxies: Proxies, proxy: SharedProxy) -> None:
        self._proxies = proxies
        self.proxy = proxy
        self._holders = 1

    def hold(self) -> None:
        """There is another holder."""
        self._holders += 1

    def drop(self) -> None:
        """A holder lets go."""
        self._holders -= 1
        if self._holders == 0:
            self._proxies.left(self.proxy)


class Proxies:
    """The connections to hosts in between that the hosts of a client share."""

    __slots__ = ("_shared",)

    def __init__(self) -> None:
        self._shared: dict[Hashable, list[SharedProxy]] = {}

    def lease(self, hop: Hop, make: Callable[[], ProxyClient]) -> Lease:
        """Return the right to go through a host, over a connection that may not stand yet.

        :param hop: the host.
        :param make: makes a client for it, where it takes another connection.
        """
        most = hop.config.proxy_max_targets
        several = self._shared.setdefault(hop.key(), [])
        for proxy in several:
            if proxy.usable and (most is None or proxy.users < most):
                break
        else:
            proxy = SharedProxy(make())
            several.append(proxy)
        proxy.users += 1
        return Lease(self, proxy)

    def left(self, proxy: SharedProxy) -> None:
        """One of those that went through a connection has gone."""
        proxy.users -= 1
        if proxy.users:
            return
        for key, several in list(self._shared.items()):
            if proxy in several:
                several.remove(proxy)
                if not several:
                    del self._shared[key]
        proxy.close()
