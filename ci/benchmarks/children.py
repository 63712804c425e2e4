"""What the children of a worker cost, and theirs."""

from __future__ import annotations

import ctypes
import os
import resource
import threading
import time
from pathlib import Path
from types import TracebackType

from benchmarks.gauge import Figures
from tests.servers.process_tree import kill_trees

#: prctl's PR_SET_CHILD_SUBREAPER: children that put themselves in the background stay ours.
SUBREAPER = 36
#: Seconds between two looks at the memory.
INTERVAL = 0.25
TICKS = os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """All descendants of a process, found without a look at every process that there is."""
    found: list[int] = []
    waiting = [pid]
    for parent in waiting:  # grows while it is walked
        try:
            threads = list(Path(f"/proc/{parent}/task").iterdir())
            texts = [(thread / "children").read_text() for thread in threads]
        except (FileNotFoundError, ProcessLookupError):
            continue
        children = [int(each) for text in texts for each in text.split()]
        found += children
        waiting += children
    return found


def cpu_of(pids: list[int]) -> float:
    """CPU seconds of processes, and of their children that have ended."""
    return sum(_cpu(pid) for pid in pids)


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS


def memory_of(pids: list[int]) -> int:
    """KiB that are resident; what several processes share is counted once."""
    return sum(_memory(pid) for pid in pids)


def _memory(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line[:4] == "Pss:"), 0)


class Children:
    """Measures all descendants of this process; a context manager that ends them.

    Memory is looked at four times a second: a peak in between is missed.
    """

    def __init__(self) -> None:
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
        self._most = 0
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._cpu = self._wall = 0.0

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._watcher.is_alive():
            self._watcher.join()
        kill_trees(self._all())
        self._reap()

    def begin(self) -> None:
        """From now on it counts."""
        self._watcher.start()
        self._cpu, self._wall = self._cpu_now(), time.perf_counter()

    def read(self) -> Figures:
        """``wall`` and ``cpu`` in seconds since then, and the most memory in KiB."""
        wall = time.perf_counter() - self._wall
        return {"wall": wall, "cpu": self._cpu_now() - self._cpu, "most": self._most}

    def _all(self) -> list[int]:
        return descendants(os.getpid())

    def _cpu_now(self) -> float:
        self._reap()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime + cpu_of(self._all())

    def _watch(self) -> None:
        while True:
            self._most = max(self._most, memory_of(self._all()))
            if self._ended.wait(INTERVAL):
                return

    def _reap(self) -> None:
        """Take note of what has ended in the background."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
