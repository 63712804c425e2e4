"""What ``ci/bench --quick`` measures, and which ratios it looks at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.command_measures import (
    COMMAND_MEASURES,
    characters_of_sequence,
    lines_of,
    long_lines,
)
from benchmarks.connect_measures import connect
from benchmarks.file_measures import MIB, SMALL_NEAR, others, sftp
from benchmarks.files import Files
from benchmarks.guard import Ratio
from benchmarks.measure import Measure
from benchmarks.peer import ASYNCSSH, BARE, BARE_LIBSSH, BARE_LIBSSH2, LIBSSH, NATIVE, OURS, Peer

LINES = 1_000_000
LONG_LINES = 100_000
FILE = Files(64 * MIB)
FEW_SMALL = replace(SMALL_NEAR, count=300)


def _of(name: str) -> Measure:
    (found,) = (measure for measure in COMMAND_MEASURES if measure.name == name)
    return found


def quick(name: str, measure: Measure, peers: tuple[Peer, ...], **changes: Any) -> Measure:
    """A measure made smaller, with few peers and none of its rows."""
    return replace(measure, name=name, peers=peers, guests=(), rows=(), rounds=None, **changes)


BOTH = (*OURS, *BARE)
WITH_ASYNCSSH = (*OURS, ASYNCSSH)

QUICK_MEASURES = (
    quick("quick-connect", connect(100, 0), (*BOTH, ASYNCSSH)),
    quick("quick-far", connect(100, 50), WITH_ASYNCSSH),
    quick(
        "quick-commands",
        _of("commands"),
        (*BOTH, ASYNCSSH),
        settings={"hosts": 50, "commands": 10},
    ),
    quick(
        "quick-lines",
        _of("lines"),
        BOTH,
        settings=lines_of(f"seq {LINES}", LINES, characters_of_sequence(LINES)),
    ),
    quick(
        "quick-bulk",
        _of("bulk"),
        BOTH,
        settings=long_lines("cat {folder}/long-lines", LONG_LINES),
        long_lines=LONG_LINES,
    ),
    *(
        quick(
            f"quick-{way}",
            sftp(way, 0, 0),
            (*BOTH, ASYNCSSH),
            files=replace(FILE, fetched=way == "get"),
        )
        for way in ("put", "get")
    ),
    quick("quick-small", others("small", "put", "", FEW_SMALL), WITH_ASYNCSSH),
)

_LIMITS = ((NATIVE, BARE_LIBSSH2), (LIBSSH, BARE_LIBSSH))
_LIMITED = ("connect", "commands", "lines", "bulk", "put", "get")
_BESIDE_ASYNCSSH = ("connect", "commands", "put", "get", "small")

RATIOS = (
    *(Ratio(f"quick-{name}", "cpu", client, bare) for name in _LIMITED for client, bare in _LIMITS),
    *(
        Ratio(f"quick-{name}", "cpu", client, ASYNCSSH)
        for name in _BESIDE_ASYNCSSH
        for client in OURS
    ),
    *(Ratio("quick-far", "wall", client, ASYNCSSH) for client in OURS),
)
