"""A TCP proxy in front of a server, which can delay, stall and cut connections."""

from __future__ import annotations

import asyncio
import contextlib

from tests.servers.relay import Relay

HOST = "127.0.0.1"
BACKLOG = 1024


class Proxy:
    """The proxy itself, to be used in an event loop.

    :param target: the server's address and port.
    :param delay: seconds that each direction holds data back, without limiting the throughput.
    """

    def __init__(self, target: tuple[str, int], delay: float = 0.0) -> None:
        self.delay = delay
        self.stalled = False
        self.accepted = 0
        self.port = 0
        self.relays: set[Relay] = set()
        self._target = target
        self._server: asyncio.Server | None = None
        self._connecting: set[asyncio.Task[None]] = set()
        self._left: int | None = None

    async def start(self) -> None:
        """Listen on a free port of the loopback address."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, HOST, 0, backlog=BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and reset all connections."""
        if self._server is not None:
            self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """Reset all connections."""
        for relay in list(self.relays):
            relay.reset()

    async def cut_after(self, count: int) -> None:
        """Reset all connections once so many more bytes from the server have been passed on."""
        self._left = count

    async def half_close(self) -> None:
        """Send every client an end of file while its own direction stays open."""
        for relay in list(self.relays):
            if relay.client.transport is not None:
                relay.half_closed = True
                with contextlib.suppress(OSError):
                    relay.client.transport.write_eof()

    async def stall(self) -> None:
        """Pass nothing on until :meth:`resume`; new connections are accepted."""
        self.stalled = True
        self._apply()

    async def resume(self) -> None:
        """Pass on again what has waited and what comes."""
        self.stalled = False
        self._apply()

    def allow_to_client(self, data: bytes) -> bytes:
        """How much of this may be passed on before the cut."""
        if self._left is None:
            return data
        allowed = data[: self._left]
        self._left -= len(allowed)
        return allowed

    def after_write_to_client(self) -> None:
        """Cut if it is time to."""
        if self._left == 0:
            self._left = None
            for relay in list(self.relays):
                relay.reset()

    def closed(self, relay: Relay) -> None:
        """Forget a connection that has ended."""
        self.relays.discard(relay)

    def _apply(self) -> None:
        for relay in self.relays:
            relay.pause_or_resume()

    def _accept(self) -> asyncio.Protocol:
        relay = Relay(self)
        self.accepted += 1
        self.relays.add(relay)
        task = asyncio.get_running_loop().create_task(self._connect(relay))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return relay.client

    async def _connect(self, relay: Relay) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: relay.server, *self._target)
        except OSError:
            relay.reset()
            self.closed(relay)
            return
        if relay.client.is_open():
            relay.pause_or_resume()
        else:
            relay.reset()
