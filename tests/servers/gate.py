"""A way to a server that is closed to this process: whoever goes around a bastion meets a wall."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

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
        inode = _inode(port, self.port)
        for descriptor in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                if descriptor.readlink().name == f"socket:[{inode}]":
                    return True
        return False


def _inode(port: int, peer_port: int) -> str | None:
    """The inode of the loopback socket that is connected from a port to another."""
    address = "".join(f"{int(part):02X}" for part in reversed(HOST.split(".")))
    wanted = [f"{address}:{port:04X}", f"{address}:{peer_port:04X}"]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1:3] == wanted:
            return fields[9]
    return None
