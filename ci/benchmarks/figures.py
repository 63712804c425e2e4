"""What the tables and the pictures of doc/performance.rst show: which figure of which measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.command_measures import (
    COMMANDS,
    LONG_LINES,
    MANY_LINES,
    OPEN_HOSTS,
)
from benchmarks.file_measures import BIG, FAR_FILE
from benchmarks.gauge import Figures
from benchmarks.measure import KIB_PER_MIB, LINE_CHARACTERS

Value = Callable[[Figures], float]


def wall(figures: Figures) -> float:
    """Seconds from the first to the last."""
    return figures["wall"]


def cpu(figures: Figures) -> float:
    """CPU seconds of the client, of all its processes and threads."""
    return figures["cpu"]


def server(figures: Figures) -> float:
    """CPU seconds of the server."""
    return figures["server"]


def most(figures: Figures) -> float:
    """MiB that were resident at most."""
    return figures["most"] / KIB_PER_MIB


def cpu_per_host(hosts: int) -> Value:
    """CPU milliseconds for each host."""
    return lambda figures: figures["cpu"] * 1000 / hosts


def server_per_host(hosts: int) -> Value:
    """CPU milliseconds of the server for each host."""
    return lambda figures: figures["server"] * 1000 / hosts


def memory_per_host(hosts: int) -> Value:
    """KiB for each open connection."""
    return lambda figures: (figures["after"] - figures["before"]) / hosts


def rate(megabytes: float) -> Value:
    """MB/s."""
    return lambda figures: megabytes / figures["wall"]


ALL_COMMANDS = OPEN_HOSTS * COMMANDS
LONG_MEGABYTES = LONG_LINES * (LINE_CHARACTERS + 1) / 1e6


def command_cpu(figures: Figures) -> float:
    """CPU milliseconds for a further command."""
    return figures["cpu"] * 1000 / ALL_COMMANDS


def command_wall(figures: Figures) -> float:
    """Milliseconds for a further command."""
    return figures["wall"] * 1000 / ALL_COMMANDS


def million_lines(figures: Figures) -> float:
    """Million lines in a second."""
    return MANY_LINES / figures["wall"] / 1e6


long_rate = rate(LONG_MEGABYTES)
big_rate = rate(BIG.megabytes)
far_rate = rate(FAR_FILE.megabytes)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    :ivar is_wall: whether its figures may be the server's.
    """

    heading: str
    measure: str
    value: Value
    is_wall: bool = False


@dataclass(frozen=True)
class Headline:
    """A row of the table that comes first, and of the one about limits.

    :ivar more: whether more is better.
    :ivar is_wall: whether its figures may be the server's.
    """

    title: str
    measure: str
    value: Value
    more: bool = False
    is_wall: bool = False

    def best(self, values: Sequence[tuple[float, str]]) -> tuple[float, str]:
        """The best of figures and the names that they belong to."""
        return max(values) if self.more else min(values)

    def advantage(self, ours: float, other: float) -> float:
        """How many times better ours is than another."""
        return ours / other if self.more else other / ours


HEADLINES = (
    Headline("100 hosts, loopback, s", "hosts-100", wall, is_wall=True),
    Headline("1,000 hosts, loopback, s", "hosts-1000", wall, is_wall=True),
    Headline("100 hosts, loopback, client CPU ms/host", "hosts-100", cpu_per_host(100)),
    Headline("100 hosts, 50 ms round trip, s", "hosts-100-50ms", wall, is_wall=True),
    Headline("100 hosts, 200 ms round trip, s", "hosts-100-200ms", wall, is_wall=True),
    Headline("100 hosts behind a bastion, s", "bastion", wall, is_wall=True),
    Headline("a further command, client CPU ms", "commands", command_cpu),
    Headline("a further command, wall ms", "commands", command_wall, is_wall=True),
    Headline("short lines, million/s", "lines", million_lines, more=True, is_wall=True),
    Headline("long lines, MB/s", "bulk", long_rate, more=True, is_wall=True),
    Headline("a file put over SFTP, MB/s", "put", big_rate, more=True, is_wall=True),
    Headline("a file got over SFTP, MB/s", "get", big_rate, more=True, is_wall=True),
    Headline("a file put at 50 ms, MB/s", "large-put-50ms", far_rate, more=True, is_wall=True),
    Headline("a file got at 50 ms, MB/s", "large-get-50ms", far_rate, more=True, is_wall=True),
    Headline("1,000 small files put, s", "small-put", wall, is_wall=True),
    Headline("1,000 small files got, s", "small-get", wall, is_wall=True),
    Headline("20 small files put at 50 ms, s", "small-put-50ms", wall, is_wall=True),
    Headline("20 small files got at 50 ms, s", "small-get-50ms", wall, is_wall=True),
    Headline("memory of an open connection, KiB", "hosts-1000", memory_per_host(1000)),
)

#: What can be compared with the bare loops.
LIMITED = (
    Headline("connect + 1 command, client CPU ms/host", "hosts-100", cpu_per_host(100)),
    Headline("connect + 1 command, 100 hosts, s", "hosts-100", wall, is_wall=True),
    Headline("a further command, client CPU ms", "commands", command_cpu),
    Headline("a further command, wall ms", "commands", command_wall, is_wall=True),
    Headline("short lines, million/s", "lines", million_lines, more=True, is_wall=True),
    Headline("long lines, MB/s", "bulk", long_rate, more=True, is_wall=True),
    Headline("a file put, MB/s", "put", big_rate, more=True, is_wall=True),
    Headline("a file got, MB/s", "get", big_rate, more=True, is_wall=True),
    Headline("memory of an open connection, KiB", "hosts-1000", memory_per_host(1000)),
)
