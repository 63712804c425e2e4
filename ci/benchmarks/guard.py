"""Whether something has got worse since the last time that it was looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gauge import Figures
from benchmarks.outcome import Outcome
from benchmarks.peer import Peer

KEPT = Path(__file__).with_name("ratios.json")
#: How much of what was kept a ratio may be.
TOLERANCE = 1.25


@dataclass(frozen=True)
class Ratio:
    """What one of our clients costs, in times of what another does.

    A ratio stays the same from machine to machine, more or less; seconds don't.

    :ivar measure: where both are measured.
    :ivar figure: ``"cpu"`` or ``"wall"``: more is worse.
    :ivar client: ours.
    :ivar peer: the other one.
    """

    measure: str
    figure: str
    client: Peer
    peer: Peer

    @property
    def name(self) -> str:
        """What it is kept by."""
        return f"{self.measure}: {self.figure}, {self.client.name} / {self.peer.name}"

    def value(self, outcome: Outcome) -> float | None:
        """What it came to, ``None`` where one of both failed."""
        value: Callable[[Figures], float] = lambda figures: figures[self.figure]  # noqa: E731
        ours = outcome.median(self.client.name, value)
        other = outcome.median(self.peer.name, value)
        return ours / other if ours is not None and other else None


@dataclass(frozen=True)
class Verdict:
    """A ratio beside the one that was kept.

    :ivar now: ``None`` where it could not be measured.
    :ivar kept: ``None`` where there is none yet.
    """

    name: str
    now: float | None
    kept: float | None

    @property
    def is_good(self) -> bool:
        """Whether it has been measured, and is not worse by more than a quarter."""
        if self.now is None:
            return False
        return self.kept is None or self.now <= self.kept * TOLERANCE

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Its row of a table."""
        now, kept = ("" if each is None else f"{each:.2f}" for each in (self.now, self.kept))
        return (self.name, now, kept, str(self))

    def __str__(self) -> str:
        if self.now is None:
            return "FAILED"
        if self.kept is None:
            return "new"
        return "ok" if self.is_good else "WORSE"


def verdicts(now: Mapping[str, float | None], kept: Mapping[str, float]) -> list[Verdict]:
    """Compare what was measured with what was kept."""
    return [Verdict(name, value, kept.get(name)) for name, value in now.items()]


def read_kept(path: Path = KEPT) -> dict[str, float]:
    """The ratios that are kept in the repository."""
    if not path.exists():
        return {}
    kept: dict[str, float] = json.loads(path.read_text())
    return kept


def keep(now: Mapping[str, float | None], path: Path = KEPT) -> None:
    """Keep ratios from now on; those that could not be measured stay what they were."""
    measured = {name: round(value, 3) for name, value in now.items() if value is not None}
    path.write_text(json.dumps({**read_kept(path), **measured}, indent=1, sort_keys=True) + "\n")
