"""What is measured of copying files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from benchmarks.files import Files
from benchmarks.gauge import Figures
from benchmarks.measure import KIB_PER_MIB, Measure, Row, Target
from benchmarks.peer import (
    ASYNCSSH,
    BARE,
    LIBSSH,
    NATIVE,
    OURS,
    PARALLEL_SSH,
    PARAMIKO,
    SCP,
    SFTP,
    Peer,
)

KIB = 1024
MIB = 1024 * KIB
#: One way, for a round trip of 50 ms.
FAR = 0.025

BIG = Files(256 * MIB)
FAR_FILE = Files(64 * MIB)
SMALL = Files(4 * KIB, count=2000)
SMALL_NEAR = Files(4 * KIB, count=1000)
SMALL_FAR = Files(4 * KIB, count=20)
FOR_ALL = Files(1024 * MIB, hosts=20, in_memory=False)


def rate(files: Files, figure: str = "wall") -> Callable[[Figures], float]:
    """How fast a host is sent them, in MB/s."""
    return lambda figures: files.megabytes / figures[figure]


def at_least(client: Peer, limit: float, peer: Peer | None = None) -> Target:
    """A target where more is better."""
    return Target(client, limit, at_least=True, peer=peer)


def sftp(task: str, native: float, libssh: float) -> Measure:
    """Copying a big file over SFTP; the limits are those of our clients, times asyncssh's."""
    name = f"256 MiB, loopback, memory to memory: {task}"
    return Measure(
        task,
        task,
        {},
        (
            Row(
                f"{name}, MB/s",
                rate(BIG),
                (
                    at_least(NATIVE, native, ASYNCSSH),
                    at_least(LIBSSH, libssh, ASYNCSSH),
                    at_least(LIBSSH, 1.8, SFTP),
                ),
            ),
            Row(f"{name}, client CPU s", lambda figures: figures["cpu"]),
        ),
        (*OURS, *BARE, ASYNCSSH, SFTP),
        guests=(PARALLEL_SSH, PARAMIKO, SCP),
        files=replace(BIG, fetched=task == "get"),
    )


def scp(task: str, native: float) -> Measure:
    """Copying a big file over SCP; the limit is the native client's, times parallel-ssh's."""
    name = f"256 MiB, loopback, memory to memory: {task}"
    return Measure(
        task.replace("_", "-"),
        task,
        {},
        (
            Row(f"{name}, MB/s", rate(BIG), (at_least(NATIVE, native, PARALLEL_SSH),)),
            Row(f"{name}, client CPU s", lambda figures: figures["cpu"]),
        ),
        (*OURS, PARALLEL_SSH),
        guests=(SCP,),
        files=replace(BIG, fetched=task == "scp_recv"),
    )


def far(task: str, command: str) -> Measure:
    """Copying a file over a long way, beside what a raw channel carries to or from a command."""
    name = f"64 MiB, 50 ms round trip: {task}"
    return Measure(
        f"far-{task}",
        f"{task}_and_raw",
        {},
        (
            Row(
                f"{name} / a raw channel",
                lambda figures: figures["raw"] / figures["wall"],
                (at_least(NATIVE, 0.9), at_least(LIBSSH, 0.9)),
            ),
            Row(f"{name}, MB/s", rate(FAR_FILE)),
            Row(f"{name}, a raw channel ({command}), MB/s", rate(FAR_FILE, "raw")),
        ),
        OURS,
        delay=FAR,
        files=replace(FAR_FILE, fetched=task == "get"),
        rounds=1,
    )


def others(name: str, task: str, title: str, files: Files, delay: float = 0.0) -> Measure:
    """Copying, where what is not ours may take long."""
    return Measure(
        f"{name}-{task}" + ("-50ms" if delay else ""),
        task,
        {},
        (
            Row(f"{title}: {task}, s", lambda figures: figures["wall"], is_wall=True),
            Row(f"{title}: {task}, client CPU s", lambda figures: figures["cpu"]),
        ),
        OURS,
        guests=(ASYNCSSH, SFTP, SCP, PARALLEL_SSH, PARAMIKO),
        delay=delay,
        files=replace(files, fetched=task == "get"),
        rounds=2 if delay else None,
        patience=30,
    )


def small(task: str, files: Files, delay: float = 0.0) -> Measure:
    """Copying many small files."""
    where = "50 ms round trip" if delay else "loopback"
    return others("small", task, f"{files.count:,} files of 4 KiB, {where}", files, delay)


WAYS = ("put", "get")

FILE_MEASURES = (
    *(small(way, SMALL_NEAR) for way in WAYS),
    *(small(way, SMALL_FAR, FAR) for way in WAYS),
    *(others("large", way, "64 MiB, 50 ms round trip", FAR_FILE, FAR) for way in WAYS),
    sftp("put", native=1.5, libssh=2.5),
    sftp("get", native=1.1, libssh=2),
    scp("scp_send", native=2),
    scp("scp_recv", native=6),
    Measure(
        "small-files",
        "put",
        {},
        (
            Row(
                f"{SMALL.count:,} files of 4 KiB, 50 ms round trip: recursive put, s",
                lambda figures: figures["wall"],
                (Target(NATIVE, 0.25, peer=ASYNCSSH), Target(LIBSSH, 0.25, peer=ASYNCSSH)),
            ),
        ),
        OURS,
        guests=(ASYNCSSH,),  # it takes minutes
        patience=900,
        by_default=False,
        delay=FAR,
        files=SMALL,
    ),
    far("put", "cat > /dev/null"),
    far("get", "cat file"),
    Measure(
        "fan-out",
        "put_to_all",
        {},
        (
            Row(
                f"1 GiB to {FOR_ALL.hosts} hosts, most resident MiB",
                lambda figures: figures["most"] / KIB_PER_MIB,
                (Target(NATIVE, 128), Target(LIBSSH, 128)),
            ),
            Row(
                f"1 GiB to {FOR_ALL.hosts} hosts, MB/s in all",
                lambda figures: FOR_ALL.megabytes * FOR_ALL.hosts / figures["wall"],
            ),
        ),
        OURS,
        patience=300,
        by_default=False,
        files=FOR_ALL,
        rounds=1,  # memory is not a matter of luck, and 20 GiB take their time
    ),
)
