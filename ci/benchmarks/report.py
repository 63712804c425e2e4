"""The table that ci/bench prints."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.gauge import Figures
from benchmarks.measure import Measure, Row
from benchmarks.peer import OURS, PEERS

#: Peer name -> what each of its runs reported.
Results = dict[str, list[Figures]]

HEADINGS = ("measure", *(peer.name for peer in PEERS), "ratio", "target", "")


class Report:
    """Collects lines of the table; ``short`` counts the targets missed and the failures."""

    def __init__(self) -> None:
        self.short = 0
        self._lines: list[tuple[str, ...]] = [HEADINGS]

    def add(self, measure: Measure, results: Results) -> None:
        """Add the rows of a measure."""
        for row in measure.rows:
            self._lines.append(self._line(row, results))

    def add_failure(self, measure: Measure) -> None:
        """Add a line for a measure that came to nothing."""
        self.short += 1
        self._lines.append((measure.rows[0].title, *("" for _ in HEADINGS[2:]), "FAILED"))

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self._lines, strict=True)]
        lines = [_joined(line, widths) for line in self._lines]
        lines.insert(1, "-" * len(lines[0]))
        return "\n".join(lines)

    def _line(self, row: Row, results: Results) -> tuple[str, ...]:
        values = {name: [row.value(run) for run in runs] for name, runs in results.items()}
        medians = {name: statistics.median(each) for name, each in values.items()}
        cells = [_spread(values.get(peer.name, [])) for peer in PEERS]
        if row.target is None:
            return row.title, *cells, "", "", ""
        value = medians[OURS.name]
        ratio = ""
        if row.target.peer is not None:
            value /= medians[row.target.peer.name]
            ratio = f"{value:.2f}"
        met = row.target.is_met(value)
        self.short += not met
        return row.title, *cells, ratio, str(row.target), "ok" if met else "SHORT"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    median = f"{statistics.median(values):.3g}"
    return median if len(values) == 1 else f"{median} ({min(values):.3g}-{max(values):.3g})"


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()
