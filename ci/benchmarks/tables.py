"""Tables of reStructuredText, and the figures in them as text."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

NOTHING = "-"


def number(value: float) -> str:
    """A figure with three digits, more only where they are in front of the point."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.995 else f"{value:.2g}"


def spread(values: Sequence[float], mark: str = "") -> str:
    """The median, and in parentheses the extremes of several runs.

    :param mark: stands behind the median.
    """
    middle = f"{number(median(values))}{mark}"
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))}-{number(max(values))})"


def times(value: float) -> str:
    """A ratio."""
    return f"{value:.2f} x" if value < 10 else f"{value:.0f} x"


def simple_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A simple table of reStructuredText, every cell in one line.

    An empty cell gets a dash: in the first column it would continue the row above.
    """
    lines = [[cell or NOTHING for cell in line] for line in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    texts = [_joined(line, widths) for line in lines]
    return "\n".join([rule, texts[0], rule, *texts[1:], rule])


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()
