"""Connections of asyncssh."""

from __future__ import annotations

import asyncio

import asyncssh

from benchmarks.gauge import Settings


async def connect(settings: Settings) -> asyncssh.SSHClientConnection:
    """A connection to the server."""
    return await asyncssh.connect(
        settings["host"],
        settings["port"],
        username=settings["user"],
        client_keys=[settings["key"]],
        known_hosts=settings["known_hosts"],
        agent_path=None,
        config=[],
    )


async def close_all(connections: list[asyncssh.SSHClientConnection]) -> None:
    """Close connections."""
    for connection in connections:
        connection.close()
    await asyncio.gather(*(connection.wait_closed() for connection in connections))
