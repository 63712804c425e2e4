"""What it takes to measure something, and what must be reached."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from benchmarks.files import Files
from benchmarks.gauge import Figures, Settings
from benchmarks.peer import Peer

KIB_PER_MIB = 1024
#: Of a long line; with its ending it has 1,000 bytes.
LINE_CHARACTERS = 999


@dataclass(frozen=True)
class Target:
    """A limit for the figure of one of our clients, or for its ratio to a peer's.

    :ivar client: ours.
    :ivar limit: the limit itself.
    :ivar at_least: whether more is better.
    :ivar peer: whose figure ours is divided by; ``None``: ours is compared as it is.
    """

    client: Peer
    limit: float
    at_least: bool = False
    peer: Peer | None = None

    def is_met(self, value: float) -> bool:
        """Whether a figure, or a ratio, is within the limit."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        times = f" x {self.peer.name}" if self.peer else ""
        return f"{sign} {self.limit:g}{times}"


@dataclass(frozen=True)
class Row:
    """A line of the table: one figure of a measure.

    :ivar title: what it is, with its unit.
    :ivar value: makes it from what a worker reports.
    :ivar targets: what our clients must reach.
    :ivar is_wall: whether it is made of the wall time, which may be the server's.
    """

    title: str
    value: Callable[[Figures], float]
    targets: tuple[Target, ...] = ()
    is_wall: bool = False

    def without(self, absent: Collection[Peer]) -> Row:
        """The same line without the targets of some clients."""
        kept = tuple(target for target in self.targets if target.client not in absent)
        return replace(self, targets=kept)


@dataclass(frozen=True)
class Measure:
    """One thing that every peer does in turn.

    :ivar task: what the workers call it.
    :ivar settings: what the worker needs to know besides the server.
    :ivar peers: who takes part in every round; ``guests`` take part in the first one only.
    :ivar delay: seconds that each direction to the server takes.
    :ivar long_lines: how many lines of 1,000 bytes ``{folder}/long-lines`` must have, where
        ``{folder}`` stands for a folder of the server in a command. Making them on the fly would
        take as much CPU as the client does.
    :ivar files: what is copied, where files are; every run's copy is compared with it.
    :ivar by_default: whether it runs unless it is asked for.
    :ivar rounds: how many are enough; ``None``: as many as are asked for.
    :ivar patience: seconds that a peer may take, its start included. One that takes longer is
        ended, and the table says so.
    :ivar bastion: whether the hosts are behind another server.
    :ivar bastion_delay: seconds that each direction to that takes.
    :ivar light_server: whether the server is one that many thousand connections fit into.
    """

    name: str
    task: str
    settings: Settings
    rows: tuple[Row, ...]
    peers: tuple[Peer, ...]
    guests: tuple[Peer, ...] = ()
    delay: float = 0.0
    long_lines: int = 0
    files: Files | None = None
    by_default: bool = True
    pool_size: int = 100
    rounds: int | None = None
    patience: float = 60.0
    bastion: bool = False
    bastion_delay: float = 0.0
    light_server: bool = False

    def without(self, absent: Collection[Peer]) -> Measure:
        """The same measure where some peers do not take part and have no targets."""
        return replace(
            self,
            rows=tuple(row.without(absent) for row in self.rows),
            peers=tuple(peer for peer in self.peers if peer not in absent),
            guests=tuple(peer for peer in self.guests if peer not in absent),
        )
