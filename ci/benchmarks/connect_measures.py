"""What is measured of connecting: with the number of hosts, and with the distance."""

from __future__ import annotations

from benchmarks.measure import KIB_PER_MIB, Measure, Row, Target
from benchmarks.peer import (
    ASYNCSSH,
    BARE,
    BARE_LIBSSH,
    BARE_LIBSSH2,
    CLUSH,
    FABRIC,
    LIBSSH,
    NATIVE,
    OURS,
    PARALLEL_SSH,
    PARALLEL_SSH_LIBSSH,
    PARAMIKO,
    PDSH,
    Peer,
)

#: Everybody who can run a command on many hosts.
EVERYBODY = (
    *OURS,
    *BARE,
    PARALLEL_SSH,
    PARALLEL_SSH_LIBSSH,
    ASYNCSSH,
    PARAMIKO,
    FABRIC,
    CLUSH,
    PDSH,
)
#: Numbers of hosts, and milliseconds of a round trip.
HOSTS = (1, 10, 100, 1000)
ROUND_TRIPS = (0, 10, 50, 200)
#: With so many hosts the round trips are compared.
HOSTS_FAR = 100
#: These need so long for many hosts that once is enough.
SLOW = (PARALLEL_SSH, PARALLEL_SSH_LIBSSH, CLUSH, PDSH)
#: Seconds. Far away, what takes ten times as long as ours is given up; with very many hosts even
#: ours take a while.
PATIENCE_MANY = 70
PATIENCE_FAR = 20
SCALE_HOSTS = 5000
SCALE = f"{SCALE_HOSTS:,} hosts at the same time"


def name_of(hosts: int, round_trip: int) -> str:
    """The name of a measure."""
    return f"hosts-{hosts}" if not round_trip else f"hosts-{hosts}-{round_trip}ms"


def connect(hosts: int, round_trip: int) -> Measure:
    """Connecting to so many hosts that far away, and running a command."""
    where = f"{round_trip} ms round trip" if round_trip else "loopback"
    title = f"{hosts:,} host{'s' * (hosts > 1)}, {where}: connect + 1 command"
    near = round_trip == 0
    rows = (
        Row(
            f"{title}, s",
            lambda figures: figures["wall"],
            () if near or hosts != HOSTS_FAR else as_fast_as_asyncssh(),
            is_wall=True,
        ),
        Row(
            f"{title}, client CPU ms/host",
            lambda figures: figures["cpu"] * 1000 / hosts,
            near_the_limit() if near and hosts == HOSTS_FAR else (),
        ),
        Row(f"{title}, most MiB", lambda figures: figures["most"] / KIB_PER_MIB),
        *([memory_row(hosts, title)] if near and hosts == max(HOSTS) else []),
    )
    peers, guests = who(hosts, round_trip)
    return Measure(
        name_of(hosts, round_trip),
        "connect_and_run",
        {"hosts": hosts},
        rows,
        peers,
        guests=guests,
        delay=round_trip / 2000,
        rounds=rounds_for(hosts, round_trip),
        patience=PATIENCE_FAR if round_trip and hosts <= HOSTS_FAR else PATIENCE_MANY,
    )


def memory_row(hosts: int, title: str) -> Row:
    """What a connection takes that stays open. Programs that end with their command have none."""
    return Row(
        f"{title}, then KiB for each open connection",
        lambda figures: (figures["after"] - figures["before"]) / hosts,
        (Target(NATIVE, 100), Target(LIBSSH, 40)),
    )


def who(hosts: int, round_trip: int) -> tuple[tuple[Peer, ...], tuple[Peer, ...]]:
    """Who takes part in every round, and who in the first one only.

    Everybody does nearby, and with as many hosts as the round trips are compared with, apart from
    what would take minutes to say the same again.
    """
    if round_trip and hosts != HOSTS_FAR:
        return (*OURS, ASYNCSSH), (CLUSH,) if hosts < HOSTS_FAR else ()
    if hosts < HOSTS_FAR:
        return EVERYBODY, ()
    if round_trip:
        return (*OURS, ASYNCSSH, PARAMIKO, FABRIC), (PARALLEL_SSH, PARALLEL_SSH_LIBSSH, CLUSH)
    quick = tuple(peer for peer in EVERYBODY if peer not in SLOW)
    return quick, SLOW if hosts == HOSTS_FAR else (PARALLEL_SSH, CLUSH)


def rounds_for(hosts: int, round_trip: int) -> int | None:
    """How many rounds are enough: what waits for round trips is always the same."""
    if hosts == max(HOSTS) or (round_trip and hosts != HOSTS_FAR):
        return 1
    return 2 if round_trip else None


def near_the_limit() -> tuple[Target, ...]:
    """How little our clients must need to connect."""
    return (
        Target(NATIVE, 0.6, peer=PARALLEL_SSH),
        Target(LIBSSH, 0.7, peer=ASYNCSSH),
        Target(NATIVE, 1.25, peer=BARE_LIBSSH2),
        Target(LIBSSH, 1.25, peer=BARE_LIBSSH),
    )


def as_fast_as_asyncssh() -> tuple[Target, ...]:
    """How fast our clients must be where the round trips take the time."""
    return tuple(Target(client, 1.1, peer=ASYNCSSH) for client in OURS)


CONNECT_MEASURES = (
    *(connect(hosts, round_trip) for round_trip in ROUND_TRIPS for hosts in HOSTS),
    Measure(
        "bastion",
        "connect_and_run",
        {"hosts": HOSTS_FAR},
        (
            Row(
                f"{HOSTS_FAR} hosts behind a bastion: connect + 1 command, s",
                lambda figures: figures["wall"],
                is_wall=True,
            ),
            Row(
                f"{HOSTS_FAR} hosts behind a bastion: connect + 1 command, client CPU ms/host",
                lambda figures: figures["cpu"] * 1000 / HOSTS_FAR,
            ),
        ),
        (*OURS, ASYNCSSH, PARAMIKO, FABRIC),
        guests=(PARALLEL_SSH, CLUSH),
        bastion=True,
    ),
    Measure(
        "scale",
        "many_at_once",
        {"hosts": SCALE_HOSTS},
        (
            Row(f"{SCALE}: connected, s", lambda figures: figures["wall"], is_wall=True),
            Row(f"{SCALE}: client CPU s", lambda figures: figures["cpu"]),
            Row(f"{SCALE}: the slowest host, s", lambda figures: figures["slowest"]),
            Row(f"{SCALE}: the host in the middle, s", lambda figures: figures["middle"]),
            Row(f"{SCALE}: most MiB", lambda figures: figures["most"] / KIB_PER_MIB),
            Row(f"{SCALE}: then a command on all, s", lambda figures: figures["command"]),
        ),
        OURS,
        guests=(ASYNCSSH,),
        pool_size=SCALE_HOSTS,
        light_server=True,
        rounds=1,
        patience=180,
    ),
)
