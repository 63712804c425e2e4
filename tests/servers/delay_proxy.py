"""A delaying proxy in a process of its own, which costs the measured process nothing.

``python -m tests.servers.delay_proxy HOST PORT DELAY`` prints ``port <number>`` and serves until
its standard input ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.servers.process import ServerProcess
from tests.servers.proxy import HOST, Proxy

CHECKOUT = Path(__file__).resolve().parents[2]


class DelayProxy(ServerProcess):
    """Starts that process; a context manager.

    :param folder: an existing folder for its log.
    :param delay: seconds that each direction holds data back, without limiting the throughput.

    Attributes: ``host``, ``port``: where it listens.
    """

    host = HOST

    def __init__(self, folder: Path, host: str, port: int, delay: float) -> None:
        super().__init__(
            [sys.executable, "-m", "tests.servers.delay_proxy", host, str(port), str(delay)],
            folder / "delay_proxy.log",
            environment={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            pipe_output=True,
        )
        self.port = int(self.read_line().removeprefix("port "))


async def serve(host: str, port: int, delay: float) -> None:
    """Serve until standard input ends."""
    proxy = Proxy((host, port), delay)
    await proxy.start()
    print(f"port {proxy.port}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await proxy.stop()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
