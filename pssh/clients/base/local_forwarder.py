"""Tunnels under the names that 2.x has for them."""

from __future__ import annotations

from typing import Any

from gevent.event import Event
from gevent.queue import SimpleQueue

from pssh.clients.base.host import HostClient
from pssh.clients.base.tunnel import Tunnel
from pssh.exceptions import InvalidAPIUseError


class TunnelServer(Tunnel):
    """A listening port here that leads to another host. What :class:`Tunnel` was called in 2.x.

    :param client: a client for one host.
    :param host: where the connections lead, as the client's host sees it.
    :param port: the port there.
    :param bind_address: the address to listen at.
    :param timeout: of 2.x, which polled; nothing here has to.
    """

    def __init__(
        self,
        client: HostClient,
        host: str,
        port: int,
        bind_address: str = "127.0.0.1",
        timeout: float = 0.1,
    ) -> None:
        super().__init__(client, host, port, bind_address)
        self.timeout = timeout


class LocalForwarder:
    """A group of tunnels, each asked for with :meth:`enqueue`.

    In 2.x it is a thread. This one is none, and still has what of a thread scripts use:
    :meth:`start`, :meth:`join`, ``daemon`` and ``name``.

    :ivar out_q: a queue that gets the port of each tunnel, in the order of :meth:`enqueue`.
    :ivar started: an event, set once :meth:`start` was called.
    """

    def __init__(self) -> None:
        self.daemon = True
        self.name = type(self).__name__
        self.started = Event()
        self.out_q: SimpleQueue[int] = SimpleQueue()
        self._tunnels: dict[HostClient, list[TunnelServer]] = {}

    def start(self) -> None:
        """Take what is asked for from now on."""
        self.started.set()

    def enqueue(self, client: HostClient, host: str, port: int) -> None:
        """Open a tunnel; its port is put into ``out_q``.

        :param client: a client for one host.
        :param host: where the tunnel leads, as the client's host sees it.
        :param port: the port there.
        :raises InvalidAPIUseError: before :meth:`start`, and after :meth:`shutdown`.
        :raises OSError: when no port can be had.
        """
        if not self.started.is_set():
            raise InvalidAPIUseError("A LocalForwarder that was not started opens no tunnels")
        tunnel = TunnelServer(client, host, port)
        tunnel.start()
        self._tunnels.setdefault(client, []).append(tunnel)
        self.out_q.put(tunnel.listen_port)

    def cleanup_server(self, client: HostClient) -> None:
        """Close the tunnels of a client.

        :param client: the client that was given to :meth:`enqueue`.
        """
        for tunnel in self._tunnels.pop(client, []):
            tunnel.close()

    def shutdown(self) -> None:
        """Close all tunnels."""
        self.started.clear()
        for client in list(self._tunnels):
            self.cleanup_server(client)

    def is_alive(self) -> bool:
        """Whether tunnels can be asked for."""
        return bool(self.started.is_set())

    def join(self, timeout: float | None = None) -> None:
        """Return at once: there is no thread to wait for.

        :param timeout: of a thread.
        """

    def __enter__(self) -> LocalForwarder:
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.shutdown()
