"""One measured run of a client of this package or of parallel-ssh 2.x: one script does for both."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import gevent

from benchmarks import pssh_files, pssh_proxies
from benchmarks.gauge import Figures, Gauge, Settings, expect, memory_kib, of_all, work
from benchmarks.pssh_clients import WRONG, client_module, parallel_client, run_and_read


def connect_and_run(settings: Settings) -> Figures:
    """Connect to all hosts, authenticate, run one command."""
    client_module(settings)  # importing it is not part of what is measured
    before = memory_kib("VmRSS")
    gauge = Gauge()
    client = parallel_client(settings, settings["hosts"])
    run_and_read(client, settings["hosts"])
    return {**gauge.read(), "before": before, "after": memory_kib("VmRSS")}


def further_commands(settings: Settings) -> Figures:
    """Run further commands on open connections."""
    client = parallel_client(settings, settings["hosts"])
    run_and_read(client, settings["hosts"])
    gauge = Gauge()
    for _ in range(settings["commands"]):
        run_and_read(client, settings["hosts"])
    return gauge.read()


def read_lines(settings: Settings) -> Figures:
    """Read many lines from one host."""
    client = parallel_client(settings, 1)
    run_and_read(client, 1)
    before = memory_kib("VmRSS")
    gauge = Gauge()
    output = client.run_command(settings["command"])
    lines = size = 0
    for line in output[0].stdout:
        lines += 1
        size += len(line)
    client.join(output)
    figures = gauge.read()
    expect((lines, size), (settings["lines"], settings["characters"]), "lines and characters")
    expect(output[0].exit_code, 0, "the exit code")
    return {**figures, "before": before, "after": memory_kib("VmRSS"), "most": memory_kib("VmHWM")}


def pipe_in(settings: Settings) -> Figures:
    """Give the same source of standard input to all hosts."""
    client = parallel_client(settings, settings["hosts"])
    run_and_read(client, settings["hosts"])
    block = os.urandom(settings["block"])
    gauge = Gauge()
    output = client.run_command("wc -c", stdin=(block for _ in range(settings["blocks"])))
    client.join(output)
    size = str(settings["block"] * settings["blocks"])
    for host_output in output:
        expect(list(host_output.stdout), [size], "the number of bytes")
    return {**gauge.read(), "most": memory_kib("VmHWM")}


def open_connections(settings: Settings) -> Figures:
    """Open many connections and keep them."""
    client = parallel_client(settings, settings["hosts"])
    before = memory_kib("VmRSS")
    gevent.joinall(client.connect_auth(), raise_error=True)
    figures: Figures = {"before": before, "after": memory_kib("VmRSS")}
    run_and_read(client, settings["hosts"])  # they are all there
    return figures


def many_at_once(settings: Settings) -> Figures:
    """Connect to very many hosts at the same time, and then run a command on all of them."""
    client_module(settings)
    before = memory_kib("VmRSS")
    ready: list[float] = []
    gauge = Gauge()
    client = parallel_client(settings, settings["hosts"])
    greenlets = client.connect_auth()
    for greenlet in greenlets:
        greenlet.link_value(lambda _: ready.append(time.perf_counter()))
    gevent.joinall(greenlets, raise_error=True)
    gevent.sleep(0)  # the last one's note
    figures = of_all(gauge, before, ready)
    commands = Gauge()
    run_and_read(client, settings["hosts"])
    command = commands.read()
    return {**figures, "command": command["wall"], "command_cpu": command["cpu"]}


def counting_wrong(task: Callable[[Settings], Figures]) -> Callable[[Settings], Figures]:
    """A task that reports how many exit codes were wrong.

    One client of 2.x has -1 for some, every now and then. What it costs is worth knowing all the
    same. Ours may have none.
    """

    def counted(settings: Settings) -> Figures:
        figures = task(settings)
        if settings["checks_host_keys"]:
            expect(WRONG, [], "the exit codes other than 0")
        return {**figures, "wrong": len(WRONG)}

    return counted


if __name__ == "__main__":
    tasks: dict[str, Callable[[Settings], Figures]] = {
        "connect_and_run": connect_and_run,
        "further_commands": further_commands,
        "read_lines": read_lines,
        "open_connections": open_connections,
        "many_at_once": many_at_once,
        "pipe_in": pipe_in,
        "put": pssh_files.put,
        "get": pssh_files.get,
        "scp_send": pssh_files.scp_send,
        "scp_recv": pssh_files.scp_recv,
        "put_and_raw": pssh_files.put_and_raw,
        "get_and_raw": pssh_files.get_and_raw,
        "put_to_all": pssh_files.put_to_all,
        "through_and_direct": pssh_proxies.through_and_direct,
        "two_and_one": pssh_proxies.two_and_one,
        "put_and_direct": pssh_proxies.put_and_direct,
        "get_and_direct": pssh_proxies.get_and_direct,
    }
    work({name: counting_wrong(task) for name, task in tasks.items()})
