"""What a measured process costs. Standard library only: every peer's worker uses it."""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Figures = dict[str, float]
Settings = dict[str, Any]


class Gauge:
    """Wall and CPU time (all threads, user and system) since it was made.

    :ivar began: the ``time.perf_counter()`` of that moment.
    """

    def __init__(self) -> None:
        self._cpu = cpu_seconds()
        self.began = time.perf_counter()

    def read(self) -> Figures:
        """``wall`` and ``cpu`` in seconds."""
        return {"wall": time.perf_counter() - self.began, "cpu": cpu_seconds() - self._cpu}


def cpu_seconds() -> float:
    """CPU time that this process has taken so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def memory_kib(field: str) -> int:
    """A line of ``/proc/self/status`` in KiB: ``VmRSS`` now, ``VmHWM`` the most there ever was."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None, status
    return int(found[1])


def expect(actual: object, expected: object, what: str) -> None:
    """End the worker unless it has read what the server sent: a fast failure is not a result."""
    if actual != expected:
        sys.exit(f"The benchmark read {what} {actual!r} where {expected!r} was expected.")


def of_all(gauge: Gauge, before: int, ready: list[float]) -> Figures:
    """What it took to connect to many hosts.

    :param gauge: made before the first of them.
    :param before: KiB that were resident then.
    :param ready: the ``time.perf_counter()`` at which each was ready for commands.
    """
    seconds = sorted(each - gauge.began for each in ready)
    return {
        **gauge.read(),
        "before": before,
        "after": memory_kib("VmRSS"),
        "middle": seconds[len(seconds) // 2],
        "slowest": seconds[-1],
    }


def hosts_of(settings: Settings) -> list[str]:
    """The hosts to connect to: as many as are asked for, of the addresses that there are."""
    addresses = settings["addresses"]
    return [addresses[number % len(addresses)] for number in range(settings["hosts"])]


def work(measures: dict[str, Callable[[Settings], Figures]]) -> None:
    """Run the measure named in the settings (JSON, first argument) and print its figures.

    ``most`` is added, the most KiB that were resident, unless the measure knows better.
    """
    settings = json.loads(sys.argv[1])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    figures = measures[settings["measure"]](settings)
    print(json.dumps({"most": memory_kib("VmHWM"), **figures}))
