"""The tables that ci/bench prints: what was measured, and which targets were reached."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.gauge import Figures
from benchmarks.measure import Measure, Row, Target
from benchmarks.peer import Peer

#: Peer name -> what each of its runs reported; nothing where one of them failed.
Results = dict[str, list[Figures]]

FAILED = "FAILED"


class Report:
    """Collects the lines of both tables; ``short`` counts the targets missed and the failures.

    :ivar peers: whose figures have a column.
    """

    def __init__(self, peers: Sequence[Peer]) -> None:
        self.short = 0
        self.peers = peers
        self._figures: list[tuple[str, ...]] = [("measure", *(peer.name for peer in peers))]
        self._targets: list[tuple[str, ...]] = [("target", "client", "reached", "must be", "")]

    def add(self, measure: Measure, results: Results) -> None:
        """Add the rows of a measure and their targets."""
        targets = [target for row in measure.rows for target in row.targets]
        needed = {*measure.peers, *(target.peer for target in targets if target.peer)}
        self.short += sum(not results[peer.name] for peer in needed)
        for row in measure.rows:
            values = {name: [row.value(run) for run in runs] for name, runs in results.items()}
            cells = (_spread(values.get(peer.name)) for peer in self.peers)
            self._figures.append((row.title, *cells))
            medians = {name: statistics.median(each) for name, each in values.items() if each}
            for target in row.targets:
                self._add_target(row, target, medians)

    def __str__(self) -> str:
        tables = [self._figures, self._targets] if len(self._targets) > 1 else [self._figures]
        return "\n\n".join(map(_table, tables))

    def _add_target(self, row: Row, target: Target, medians: dict[str, float]) -> None:
        if any(peer and peer.name not in medians for peer in (target.client, target.peer)):
            self._targets.append((row.title, target.client.name, "", str(target), FAILED))
            return
        value = medians[target.client.name]
        reached = f"{value:.3g}"
        if target.peer is not None:
            value /= medians[target.peer.name]
            reached = f"{value:.2f}"
        met = target.is_met(value)
        self.short += not met
        verdict = "ok" if met else "SHORT"
        self._targets.append((row.title, target.client.name, reached, str(target), verdict))


def _spread(values: Sequence[float] | None) -> str:
    if values is None:  # it does not take part
        return "-"
    if not values:
        return FAILED
    median = f"{statistics.median(values):.3g}"
    return median if len(values) == 1 else f"{median} ({min(values):.3g}-{max(values):.3g})"


def _table(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    heading, *others = (_joined(line, widths) for line in lines)
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([heading, rule, *others])


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()
