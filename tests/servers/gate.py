"""A way to a server that is closed to this process: whoever goes around a bastion meets a wall."""

from __future__ import annotations

import asyncio
import os
import socket
import stat

from tests.servers.cut_proxy import CutProxy
from tests.servers.proxy import HOST, Proxy
from tests.servers.relay import Relay


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
        if self._is_ours(transport.get_extra_info("peername")[1]):
            self.refused += 1
            relay.reset()
            self.closed(relay)
            return
        await super()._connect(relay)

    def _is_ours(self, port: int) -> bool:
        """Whether the socket on the other side, which has this port, is of this process."""
        return any(_address(int(name)) == (HOST, port) for name in os.listdir("/proc/self/fd"))


def _address(descriptor: int) -> tuple[str, int] | None:
    """The address of a descriptor's IPv4 socket; ``None`` when it is another thing, or no more.

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
        host, port = ours.getsockname()
        return host, port
