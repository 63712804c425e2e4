"""Copying files with asyncssh."""

from __future__ import annotations

from benchmarks.asyncssh_connections import close_all, connect
from benchmarks.gauge import Figures, Gauge, Settings


async def put(settings: Settings) -> Figures:
    """Copy to the server over SFTP."""
    connection = await connect(settings)
    gauge = Gauge()
    async with connection.start_sftp_client() as sftp:
        await sftp.put(settings["local"], settings["remote"], recurse=settings["recurse"])
    figures = gauge.read()
    await close_all([connection])
    return figures


async def get(settings: Settings) -> Figures:
    """Copy from the server over SFTP."""
    connection = await connect(settings)
    gauge = Gauge()
    async with connection.start_sftp_client() as sftp:
        await sftp.get(settings["remote"], settings["local"], recurse=settings["recurse"])
    figures = gauge.read()
    await close_all([connection])
    return figures
