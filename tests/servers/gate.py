"""A way to a server that is closed to this process: whoever goes around a bastion meets a wall."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from typing import TypeAlias

from tests.servers.cut_proxy import CutProxy
from tests.servers.proxy import Proxy
from tests.servers.relay import Relay

#: The addresses of a connection: the side that has begun it, and the other one.
Way: TypeAlias = tuple[tuple[str, int], tuple[str, int]]


class Gate(CutProxy):
    """A TCP proxy in front of a server that lets in everybody but this process.

    :param host: the server's address.
    :param port: the server's port.
    """

    def _make(self, target: tuple[str, int], delay: float) -> Proxy:
        return _GateProxy(target, delay)

    @property
    def refused(self) -> int:
        """How many connections of this process were turned away."""
        assert isinstance(self._proxy, _GateProxy)
        return self._proxy.refused


class _GateProxy(Proxy):
    refused = 0

    async def _connect(self, relay: Relay) -> None:
        while (transport := relay.client.transport) is None:
            await asyncio.sleep(0)
        way = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if self._is_ours(way):
            self.refused += 1
            relay.reset()
            self.closed(relay)
            return
        await super()._connect(relay)

    def _is_ours(self, way: Way) -> bool:
        """Whether the socket on the other side, from which a way leads here, is of this process.

        The port alone does not tell: the system gives it to several that lead elsewhere.
        """
        return any(_way(int(name)) == way for name in os.listdir("/proc/self/fd"))


def _way(descriptor: int) -> Way | None:
    """From where to where a descriptor's IPv4 socket leads; ``None`` when it is another thing.

    To ask each of ours costs less than to read the kernel's table of everybody's.
    """
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        # That of somebody else, who may close it at any time.
        duplicate = os.dup(descriptor)
    except OSError:
        return None
    with socket.socket(fileno=duplicate) as ours:
        if ours.family != socket.AF_INET:
            return None
        try:
            return ours.getsockname(), ours.getpeername()
        except OSError:
            return None  # it leads nowhere
