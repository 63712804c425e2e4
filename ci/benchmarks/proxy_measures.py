"""What is measured of hosts behind other hosts, beside the same without any."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.file_measures import BIG, FAR, rate
from benchmarks.gauge import Figures
from benchmarks.measure import Measure, Row, Target
from benchmarks.peer import LIBSSH, NATIVE, OURS, PARALLEL_SSH

HOSTS = 100
HOSTS_BEHIND_TWO = 50
#: Seconds that parallel-ssh may take: it logs in to the bastion once for each host.
PATIENCE = 300


def both(limit: float, *, at_least: bool = False) -> tuple[Target, Target]:
    """A limit that is the same for both clients."""
    return (Target(NATIVE, limit, at_least), Target(LIBSSH, limit, at_least))


def ratio(figures: Figures) -> float:
    """How much longer the way takes than the one that it is compared with."""
    return figures["wall"] / figures["other"]


def one_login() -> Row:
    """The line that tells how often the bastion was logged in to."""
    return Row("logins on the bastion", lambda figures: figures["logins"], both(1))


def copy(task: str) -> Measure:
    """Copying a big file through a bastion, and then without one."""
    name = f"256 MiB through a bastion: {task}"
    return Measure(
        f"bastion-{task}",
        f"{task}_and_direct",
        {},
        (
            Row(
                f"{name}, speed / that without a bastion",
                lambda figures: figures["other"] / figures["wall"],
                both(0.5, at_least=True),
            ),
            Row(f"{name}, MB/s", rate(BIG)),
            Row(f"{name}, without a bastion, MB/s", rate(BIG, "other")),
            Row(f"{name}, client CPU s", lambda figures: figures["cpu"]),
        ),
        OURS,
        bastion=True,
        by_default=False,
        files=replace(BIG, fetched=task == "get"),
    )


PROXY_MEASURES = (
    Measure(
        "bastion-direct",
        "through_and_direct",
        {"hosts": HOSTS},
        (
            Row(f"{HOSTS} hosts, wall: behind a bastion / direct", ratio, both(1.5)),
            Row(f"{HOSTS} hosts behind a bastion, s", lambda figures: figures["wall"]),
            Row(f"{HOSTS} hosts, direct, s", lambda figures: figures["other"]),
            one_login(),
        ),
        OURS,
        bastion=True,
        by_default=False,
    ),
    Measure(
        "bastion-50ms",
        "connect_and_run",
        {"hosts": HOSTS},
        (
            Row(
                f"{HOSTS} hosts behind a bastion 50 ms away: connect + 1 command, s",
                lambda figures: figures["wall"],
                (
                    Target(NATIVE, 0.25, peer=PARALLEL_SSH),
                    Target(LIBSSH, 0.25, peer=PARALLEL_SSH),
                ),
            ),
            one_login(),
        ),
        OURS,
        guests=(PARALLEL_SSH,),
        bastion=True,
        bastion_delay=FAR,
        by_default=False,
        patience=PATIENCE,
    ),
    copy("put"),
    copy("get"),
    Measure(
        "two-bastions",
        "two_and_one",
        {"hosts": HOSTS_BEHIND_TWO},
        (
            # The one more login takes its round trips, about as many as the target's own.
            Row(
                f"{HOSTS_BEHIND_TWO} hosts, 50 ms away, wall: behind two bastions / behind one",
                ratio,
                both(1.5),
            ),
            Row(f"{HOSTS_BEHIND_TWO} hosts behind two, s", lambda figures: figures["wall"]),
            Row(f"{HOSTS_BEHIND_TWO} hosts behind one, s", lambda figures: figures["other"]),
        ),
        OURS,
        bastion=True,
        bastion_delay=FAR,
        by_default=False,
    ),
)
