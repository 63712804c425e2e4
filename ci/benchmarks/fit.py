"""How something grows."""

from __future__ import annotations

import math
from collections.abc import Sequence


def exponent(points: Sequence[tuple[float, float]]) -> float | None:
    """The power of ``x`` with which ``y`` grows: 1 where twice as much takes twice as long.

    It is the slope of the straight line through the logarithms, by least squares.

    :param points: pairs of positive ``x`` and ``y``.
    :returns: ``None`` where there are not two different ``x``.
    """
    logs = [(math.log(x), math.log(y)) for x, y in points]
    if len({x for x, _ in logs}) < 2:
        return None
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    above = sum((x - mean_x) * (y - mean_y) for x, y in logs)
    return above / sum((x - mean_x) ** 2 for x, _ in logs)
