"""Servers that misbehave before SSH has begun."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from types import TracebackType
from typing import TypeVar

from tests.servers.cut_proxy import CutProxy
from tests.servers.loop_thread import LoopThread
from tests.servers.relay import reset

__all__ = [
    "BannerThenSilent",
    "ClosesAfterBanner",
    "ClosesAtOnce",
    "CutProxy",
    "FakeServer",
    "Garbage",
    "NeverAccepts",
    "ResetsAtOnce",
    "Silent",
    "Slow",
]

BANNER = b"SSH-2.0-Fake_1.0\r\n"

Self = TypeVar("Self", bound="FakeServer")


class FakeServer:
    """A listening loopback socket, served by a thread; a context manager.

    Attributes: ``host``, ``port``; ``accepted``: how many connections it has had; ``received``:
    all bytes that its clients have sent.
    """

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.accepted = 0
        self.received = b""
        self._thread = LoopThread()
        listening = self._thread.call(asyncio.start_server(self._serve, self.host, 0))
        self.port: int = listening.sockets[0].getsockname()[1]
        self._server = listening

    async def talk(self, writer: asyncio.StreamWriter) -> None:
        """What the server says; afterwards it stays silent until its client leaves.

        To close, say an end of file: closing with input unread would be a reset, so what the
        client sees would depend on who was first.
        """

    def stop(self) -> None:
        """Close the listening socket and all connections."""
        self._thread.loop.call_soon_threadsafe(self._server.close)
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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            listening = asyncio.create_task(self._listen(reader))
            try:
                await self.talk(writer)
                if not writer.is_closing():
                    await listening
            finally:
                listening.cancel()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self.received += data


class Silent(FakeServer):
    """Accepts and never says anything."""


class Garbage(FakeServer):
    """Answers like a web server, and closes."""

    async def talk(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.write_eof()


class ClosesAtOnce(FakeServer):
    """Closes each connection without a word."""

    async def talk(self, writer: asyncio.StreamWriter) -> None:
        writer.write_eof()


class ResetsAtOnce(FakeServer):
    """Resets each connection without a word."""

    async def talk(self, writer: asyncio.StreamWriter) -> None:
        reset(writer.transport)


class ClosesAfterBanner(FakeServer):
    """Sends an SSH identification (RFC 4253 §4.2) and closes."""

    async def talk(self, writer: asyncio.StreamWriter) -> None:
        writer.write(BANNER)
        writer.write_eof()


class BannerThenSilent(FakeServer):
    """Sends an SSH identification and then nothing more."""

    async def talk(self, writer: asyncio.StreamWriter) -> None:
        writer.write(BANNER)
        await writer.drain()


class Slow(FakeServer):
    """Sends the lines that may precede an SSH identification for ever, a byte at a time.

    :param interval: seconds between two bytes.
    """

    def __init__(self, interval: float = 0.05) -> None:
        self._interval = interval
        super().__init__()

    async def talk(self, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            for byte in b"please wait\r\n":
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(self._interval)


class NeverAccepts:
    """A listening socket with a full backlog: connecting to it takes until its timeout."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self._listening = socket.create_server((self.host, 0), backlog=0)
        self.port: int = self._listening.getsockname()[1]
        self._waiting: list[socket.socket] = []
        while self._connects():
            pass

    def stop(self) -> None:
        """Close the listening socket."""
        for connection in (*self._waiting, self._listening):
            connection.close()

    def __enter__(self) -> NeverAccepts:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _connects(self) -> bool:
        connection = socket.socket()
        self._waiting.append(connection)
        connection.setblocking(False)
        connection.connect_ex((self.host, self.port))
        # On loopback the kernel answers at once if it answers at all.
        return bool(select.select([], [connection], [], 0.2)[1])
