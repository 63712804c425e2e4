"""doc/performance.rst, made of the figures in doc/performance.json and of nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill

from benchmarks import contents
from benchmarks import figures as of
from benchmarks.connect_measures import (
    EVERYBODY,
    HOSTS,
    HOSTS_FAR,
    ROUND_TRIPS,
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
#: Marks a figure of a client that had wrong results.
WRONG = " §"
FAR = [each for each in ROUND_TRIPS if each]
WIDTH = 100


class Page:
    """The page as text.

    :param store: its figures.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def __str__(self) -> str:
        parts = [
            contents.INTRODUCTION,
            self._conditions(),
            _section("In short", contents.IN_SHORT, self._headlines()),
            _section("Connecting, and running a command", contents.CONNECTING, *self._connecting()),
            _section("Servers that are far away", contents.DISTANCE, *self._distance()),
            _section(
                "Behind a bastion",
                contents.BASTION,
                self._table(EVERYBODY, contents.BASTION_COLUMNS),
            ),
            _section(
                "Further commands",
                contents.FURTHER,
                self._table(EVERYBODY, contents.COMMAND_COLUMNS),
            ),
            _section(
                "Reading output", contents.OUTPUT, self._table(EVERYBODY, contents.OUTPUT_COLUMNS)
            ),
            _section(
                "10 GB through one stream",
                contents.STREAM,
                self._table(OURS, contents.STREAM_COLUMNS),
            ),
            _section("Files", contents.FILES, *self._files()),
            _section(
                "Memory",
                contents.MEMORY,
                self._table(EVERYBODY, contents.MEMORY_COLUMNS),
                _image("memory"),
            ),
            _section(
                "Thousands of connections",
                contents.SCALE,
                self._table(PEERS, contents.SCALE_COLUMNS),
            ),
            _section("What the machine allows", contents.LIMITS, self._machine(), self._limited()),
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
        return (
            simple_table(("", *(column.heading for column in columns)), rows)
            if rows
            else contents.ABSENT
        )

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
        if outcome.was_wrong(peer.name):
            mark += WRONG
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
        return simple_table(headings, rows) if rows else contents.ABSENT

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
            contents.GROWTH,
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
        return simple_table(headings, rows) if rows else contents.ABSENT

    def _exponent(self, peer: Peer, value: Callable[[Figures], float]) -> float | None:
        points = [
            (hosts, self._store.outcome(name_of(hosts, 0)).median(peer.name, value))
            for hosts in HOSTS
            if hosts >= contents.GROWTH_FROM
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
            self._table(PEERS, contents.LARGE_COLUMNS),
            _image("throughput"),
            "A file of 64 MiB at a round trip of 50 ms, and for ours how near that comes to what a "
            "command that reads or prints as much gets through the same connection:",
            self._table(PEERS, contents.LARGE_FAR_COLUMNS),
            "Many files of 4 KiB:",
            self._table(PEERS, contents.SMALL_COLUMNS),
        ]

    # Limits

    def _machine(self) -> str:
        table = self._table((MACHINE,), contents.MACHINE_COLUMNS)
        return f"{table}\n\n{contents.LIMITED}"

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
        return simple_table(headings, rows) if rows else contents.ABSENT


def _hosts(hosts: int) -> str:
    return f"{hosts:,} host{'s' * (hosts > 1)}"


def _section(title: str, text: str, *parts: str) -> str:
    return "\n\n".join([f"{title}\n{'-' * len(title)}", text, *parts])


def _image(name: str) -> str:
    return f".. image:: performance/{name}.svg\n   :alt: {contents.ALTERNATIVES[name]}"
