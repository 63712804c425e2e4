"""Copying files with a client of this package or of parallel-ssh 2.x."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import gevent

from benchmarks.gauge import Figures, Gauge, Settings, expect, memory_kib
from benchmarks.pssh_clients import parallel_client, single_client

STDOUT = 0
#: What a raw channel is given, and asked for, at once.
WRITE_SIZE = 256 * 1024
READ_SIZE = 128 * 1024 - 64


def put(settings: Settings) -> Figures:
    """Copy to the server over SFTP."""
    return _copy(settings, lambda client: client.copy_file, to_server=True)


def get(settings: Settings) -> Figures:
    """Copy from the server over SFTP."""
    return _copy(settings, lambda client: client.copy_remote_file, to_server=False)


def scp_send(settings: Settings) -> Figures:
    """Copy to the server over SCP."""
    return _copy(settings, lambda client: client.scp_send, to_server=True)


def scp_recv(settings: Settings) -> Figures:
    """Copy from the server over SCP."""
    return _copy(settings, lambda client: client.scp_recv, to_server=False)


def put_and_raw(settings: Settings) -> Figures:
    """Copy to the server over SFTP, and send a command as much."""
    figures = put(settings)
    # On a connection of its own, as the copy was: a server warms up.
    client = single_client(settings)
    gauge = Gauge()
    send_raw(client, settings["size"])
    return {**figures, "raw": gauge.read()["wall"]}


def get_and_raw(settings: Settings) -> Figures:
    """Copy from the server over SFTP, and have a command print the file."""
    figures = get(settings)
    client = single_client(settings)
    gauge = Gauge()
    size = receive_raw(client, f"cat {shlex.quote(settings['remote'])}")
    figures = {**figures, "raw": gauge.read()["wall"]}
    expect(size, settings["size"], "bytes")
    return figures


def put_to_all(settings: Settings) -> Figures:
    """Copy to many hosts; what all but the first are sent is discarded there."""
    hosts = settings["hosts"]
    client = parallel_client(settings, hosts)
    discarded = [{"remote": "/dev/null"}] * (hosts - 1)
    names = [{"remote": settings["remote"]}, *discarded]
    gauge = Gauge()
    greenlets = client.copy_file(settings["local"], "%(remote)s", copy_args=names)
    gevent.joinall(greenlets, raise_error=True)
    return {**gauge.read(), "most": memory_kib("VmHWM")}


def send_raw(client: Any, size: int) -> None:
    """Send a command so many bytes over a channel of its own, and wait for its end."""
    channel = _start(client, "cat > /dev/null")
    block = bytes(WRITE_SIZE)
    while size:
        piece = memoryview(block)[:size]
        size -= len(piece)
        while piece:
            piece = piece[client.eagain(channel.write, piece) :]
    client.eagain(channel.send_eof)
    expect(client.eagain(channel.read, STDOUT, READ_SIZE), b"", "output")
    _end(client, channel)


def receive_raw(client: Any, command: str) -> int:
    """Run a command on a channel of its own, and return how many bytes it has printed."""
    channel = _start(client, command)
    size = 0
    while data := client.eagain(channel.read, STDOUT, READ_SIZE):
        size += len(data)
    _end(client, channel)
    return size


def _start(client: Any, command: str) -> Any:
    channel = client.open_session()
    client.eagain(channel.request_exec, command.encode())
    return channel


def _end(client: Any, channel: Any) -> None:
    client.eagain(channel.wait_closed)
    expect(channel.exit_status().status, 0, "the exit status")
    client.close_channel(channel)


def _copy(
    settings: Settings, method: Callable[[Any], Callable[..., None]], *, to_server: bool
) -> Figures:
    client = single_client(settings)
    ends = (settings["local"], settings["remote"])
    gauge = Gauge()
    method(client)(*(ends if to_server else ends[::-1]), settings["recurse"])
    return gauge.read()
