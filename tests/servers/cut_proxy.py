"""A proxy in a thread, for tests that cut, stall and delay connections."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

from tests.servers.loop_thread import LoopThread
from tests.servers.proxy import HOST, Proxy

Self = TypeVar("Self", bound="CutProxy")


class CutProxy:
    """A TCP proxy in front of a server, which does to connections what we tell it.

    A context manager. Each method returns when what it does has been done.

    :param host: the server's address.
    :param port: the server's port.
    :param delay: seconds that each direction holds data back, without limiting the throughput.

    Attributes: ``host``, ``port``: where it listens.
    """

    host = HOST

    def __init__(self, host: str, port: int, *, delay: float = 0.0) -> None:
        self._thread = LoopThread()
        self._proxy = self._make((host, port), delay)
        self._thread.call(self._proxy.start())
        self.port = self._proxy.port

    def _make(self, target: tuple[str, int], delay: float) -> Proxy:
        return Proxy(target, delay)

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._proxy.relays)

    @property
    def accepted(self) -> int:
        """How many connections there have been."""
        return self._proxy.accepted

    def cut(self) -> None:
        """Reset all connections (RST); new ones are served."""
        self._thread.call(self._proxy.cut())

    def cut_after(self, count: int) -> None:
        """Reset all connections once ``count`` more bytes from the server have been passed on.

        The bytes of all connections count together. It happens once.
        """
        self._thread.call(self._proxy.cut_after(count))

    def half_close(self) -> None:
        """Send every client an end of file (FIN) while its own direction stays open."""
        self._thread.call(self._proxy.half_close())

    def stall(self) -> None:
        """Keep all connections open but pass nothing on until :meth:`resume`.

        New connections are accepted, and hear nothing either.
        """
        self._thread.call(self._proxy.stall())

    def resume(self) -> None:
        """Pass on again, first what has waited."""
        self._thread.call(self._proxy.resume())

    def stop(self) -> None:
        """Stop listening and reset all connections."""
        if not self._thread.loop.is_closed():
            self._thread.call(self._proxy.stop())
            self._thread.stop()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
