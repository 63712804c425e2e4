"""One measured run of asyncssh."""

from __future__ import annotations

import asyncio
import time

import asyncssh

from benchmarks import asyncssh_files
from benchmarks.asyncssh_connections import close_all, connect, connect_to_bastion
from benchmarks.gauge import Figures, Gauge, Settings, expect, hosts_of, memory_kib, of_all, work


async def run_and_read(connection: asyncssh.SSHClientConnection) -> None:
    """Run a command, read its output and check its result."""
    result = await connection.run("echo hello")
    expect(result.stdout, "hello\n", "the output")
    expect(result.exit_status, 0, "the exit status")


async def connect_all(settings: Settings, run: bool) -> list[asyncssh.SSHClientConnection]:
    """Connect to all hosts, as many at once as the other clients, and run a command if asked."""
    limit = asyncio.Semaphore(settings["pool_size"])
    bastion = await connect_to_bastion(settings)

    async def connect_one(host: str) -> asyncssh.SSHClientConnection:
        async with limit:
            connection = await connect(settings, host, bastion)
            if run:
                await run_and_read(connection)
            return connection

    return await asyncio.gather(*map(connect_one, hosts_of(settings)))


async def connect_and_run(settings: Settings) -> Figures:
    """Connect to all hosts, authenticate, run one command."""
    before = memory_kib("VmRSS")
    gauge = Gauge()
    connections = await connect_all(settings, run=True)
    figures = {**gauge.read(), "before": before, "after": memory_kib("VmRSS")}
    await close_all(connections)
    return figures


async def further_commands(settings: Settings) -> Figures:
    """Run further commands on open connections."""
    connections = await connect_all(settings, run=True)
    gauge = Gauge()
    for _ in range(settings["commands"]):
        await asyncio.gather(*(run_and_read(connection) for connection in connections))
    figures = gauge.read()
    await close_all(connections)
    return figures


async def read_lines(settings: Settings) -> Figures:
    """Read many lines from one host."""
    connection = await connect(settings)
    await run_and_read(connection)
    before = memory_kib("VmRSS")
    gauge = Gauge()
    process = await connection.create_process(settings["command"])
    lines = size = 0
    async for line in process.stdout:
        lines += 1
        size += len(line) - 1  # without its ending
    await process.wait()
    figures = gauge.read()
    expect((lines, size), (settings["lines"], settings["characters"]), "lines and characters")
    expect(process.exit_status, 0, "the exit status")
    await close_all([connection])
    return {**figures, "before": before, "after": memory_kib("VmRSS"), "most": memory_kib("VmHWM")}


async def open_connections(settings: Settings) -> Figures:
    """Open many connections and keep them."""
    before = memory_kib("VmRSS")
    connections = await connect_all(settings, run=False)
    figures: Figures = {"before": before, "after": memory_kib("VmRSS")}
    await asyncio.gather(*(run_and_read(connection) for connection in connections))
    await close_all(connections)
    return figures


async def many_at_once(settings: Settings) -> Figures:
    """Connect to very many hosts at the same time, and then run a command on all of them."""
    before = memory_kib("VmRSS")
    ready: list[float] = []

    async def connect_one(host: str) -> asyncssh.SSHClientConnection:
        connection = await connect(settings, host)
        ready.append(time.perf_counter())
        return connection

    gauge = Gauge()
    connections = await asyncio.gather(*map(connect_one, hosts_of(settings)))
    figures = of_all(gauge, before, ready)
    commands = Gauge()
    await asyncio.gather(*map(run_and_read, connections))
    command = commands.read()
    await close_all(connections)
    return {**figures, "command": command["wall"], "command_cpu": command["cpu"]}


if __name__ == "__main__":
    work(
        {
            "connect_and_run": lambda settings: asyncio.run(connect_and_run(settings)),
            "further_commands": lambda settings: asyncio.run(further_commands(settings)),
            "read_lines": lambda settings: asyncio.run(read_lines(settings)),
            "open_connections": lambda settings: asyncio.run(open_connections(settings)),
            "many_at_once": lambda settings: asyncio.run(many_at_once(settings)),
            "put": lambda settings: asyncio.run(asyncssh_files.put(settings)),
            "get": lambda settings: asyncio.run(asyncssh_files.get(settings)),
        }
    )
