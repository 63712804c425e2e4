"""One measured run of the smallest loop that a binding allows: a greenlet for each host.

Nothing is checked that need not be, nothing is kept, nothing can be set: this is what the library
and the event loop cost by themselves, and so the limit for a client that is built on them.
"""

from __future__ import annotations

import shlex
import socket
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import gevent
import gevent.pool
from gevent import get_hub

from benchmarks.gauge import Figures, Gauge, Settings, expect, hosts_of, memory_kib, of_all, work

READ, WRITE = 1, 2
# Most of the first one's time goes into imports, which are done before the measuring begins.
get_hub()
#: What our clients send for ``echo hello``: the limit is for the same work.
COMMAND = "$SHELL -c 'echo hello'"
OUTPUT = b"hello\n"
PIECE = 128 * 1024 - 64


class Waiter:
    """Lets a greenlet sleep until a socket is ready.

    :param directions: asks the library which way it waits.
    """

    def __init__(self, sock: socket.socket, directions: Callable[[], int]) -> None:
        self._hub = get_hub()
        self._watcher = self._hub.loop.io(sock.fileno(), READ)
        self._directions = directions

    def wait(self) -> None:
        """Sleep until then."""
        events = self._directions() or READ
        if self._watcher.events != events:
            self._watcher.events = events
        self._hub.wait(self._watcher)

    def close(self) -> None:
        """Forget the socket."""
        self._watcher.close()


def connected(host: str, port: int) -> socket.socket:
    """A non-blocking socket that is connected."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    waiter = Waiter(sock, lambda: WRITE)
    if sock.connect_ex((host, port)):
        waiter.wait()
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    waiter.close()
    expect(error, 0, "the error of connecting")
    return sock


def open_all(loop: Any, settings: Settings) -> list[Any]:
    """Connections to all hosts, on each of which a command has run."""
    key = Path(settings["key"]).read_bytes()
    pool = gevent.pool.Pool(settings["pool_size"])

    def open_one(host: str) -> Any:
        connection = loop.Connection(host, settings["port"], settings["user"], key)
        run_and_read(connection)
        return connection

    return pool.map(open_one, hosts_of(settings))


def run_and_read(connection: Any) -> None:
    """Run a command and read its output."""
    data, status = connection.run(COMMAND)
    expect(data, OUTPUT, "the output")
    expect(status, 0, "the exit status")


def connect_and_run(loop: Any, settings: Settings) -> Figures:
    """Connect to all hosts, authenticate, run one command."""
    before = memory_kib("VmRSS")
    gauge = Gauge()
    connections = open_all(loop, settings)
    figures = {**gauge.read(), "before": before, "after": memory_kib("VmRSS")}
    del connections
    return figures


def further_commands(loop: Any, settings: Settings) -> Figures:
    """Run further commands on open connections."""
    connections = open_all(loop, settings)
    pool = gevent.pool.Pool(settings["pool_size"])
    gauge = Gauge()
    for _ in range(settings["commands"]):
        pool.map(run_and_read, connections)
    return gauge.read()


def read_lines(loop: Any, settings: Settings) -> Figures:
    """Read many lines from one host, and make text of them in the cheapest way."""
    (connection,) = open_all(loop, {**settings, "hosts": 1})
    before = memory_kib("VmRSS")
    gauge = Gauge()
    lines = size = 0
    rest = b""
    for piece in connection.output(settings["command"]):
        whole, newline, rest = (rest + piece).rpartition(b"\n")
        if newline:
            for line in whole.decode().split("\n"):
                lines += 1
                size += len(line)
    figures = gauge.read()
    expect((lines, size), (settings["lines"], settings["characters"]), "lines and characters")
    return {**figures, "before": before, "after": memory_kib("VmRSS")}


def many_at_once(loop: Any, settings: Settings) -> Figures:
    """Connect to very many hosts at the same time, and then run a command on all of them."""
    key = Path(settings["key"]).read_bytes()
    pool = gevent.pool.Pool(settings["pool_size"])
    before = memory_kib("VmRSS")
    ready: list[float] = []

    def open_one(host: str) -> Any:
        connection = loop.Connection(host, settings["port"], settings["user"], key)
        ready.append(time.perf_counter())
        return connection

    gauge = Gauge()
    connections = pool.map(open_one, hosts_of(settings))
    figures = of_all(gauge, before, ready)
    commands = Gauge()
    pool.map(run_and_read, connections)
    command = commands.read()
    return {**figures, "command": command["wall"], "command_cpu": command["cpu"]}


def put(loop: Any, settings: Settings) -> Figures:
    """Send a file to a command that writes it."""
    (connection,) = open_all(loop, {**settings, "hosts": 1})
    gauge = Gauge()
    with open(settings["local"], "rb") as file:
        pieces = iter(lambda: file.read(PIECE), b"")
        status = connection.feed(f"cat > {shlex.quote(settings['remote'])}", pieces)
    figures = gauge.read()
    expect(status, 0, "the exit status")
    return figures


def get(loop: Any, settings: Settings) -> Figures:
    """Write what a command prints of a file."""
    (connection,) = open_all(loop, {**settings, "hosts": 1})
    gauge = Gauge()
    with open(settings["local"], "wb") as file:
        for piece in connection.output(f"cat {shlex.quote(settings['remote'])}"):
            file.write(piece)
    return gauge.read()


TASKS: dict[str, Callable[[Any, Settings], Figures]] = {
    "connect_and_run": connect_and_run,
    "further_commands": further_commands,
    "read_lines": read_lines,
    "many_at_once": many_at_once,
    "put": put,
    "get": get,
}


def main(settings: Settings) -> Figures:
    """Do one measure with the loop of the library in question."""
    loop = import_module(settings["client_module"])
    return TASKS[settings["measure"]](loop, settings)


if __name__ == "__main__":
    work(dict.fromkeys(TASKS, main))
