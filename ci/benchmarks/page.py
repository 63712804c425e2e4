"""doc/performance.rst, made of the figures in doc/performance.json and of nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill

from benchmarks import figures as of
from benchmarks.connect_measures import (
    EVERYBODY,
    HOSTS,
    HOSTS_FAR,
    ROUND_TRIPS,
    SCALE_HOSTS,
    name_of,
)
from benchmarks.environment import CHECKOUT
from benchmarks.figures import Column, Headline
from benchmarks.fit import exponent
from benchmarks.gauge import Figures
from benchmarks.peer import (
    BARE_LIBSSH,
    BARE_LIBSSH2,
    LIBSSH,
    MACHINE,
    NATIVE,
    OTHERS,
    OURS,
    PEERS,
    Peer,
)
from benchmarks.store import Store
from benchmarks.tables import number, simple_table, spread, times

PATH = CHECKOUT / "doc" / "performance.rst"
#: Marks a wall time that is the server's.
SERVERS = " †"
#: Marks a figure of which a run failed and went well when it was repeated.
REPEATED = " ‡"
FAR = [each for each in ROUND_TRIPS if each]
WIDTH = 100
#: Fewer hosts than this show what starting costs, not how it grows.
GROWTH_FROM = 10

INTRODUCTION = """\
Performance
===========

.. This page is written by ci/bench. Change ci/benchmarks/page.py instead.

What this library costs beside what you might take instead, measured by one command, ``ci/bench`` in
a checkout. It makes an environment for each of the others from the package indexes, starts servers
on loopback, measures, and writes this page.

- Every run is a fresh process. Within a measure the clients take turns, several rounds of them, on
  the same server with the same key and the same hosts. Tables show medians, and in parentheses the
  extremes. Work that takes longer than a limit is given up, and the table has ``> 60 s`` or the
  like.
- CPU time is that of the whole client, with all its threads and child processes; memory is what was
  resident at most.
- *native* and *libssh* are the two clients of this package: ``pssh.clients`` and
  ``pssh.clients.ssh``. *bare libssh2* and *bare libssh* are the smallest loops over the same
  libraries, which check and keep nothing: a client that is built on them cannot need less.
- *parallel-ssh* is release 2.16, with its two clients. *clush* and *pdsh* start an ``ssh`` for each
  host; *paramiko* has a thread for each host, up to the same number at a time as the others work
  on, and *Fabric* a ``ThreadingGroup`` of as many.
- Each has its own default algorithms. OpenSSH's programs agree on keys that are meant to withstand
  quantum computers, which takes much more CPU time than the exchange that the libraries prefer.
- † marks wall times that are the server's: all processors were busy, and most of the time not with
  the client. A faster client would change nothing about them. The server is OpenSSH's, on the same
  machine; what it needs is counted apart.
- ‡ marks figures of a client that failed once in that measure, and not when it was tried again.

The files are in memory, so that no disk is measured. The way to a server that is far away is a
proxy that holds back what passes for half of the round trip, in each direction."""


class Page:
    """The page as text.

    :param store: its figures.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def __str__(self) -> str:
        parts = [
            INTRODUCTION,
            self._conditions(),
            _section("In short", IN_SHORT, self._headlines()),
            _section("Connecting, and running a command", CONNECTING, *self._connecting()),
            _section("Servers that are far away", DISTANCE, *self._distance()),
            _section("Behind a bastion", BASTION, self._table(EVERYBODY, BASTION_COLUMNS)),
            _section("Further commands", FURTHER, self._table(EVERYBODY, COMMAND_COLUMNS)),
            _section("Reading output", OUTPUT, self._table(EVERYBODY, OUTPUT_COLUMNS)),
            _section("10 GB through one stream", STREAM, self._table(OURS, STREAM_COLUMNS)),
            _section("Files", FILES, *self._files()),
            _section("Memory", MEMORY, self._table(EVERYBODY, MEMORY_COLUMNS), _image("memory")),
            _section("Thousands of connections", SCALE, self._table(PEERS, SCALE_COLUMNS)),
            _section("What the machine allows", LIMITS, self._machine(), self._limited()),
        ]
        return "\n\n".join(parts) + "\n"

    def write(self, path: Path = PATH) -> None:
        """Write it."""
        path.write_text(str(self), encoding="utf-8")

    # Where the figures are from

    def _conditions(self) -> str:
        machines: dict[str, list[str]] = {}
        for name, entry in self._store.entries.items():
            machines.setdefault(f"{entry.machine}, {entry.date}", []).append(name)
        most = max(machines, key=lambda each: len(machines[each]), default="")
        lines = [f"Measured on {most}." if most else "Nothing has been measured yet."]
        for machine, names in machines.items():
            if machine != most:
                lines.append(f"{', '.join(sorted(names))}: on {machine}.")
        versions: dict[str, set[str]] = {}
        for entry in self._store.entries.values():
            for environment, version in entry.versions.items():
                versions.setdefault(environment, set()).add(version)
        lines += [f"{name}: {'; or '.join(sorted(versions[name]))}" for name in sorted(versions)]
        return "\n".join(fill(f"- {line}", WIDTH, subsequent_indent="  ") for line in lines)

    # Tables

    def _table(self, peers: Sequence[Peer], columns: Sequence[Column]) -> str:
        """A row for each peer that has taken part in anything of it."""
        rows = []
        for peer in peers:
            cells = [self._cell(peer, column) for column in columns]
            if any(cells):
                rows.append((peer.name, *cells))
        return simple_table(("", *(column.heading for column in columns)), rows) if rows else ABSENT

    def _cell(self, peer: Peer, column: Column | Headline) -> str:
        outcome = self._store.outcome(column.measure)
        if peer.name in outcome.failures:
            return outcome.failures[peer.name]
        values = outcome.values(peer.name, column.value)
        if not values:
            return ""
        mark = SERVERS if column.is_wall and outcome.is_the_servers(peer.name) else ""
        if peer.name in outcome.repeated:
            mark += REPEATED
        return spread(values, mark)

    def _headlines(self) -> str:
        rows = []
        for line in of.HEADLINES:
            outcome = self._store.outcome(line.measure)
            ours = [(outcome.median(peer.name, line.value), peer.name) for peer in OURS]
            others = [(outcome.median(peer.name, line.value), peer.name) for peer in OTHERS]
            known = [(value, name) for value, name in ours if value is not None]
            theirs = [(value, name) for value, name in others if value is not None]
            if not known or not theirs:
                continue
            best, best_name = line.best(theirs)
            advantages = [
                times(line.advantage(value, best)) if value is not None else "" for value, _ in ours
            ]
            cells = [self._cell(peer, line) for peer in OURS]
            rows.append((line.title, *cells, f"{number(best)} ({best_name})", *advantages))
        headings = ("", "native", "libssh", "best of the others", "native is", "libssh is")
        return simple_table(headings, rows) if rows else ABSENT

    # Connecting

    def _connecting(self) -> list[str]:
        near = [name_of(hosts, 0) for hosts in HOSTS]
        titles = [_hosts(hosts) for hosts in HOSTS]
        walls = [
            Column(f"{title}, s", name, of.wall, is_wall=True)
            for title, name in zip(titles, near, strict=True)
        ]
        cpus = [
            Column(f"{title}, ms", name, of.cpu_per_host(hosts))
            for title, name, hosts in zip(titles, near, HOSTS, strict=True)
        ]
        servers = [
            Column(f"{title}, ms", name, of.server_per_host(hosts))
            for title, name, hosts in zip(titles, near, HOSTS, strict=True)
        ]
        return [
            "From the first connection to the last result, wall time:",
            self._table(EVERYBODY, walls),
            _image("hosts"),
            "CPU time of the client for each host:",
            self._table(EVERYBODY, cpus),
            "CPU time of the server for each host:",
            self._table(EVERYBODY, servers),
            GROWTH,
            self._growth(),
        ]

    def _growth(self) -> str:
        rows = []
        for peer in EVERYBODY:
            exponents = [self._exponent(peer, value) for value in (of.wall, of.cpu, of.most)]
            if any(each is not None for each in exponents):
                cells = (f"{each:.2f}" if each is not None else "" for each in exponents)
                rows.append((peer.name, *cells))
        headings = ("", "wall time", "client CPU", "most memory")
        return simple_table(headings, rows) if rows else ABSENT

    def _exponent(self, peer: Peer, value: Callable[[Figures], float]) -> float | None:
        points = [
            (hosts, self._store.outcome(name_of(hosts, 0)).median(peer.name, value))
            for hosts in HOSTS
            if hosts >= GROWTH_FROM
        ]
        return exponent([(hosts, y) for hosts, y in points if y])

    def _distance(self) -> list[str]:
        trips = [
            Column(
                f"{trip} ms, s" if trip else "loopback, s",
                name_of(HOSTS_FAR, trip),
                of.wall,
                is_wall=True,
            )
            for trip in ROUND_TRIPS
        ]
        parts = [self._table(EVERYBODY, trips), _image("round-trip")]
        for hosts in HOSTS:
            if hosts != HOSTS_FAR:
                columns = [
                    Column(f"{trip} ms, s", name_of(hosts, trip), of.wall, is_wall=True)
                    for trip in FAR
                ]
                parts += [f"With {_hosts(hosts)}:", self._table(EVERYBODY, columns)]
        return parts

    def _files(self) -> list[str]:
        return [
            "A file of 256 MiB, loopback:",
            self._table(PEERS, LARGE_COLUMNS),
            _image("throughput"),
            "A file of 64 MiB at a round trip of 50 ms, and for ours how near that comes to what a "
            "command that reads or prints as much gets through the same connection:",
            self._table(PEERS, LARGE_FAR_COLUMNS),
            "Many files of 4 KiB:",
            self._table(PEERS, SMALL_COLUMNS),
        ]

    # Limits

    def _machine(self) -> str:
        table = self._table((MACHINE,), MACHINE_COLUMNS)
        return f"{table}\n\n{LIMITED}"

    def _limited(self) -> str:
        rows = []
        for line in of.LIMITED:
            outcome = self._store.outcome(line.measure)
            cells: list[str] = []
            for client, bare in ((NATIVE, BARE_LIBSSH2), (LIBSSH, BARE_LIBSSH)):
                ours = outcome.median(client.name, line.value)
                limit = outcome.median(bare.name, line.value)
                cells += [self._cell(bare, line), self._cell(client, line)]
                if ours is None or limit is None:
                    cells.append("")
                else:
                    cells.append(times(line.advantage(limit, ours)))
            if any(cells):
                rows.append((line.title, *cells))
        headings = ("", "bare libssh2", "native", "away", "bare libssh", "libssh", "away")
        return simple_table(headings, rows) if rows else ABSENT


ABSENT = "This has not been measured yet."

IN_SHORT = """\
How many times better our clients are than the best of the others, whichever that is; below 1 they
are worse."""

CONNECTING = """\
Connecting, authenticating with a key, running ``echo hello`` and reading its result. Up to 100
hosts are worked on at a time; all of them are the same server on loopback."""

GROWTH = f"""\
How these grow with the number of hosts, from {GROWTH_FROM} to {max(HOSTS):,}: the exponent of the
best fit. With 1, twice as many hosts take twice as long; below that, what does not depend on the
hosts still shows."""

DISTANCE = f"""\
The same with {HOSTS_FAR} hosts, at different round trips. What waits for one host after the other
shows here."""

BASTION = f"""\
{HOSTS_FAR} hosts that can be reached through another server only. The libraries open all of their
connections through one to the bastion; ``ssh`` makes another one for each host."""

FURTHER = """\
Commands on connections that are open already: 20 times on 50 hosts. ``ssh`` shares its connections
here (``ControlMaster``)."""

OUTPUT = """\
3 million short lines (``seq``), and 400 MB in lines of 1,000 bytes. *clush* and *pdsh* pass them on
with the host's name in front of each, and *Fabric* returns all of the output at once; the others
give lines of text one by one."""

STREAM = """\
10 GB in lines of 1,000 bytes from one command, and the memory before and after."""

FILES = """\
In both directions. *paramiko* has nothing for directories, and copies one file after the other, as
the programs do; the bare loops send a file to ``cat``, or have it printed."""

MEMORY = """\
What was resident with many connections open, a command having run on each of them, and what that
is for each. For *clush* and *pdsh* it is all processes together, each shared part counted once;
as many of them run as hosts are worked on."""

SCALE = f"""\
{SCALE_HOSTS:,} hosts from one process, all at the same time: none waits for another one to be
done. The server is made for this out of asyncssh, in several processes, because OpenSSH's, with
processes for each connection, needs too much memory."""

LIMITS = """\
What loopback carries from one process to another, what the processor encrypts in packets of 32 KiB
on one core, and what it needs to calculate the keys of a connection:"""

LIMITED = """\
What the libraries allow: the bare loops beside our clients, and how many times worse ours are. At 1
there is nothing left to win without another library."""

BASTION_COLUMNS = (
    Column("wall, s", "bastion", of.wall, is_wall=True),
    Column("client CPU, ms/host", "bastion", of.cpu_per_host(HOSTS_FAR)),
    Column("most memory, MiB", "bastion", of.most),
)
COMMAND_COLUMNS = (
    Column("client CPU, ms", "commands", of.command_cpu),
    Column("wall, ms", "commands", of.command_wall, is_wall=True),
)
OUTPUT_COLUMNS = (
    Column("short lines, million/s", "lines", of.million_lines),
    Column("client CPU, s", "lines", of.cpu),
    Column("long lines, MB/s", "bulk", of.long_rate),
    Column("client CPU, s", "bulk", of.cpu),
    Column("most memory, MiB", "bulk", of.most),
)
STREAM_COLUMNS = (
    Column("MB/s", "stream10g", of.rate(10_000)),
    Column("client CPU, s", "stream10g", of.cpu),
    Column("before, MiB", "stream10g", lambda figures: figures["before"] / 1024),
    Column("after, MiB", "stream10g", lambda figures: figures["after"] / 1024),
    Column("most, MiB", "stream10g", of.most),
)
LARGE_COLUMNS = (
    Column("put, MB/s", "put", of.big_rate),
    Column("CPU, s", "put", of.cpu),
    Column("get, MB/s", "get", of.big_rate),
    Column("CPU, s", "get", of.cpu),
    Column("SCP send, MB/s", "scp-send", of.big_rate),
    Column("SCP receive, MB/s", "scp-recv", of.big_rate),
)
LARGE_FAR_COLUMNS = (
    Column("put, MB/s", "large-put-50ms", of.far_rate),
    Column("get, MB/s", "large-get-50ms", of.far_rate),
    Column("put / command", "far-put", lambda figures: figures["raw"] / figures["wall"]),
    Column("get / command", "far-get", lambda figures: figures["raw"] / figures["wall"]),
)
SMALL_COLUMNS = (
    Column("1,000 put, s", "small-put", of.wall, is_wall=True),
    Column("1,000 got, s", "small-get", of.wall, is_wall=True),
    Column("50 put at 50 ms, s", "small-put-50ms", of.wall, is_wall=True),
    Column("50 got at 50 ms, s", "small-get-50ms", of.wall, is_wall=True),
)
MEMORY_COLUMNS = (
    Column("100 hosts, MiB", "hosts-100", of.most),
    Column("1,000 hosts, MiB", "hosts-1000", of.most),
    Column("an open connection, KiB", "hosts-1000", of.memory_per_host(1000)),
)
SCALE_COLUMNS = (
    Column("connected, s", "scale", of.wall, is_wall=True),
    Column("client CPU, s", "scale", of.cpu),
    Column("server CPU, s", "scale", lambda figures: figures["server"]),
    Column("slowest host, s", "scale", lambda figures: figures["slowest"]),
    Column("middle, s", "scale", lambda figures: figures["middle"]),
    Column("most, MiB", "scale", of.most),
    Column("a command on all, s", "scale", lambda figures: figures["command"]),
)
MACHINE_COLUMNS = (
    Column("loopback TCP, MB/s", "limits", lambda figures: figures["tcp"]),
    Column("AES-128-GCM, MB/s", "limits", lambda figures: figures["aes128-gcm"]),
    Column("ChaCha20-Poly1305, MB/s", "limits", lambda figures: figures["chacha20-poly1305"]),
    Column("keys, CPU ms", "limits", lambda figures: figures["keys"] * 1000),
)


def _hosts(hosts: int) -> str:
    return f"{hosts:,} host{'s' * (hosts > 1)}"


def _section(title: str, text: str, *parts: str) -> str:
    return "\n\n".join([f"{title}\n{'-' * len(title)}", text, *parts])


def _image(name: str) -> str:
    return f".. image:: performance/{name}.svg\n   :alt: {ALTERNATIVES[name]}"


ALTERNATIVES = {
    "hosts": "Wall time against the number of hosts",
    "round-trip": "Wall time against the round trip",
    "throughput": "Throughput of files and of output",
    "memory": "Memory for each open connection",
}
