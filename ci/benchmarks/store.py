"""The figures that doc/performance.rst is made of, in a file beside it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environment import CHECKOUT
from benchmarks.gauge import Figures
from benchmarks.outcome import Outcome

PATH = CHECKOUT / "doc" / "performance.json"
#: Of a figure; what comes after them is noise.
DIGITS = 5


@dataclass(frozen=True)
class Entry:
    """What a measure came to, and where and when.

    :ivar versions: environment -> what was in it.
    """

    outcome: Outcome
    date: str
    machine: str
    versions: dict[str, str]


class Store:
    """Entries by the name of their measure; one that is measured again replaces its own only."""

    def __init__(self, path: Path = PATH) -> None:
        self._path = path
        self.entries: dict[str, Entry] = {}
        if path.exists():
            for name, raw in json.loads(path.read_text()).items():
                outcome = Outcome(raw["runs"], raw["failures"], raw["repeated"])
                self.entries[name] = Entry(outcome, raw["date"], raw["machine"], raw["versions"])

    def outcome(self, name: str) -> Outcome:
        """What a measure came to; one without any runs if it was never measured."""
        entry = self.entries.get(name)
        return entry.outcome if entry else Outcome({})

    def add(self, name: str, outcome: Outcome, machine: str, versions: Mapping[str, str]) -> None:
        """Take a measure in, and write the file."""
        date = time.strftime("%Y-%m-%d", time.gmtime())
        self.entries[name] = Entry(_rounded(outcome), date, machine, dict(versions))
        self._write()

    def _write(self) -> None:
        raw: dict[str, dict[str, object]] = {
            name: {
                "date": entry.date,
                "machine": entry.machine,
                "versions": entry.versions,
                "runs": entry.outcome.runs,
                "failures": entry.outcome.failures,
                "repeated": entry.outcome.repeated,
            }
            for name, entry in sorted(self.entries.items())
        }
        new = self._path.with_suffix(".new")
        new.write_text(_text(raw))
        os.replace(new, self._path)  # an interrupted write loses nothing


def _rounded(outcome: Outcome) -> Outcome:
    def rounded(run: Figures) -> Figures:
        return {name: float(f"{value:.{DIGITS}g}") for name, value in run.items()}

    runs = {peer: [rounded(run) for run in runs] for peer, runs in outcome.runs.items()}
    return Outcome(runs, outcome.failures, outcome.repeated)


def _text(raw: dict[str, dict[str, object]]) -> str:
    """JSON with a line for each measure, so that a difference shows what was measured again."""
    lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in raw.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"
