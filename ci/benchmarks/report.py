"""The tables that ci/bench prints: what was measured, and which targets were reached."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.measure import Measure, Row, Target
from benchmarks.outcome import Outcome
from benchmarks.peer import OURS

FAILED = "FAILED"
#: Marks a wall time that is the server's.
SERVERS = "*"


class Report:
    """Collects the lines of both tables; ``short`` counts the targets missed and the failures."""

    def __init__(self) -> None:
        self.short = 0
        ratios = [f"/ {peer.name}" for peer in OURS]
        self._figures: list[tuple[str, ...]] = [("measure", "client", "median", "range", *ratios)]
        self._targets: list[tuple[str, ...]] = [("target", "client", "reached", "must be", "")]

    def add(self, measure: Measure, outcome: Outcome) -> None:
        """Add the rows of a measure and their targets."""
        targets = [target for row in measure.rows for target in row.targets]
        needed = {*measure.peers, *(target.peer for target in targets if target.peer)}
        self.short += sum(not outcome.runs.get(peer.name) for peer in needed)
        for row in measure.rows:
            title = row.title
            for peer in (*measure.peers, *measure.guests):
                self._figures.append((title, *_cells(row, peer.name, outcome)))
                title = ""
            for target in row.targets:
                self._add_target(row, target, outcome)

    def __str__(self) -> str:
        tables = [self._figures, self._targets] if len(self._targets) > 1 else [self._figures]
        note = f"{SERVERS} all processors were busy, and most of the time with the server"
        return "\n\n".join([*map(table, tables), note])

    def _add_target(self, row: Row, target: Target, outcome: Outcome) -> None:
        value = outcome.median(target.client.name, row.value)
        peers = outcome.median(target.peer.name, row.value) if target.peer else 1.0
        if value is None or peers is None:
            self._targets.append((row.title, target.client.name, "", str(target), FAILED))
            return
        reached = f"{value:.3g}"
        if target.peer is not None:
            value /= peers
            reached = f"{value:.2f}"
        met = target.is_met(value)
        self.short += not met
        verdict = "ok" if met else "SHORT"
        self._targets.append((row.title, target.client.name, reached, str(target), verdict))


def _cells(row: Row, peer: str, outcome: Outcome) -> tuple[str, ...]:
    """A peer's name, its median, how far its runs lie apart, and the ratios to ours."""
    values = outcome.values(peer, row.value)
    if not values:
        # A program that ends with its command has no memory of an open connection, for example.
        return (peer, outcome.failures.get(peer, "-" if outcome.runs.get(peer) else FAILED))
    median = statistics.median(values)
    mark = SERVERS if row.is_wall and outcome.is_the_servers(peer) else ""
    spread = f"{min(values):.3g}-{max(values):.3g}" if len(values) > 1 else ""
    ours = [outcome.median(each.name, row.value) for each in OURS]
    ratios = [f"{median / other:.2f}" if other else "" for other in ours]
    return (peer, f"{median:.3g}{mark}", spread, *ratios)


def table(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells as text in columns, the first one as their headings."""
    width = max(map(len, lines))
    full = [(*line, *[""] * (width - len(line))) for line in lines]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)]
    heading, *others = (_joined(line, widths) for line in full)
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([heading, rule, *others])


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()
