"""The descendants of a process, and an end for all of them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple


class ProcessStatus(NamedTuple):
    """What ``/proc/<pid>/stat`` says about a process."""

    pid: int
    parent: int
    state: str


def process_status(pid: int) -> ProcessStatus | None:
    """What the kernel knows of a process, ``None`` when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as status:
            text = status.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in parentheses and may itself contain blanks and parentheses.
    state, parent = text.rpartition(")")[2].split()[:2]
    return ProcessStatus(pid, int(parent), state)


def all_processes() -> list[ProcessStatus]:
    """Every process that exists now, zombies included."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [status for status in map(process_status, pids) if status is not None]


def is_running(pid: int) -> bool:
    """Whether the process exists and is more than a zombie."""
    status = process_status(pid)
    return status is not None and status.state not in "ZX"


def child_processes(pid: int) -> list[int]:
    """The running direct children of a process."""
    return [child for child in _children(pid) if is_running(child)]


def _children(pid: int) -> list[int]:
    """The direct children of a process, zombies included."""
    found: list[int] = []
    # A process that ends meanwhile has none any more.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as children:
                found += map(int, children.read().split())
    return found


def process_tree(roots: Iterable[int]) -> list[int]:
    """The given processes and all their running descendants, parents before children."""
    found = list(roots)
    for pid in found:  # grows while it is walked: breadth first
        found += child_processes(pid)
    return found


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process, which may have ended already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_trees(roots: Iterable[int]) -> list[int]:
    """SIGKILL processes and all their descendants.

    Each is stopped first, so that none can start another one, or tell its peer that a child of it
    was killed, while the others are being killed.

    :returns: the processes that were killed.
    """
    roots = list(roots)
    stopped: list[int] = []
    while fresh := [pid for pid in process_tree(roots) if pid not in stopped]:
        for pid in fresh:
            send_signal(pid, signal.SIGSTOP)
        stopped += fresh
    for pid in stopped:
        send_signal(pid, signal.SIGKILL)
    return stopped


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
    """Wait for something that sends no event, asking again after short and growing pauses.

    :param what: completes the sentence "Waited 10 seconds in vain for ...".
    :param timeout: in seconds.
    :raises TimeoutError: when it did not come true in time.
    """
    deadline = time.monotonic() + timeout
    pause = 0.001
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {timeout:g} seconds in vain for {what}.")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def wait_until_gone(pids: Iterable[int], timeout: float = 10.0) -> None:
    """Wait for the end of processes that are not our children.

    :param timeout: in seconds.
    :raises TimeoutError: when one of them still runs after that.
    """
    pids = list(pids)
    wait_until(
        lambda: not any(is_running(pid) for pid in pids), f"the end of processes {pids}", timeout
    )
