"""What the runs of a measure came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from benchmarks.gauge import Figures

#: How much of the processors' time all together must have been taken for a run to count as limited
#: by them, and how much of that by the server, for its wall time to be the server's.
BUSY = 0.8
MOSTLY = 0.6


@dataclass
class Outcome:
    """The figures of each run of each peer.

    :ivar runs: peer name -> what each of its runs reported; nothing where one of them failed.
    :ivar failures: peer name -> why there is nothing, in a word or two.
    :ivar repeated: peer name -> how many of its runs failed and went well the second time.
    """

    runs: dict[str, list[Figures]]
    failures: dict[str, str] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)

    def repeat(self, peer: str) -> bool:
        """A run has failed: whether it may be tried again, which it may once in each measure."""
        self.repeated[peer] = self.repeated.get(peer, 0) + 1
        return self.repeated[peer] == 1

    def fail(self, peer: str, why: str) -> None:
        """A peer has failed: what it did before does not count."""
        self.runs[peer] = []
        self.failures[peer] = why

    def add(self, other: Outcome) -> None:
        """Take in the runs of another time. What failed at one of both times has failed."""
        for peer, runs in other.runs.items():
            self.runs.setdefault(peer, []).extend(runs)
        for peer, why in (self.failures | other.failures).items():
            self.fail(peer, why)

    def values(self, peer: str, value: Callable[[Figures], float]) -> list[float]:
        """One figure of each run of a peer; nothing where its runs do not have that figure."""
        try:
            return [value(run) for run in self.runs.get(peer, [])]
        except KeyError:
            return []

    def median(self, peer: str, value: Callable[[Figures], float]) -> float | None:
        """The median of a figure, ``None`` where there is none."""
        values = self.values(peer, value)
        return median(values) if values else None

    def was_wrong(self, peer: str) -> bool:
        """Whether some of a peer's results were wrong."""
        return any(run.get("wrong") for run in self.runs.get(peer, []))

    def is_the_servers(self, peer: str) -> bool:
        """Whether the wall time of a peer is what the server (and the way to it) needed."""
        runs = self.runs.get(peer, [])
        return bool(runs) and median(map(_server_bound, runs)) >= 0.5


def _server_bound(figures: Figures) -> bool:
    """Whether all processors were busy most of the time, and most of that with the server."""
    servers = figures["server"] + figures["proxy"]
    everything = servers + figures["cpu"]
    return (
        everything >= BUSY * figures["cores"] * figures["wall"] and servers >= MOSTLY * everything
    )
