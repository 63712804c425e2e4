"""Connections of asyncssh."""

from __future__ import annotations

import asyncio

import asyncssh

from benchmarks.gauge import Settings


async def connect(
    settings: Settings, host: str | None = None, bastion: asyncssh.SSHClientConnection | None = None
) -> asyncssh.SSHClientConnection:
    """A connection to the server."""
    return await _connect(settings, host or settings["host"], settings["port"], bastion)


async def connect_to_bastion(settings: Settings) -> asyncssh.SSHClientConnection | None:
    """A connection to the server before the others, if there is one."""
    if not settings["bastion_port"]:
        return None
    return await _connect(settings, settings["host"], settings["bastion_port"], None)


async def _connect(
    settings: Settings, host: str, port: int, bastion: asyncssh.SSHClientConnection | None
) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        host,
        port,
        username=settings["user"],
        client_keys=[settings["key"]],
        known_hosts=settings["known_hosts"],
        agent_path=None,
        config=[],
        tunnel=bastion or (),
        login_timeout="10m",
    )


async def close_all(connections: list[asyncssh.SSHClientConnection]) -> None:
    """Close connections."""
    for connection in connections:
        connection.close()
    await asyncio.gather(*(connection.wait_closed() for connection in connections))
