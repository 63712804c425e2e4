"""An SSH server that many thousand connections fit into, for what is no measure of servers.

``python -m benchmarks.light_server KEY HOST_KEY PROCESSES`` prints ``port <number>`` and serves
until its standard input ends. It runs in asyncssh's environment.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.environment import CHECKOUT, CI
from benchmarks.peer import ASYNCSSH
from tests.servers.keys import create_key, known_hosts_lines, public_line
from tests.servers.process import ServerProcess

if TYPE_CHECKING:
    import asyncssh

#: Each has a limited number of ports to connect from.
ADDRESSES = [f"127.0.0.{number}" for number in range(1, 6)]
USER = "bench"
PROCESSES = 4
#: /proc/net/tcp's number for a connection that is open.
ESTABLISHED = "01"


class LightServer(ServerProcess):
    """Starts that process; a context manager.

    :param folder: an existing folder for its log and its key.
    :param key: opens the account.

    Attributes: ``host``, ``addresses``, ``port``, ``user``.
    """

    host = ADDRESSES[0]
    addresses = ADDRESSES
    user = USER

    def __init__(self, folder: Path, key: Path) -> None:
        host_key = folder / "light_host_key"
        if not host_key.exists():
            create_key(host_key)
        self._host_key_line = public_line(host_key)
        program = [str(ASYNCSSH.environment.python), "-m", "benchmarks.light_server"]
        super().__init__(
            [*program, str(key), str(host_key), str(PROCESSES)],
            folder / "light_server.log",
            environment={**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CI}"},
            pipe_output=True,
        )
        self.port = int(self.read_line().removeprefix("port "))

    def known_hosts_text(self, port: int) -> str:
        """known_hosts lines with its host key for all its addresses."""
        return known_hosts_lines(
            [(address, port) for address in self.addresses], [self._host_key_line]
        )

    def connections(self) -> list[str]:
        """Its open connections."""
        here = f":{self.port:04X}"
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        return [
            line
            for line in lines
            if line.split()[1].endswith(here) and line.split()[3] == ESTABLISHED
        ]


def main(key: str, host_key: str, processes: int) -> None:
    """Listen, and let several processes accept what comes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sockets: list[socket.socket] = []
    port = 0
    for address in ADDRESSES:
        sock = socket.create_server((address, port), backlog=4096)
        port = sock.getsockname()[1]
        sockets.append(sock)
    children = [pid for _ in range(processes) if (pid := _serve_in_child(sockets, key, host_key))]
    print(f"port {port}", flush=True)
    sys.stdin.read()
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, 9)
        os.waitpid(pid, 0)


def _serve_in_child(sockets: list[socket.socket], key: str, host_key: str) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(_serve(sockets, key, host_key))
        finally:
            os._exit(1)
    return pid


async def _serve(sockets: list[socket.socket], key: str, host_key: str) -> None:
    import asyncssh  # only the server's own process has it

    authorized = Path(f"{key}.pub").read_text()

    def handle(process: asyncssh.SSHServerProcess[str]) -> None:
        # Some clients send a command for the user's shell to run.
        expected = "echo hello" in (process.command or "")
        if expected:
            process.stdout.write("hello\n")
        process.exit(0 if expected else 127)

    options = asyncssh.SSHServerConnectionOptions(
        server_host_keys=[host_key],
        authorized_client_keys=asyncssh.import_authorized_keys(authorized),
        process_factory=handle,
        login_timeout=600,
        gss_host=None,
    )
    for sock in sockets:
        await asyncssh.listen(sock=sock, options=options)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
