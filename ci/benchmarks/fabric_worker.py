"""One measured run of Fabric's ``ThreadingGroup``.

It starts a thread for every host at once and has no limit of its own, so it is given as many hosts
at a time as the other clients work on.
"""

from __future__ import annotations

from collections.abc import Iterator

from fabric import Connection, ThreadingGroup

from benchmarks.gauge import Figures, Gauge, Settings, expect, hosts_of, memory_kib, work


def connection(
    settings: Settings, host: str, port: int, gateway: Connection | None = None
) -> Connection:
    """A connection to a host, not yet made."""
    options = {
        "key_filename": settings["key"],
        "allow_agent": False,
        "look_for_keys": False,
        # A machine that is busy with a thousand handshakes takes its time.
        "banner_timeout": 120,
        "auth_timeout": 120,
    }
    return Connection(
        host,
        settings["user"],
        port,
        connect_kwargs=options,
        connect_timeout=120,
        gateway=gateway,
    )


def groups(settings: Settings) -> list[ThreadingGroup]:
    """The hosts, in groups as large as the others' pools."""
    gateway = None
    if settings["bastion_port"]:
        gateway = connection(settings, settings["host"], settings["bastion_port"])
        gateway.open()  # the threads would all do so
    port = settings["port"]
    every = [connection(settings, host, port, gateway) for host in hosts_of(settings)]
    return [ThreadingGroup.from_connections(part) for part in _parts(every, settings["pool_size"])]


def _parts(connections: list[Connection], size: int) -> Iterator[list[Connection]]:
    for first in range(0, len(connections), size):
        yield connections[first : first + size]


def run_and_read(every: list[ThreadingGroup]) -> None:
    """Run a command on all hosts and check its results."""
    for group in every:
        for result in group.run("echo hello", hide=True).values():
            expect(result.stdout, "hello\n", "the output")
            expect(result.exited, 0, "the exit status")
        # Results are found by host, and all of ours are the same one.
        expect(all(each.is_connected for each in group), True, "whether all are connected")


def connect_and_run(settings: Settings) -> Figures:
    """Connect to all hosts, authenticate, run one command."""
    before = memory_kib("VmRSS")
    gauge = Gauge()
    every = groups(settings)
    run_and_read(every)
    figures = {**gauge.read(), "before": before, "after": memory_kib("VmRSS")}
    close_all(every)
    return figures


def further_commands(settings: Settings) -> Figures:
    """Run further commands on open connections."""
    every = groups(settings)
    run_and_read(every)
    gauge = Gauge()
    for _ in range(settings["commands"]):
        run_and_read(every)
    figures = gauge.read()
    close_all(every)
    return figures


def read_lines(settings: Settings) -> Figures:
    """Read many lines from one host."""
    client = connection(settings, settings["host"], settings["port"])
    client.run("echo hello", hide=True)
    before = memory_kib("VmRSS")
    gauge = Gauge()
    result = client.run(settings["command"], hide=True)
    lines = result.stdout.splitlines()
    found = (len(lines), sum(map(len, lines)))
    figures = gauge.read()
    expect(found, (settings["lines"], settings["characters"]), "lines and characters")
    figures = {**figures, "before": before, "after": memory_kib("VmRSS")}
    client.close()
    return figures


def close_all(every: list[ThreadingGroup]) -> None:
    """Close connections."""
    for group in every:
        group.close()


if __name__ == "__main__":
    work(
        {
            "connect_and_run": connect_and_run,
            "further_commands": further_commands,
            "read_lines": read_lines,
        }
    )
