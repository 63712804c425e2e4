"""A local port that leads to another host through a client's connection."""

from __future__ import annotations

import errno
import socket
import sys
import weakref
from types import TracebackType
from typing import Any, TypeVar

import gevent

from pssh.clients.base import pumps
from pssh.clients.base.host import HostClient
from pssh.clients.base.pump import Pump
from pssh.clients.base.seam import Destination
from pssh.clients.base.tcp import NO_DESCRIPTORS
from pssh.clients.base.transport import plain
from pssh.exceptions import InvalidAPIUseError, PSSHError
from pssh.utils import logger

_BACKLOG = 1024
#: Seconds until another connection is accepted, when none could be for want of descriptors.
_PAUSE = 0.5

_Self = TypeVar("_Self", bound="Tunnel")


class Tunnel:
    """A listening port here, each of whose connections a client's host carries on, as ``ssh -L``.

    Use it as a context manager, or :meth:`start` and :meth:`close` it. It needs no thread, and
    works as long as gevent's loop runs: the program has to wait with gevent. The client connects
    when the first connection comes, and again after it has lost its connection.

    :param client: a client for one host, of either library.
    :param host: where the connections lead: a name or an address, as the client's host sees it.
    :param port: the port there.
    :param bind_address: the address to listen at; whoever reaches it can use the tunnel, and
        that is only programs of this machine unless another one is given.
    :param listen_port: the port to listen at; default is any that is free.
    :ivar error: why the last connection that was not carried on was not; ``None`` when all were.
    """

    def __init__(
        self,
        client: HostClient,
        host: str,
        port: int,
        bind_address: str = "127.0.0.1",
        listen_port: int = 0,
    ) -> None:
        self.client = client
        self.host = host
        self.port = port
        self.bind_address = bind_address
        self.error: PSSHError | None = None
        self._wanted_port = listen_port
        self._listening: socket.socket | None = None
        self._watcher: Any = None
        self._opening: set[gevent.Greenlet] = set()
        self._pumps: set[Pump] = set()

    @property
    def started(self) -> bool:
        """Whether it listens."""
        return self._listening is not None

    @property
    def listen_port(self) -> int:
        """The port that it listens at.

        :raises InvalidAPIUseError: when it does not.
        """
        if self._listening is None:
            raise InvalidAPIUseError("The tunnel to %s:%s does not listen", self.host, self.port)
        return int(self._listening.getsockname()[1])

    @property
    def connections(self) -> int:
        """How many connections are carried now."""
        return len(self._pumps)

    def start(self) -> None:
        """Listen.

        :raises OSError: when the address or the port cannot be had.
        """
        if self._listening is not None:
            return
        family = socket.AF_INET6 if ":" in self.bind_address else socket.AF_INET
        listening = plain(socket.socket(family, socket.SOCK_STREAM))
        try:
            listening.setblocking(False)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self.bind_address, self._wanted_port))
            listening.listen(_BACKLOG)
        except BaseException:
            listening.close()
            raise
        self._listening = listening
        self._watcher = gevent.get_hub().loop.io(listening.fileno(), 1)
        self._watch()

    def _watch(self) -> None:
        if self._watcher is not None:
            # One that is forgotten ends: the loop does not keep it.
            self._watcher.start(_accept, weakref.ref(self))

    def close(self) -> None:
        """Listen no more, and end all connections."""
        if self._listening is None:
            return
        self._watcher.stop()
        self._watcher.close()
        self._listening.close()
        self._listening = self._watcher = None
        for opening in list(self._opening):
            opening.kill(block=False)
        for pump in list(self._pumps):
            pump.stop()

    def stop(self) -> None:
        """Do as :meth:`close` does; servers of gevent call it so."""
        self.close()

    def __enter__(self: _Self) -> _Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not sys.is_finalizing() and getattr(self, "_listening", None) is not None:
            self.close()

    def __repr__(self) -> str:
        where = f"{self.bind_address}:{self.listen_port}" if self.started else "closed"
        return f"<{type(self).__name__} {where} to {self.host}:{self.port} through {self.client}>"

    # Connections

    def _take(self) -> None:
        """Runs in the loop: somebody connects."""
        assert self._listening is not None
        try:
            sock, address = self._listening.accept()
        except OSError as ex:
            if ex.errno in (*NO_DESCRIPTORS, errno.ENOBUFS, errno.ENOMEM):
                logger.warning("%r cannot accept a connection: %s", self, ex)
                self._pause()
            # Otherwise the other side has gone again.
            return
        sock = plain(sock)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opening = gevent.Greenlet(self._carry, sock, address)
        self._opening.add(opening)
        opening.rawlink(self._opening.discard)
        opening.start()

    def _pause(self) -> None:
        watcher = self._watcher
        watcher.stop()
        timer = gevent.get_hub().loop.timer(_PAUSE, ref=False)

        def go_on() -> None:
            timer.close()
            if self._watcher is watcher:
                watcher.start(_accept, weakref.ref(self))

        timer.start(go_on)

    def _carry(self, sock: socket.socket, address: tuple[Any, ...]) -> None:
        destination = Destination(self.host, self.port, str(address[0]), int(address[1]))
        try:
            connection, channel = self.client.open_direct_tcpip(destination)
        except PSSHError as ex:
            self.error = ex
            logger.warning("A connection through %r failed: %s", self, ex)
            sock.close()
            return
        except BaseException:
            sock.close()
            raise
        self._pumps.add(pumps.start(connection, channel, sock, self._pumps.discard))


def _accept(reference: weakref.ref[Tunnel]) -> None:
    tunnel = reference()
    if tunnel is None or not tunnel.started:
        return
    try:
        tunnel._take()
    except BaseException:
        # Ctrl-C may come here. gevent stops a watcher when what it calls raises.
        gevent.get_hub().loop.run_callback(tunnel._watch)
        raise
