"""What is measured of connections and commands."""

from __future__ import annotations

from benchmarks.gauge import Settings
from benchmarks.measure import KIB_PER_MIB, LINE_CHARACTERS, Measure, Row, Target
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
)

MANY_LINES = 3_000_000
LONG_LINES = 400_000
HUGE_LINES = 10_000_000
CONNECTIONS = 1000
HOSTS_FAR = 100
HOSTS_NEAR = 200
OPEN_HOSTS = 50
#: So many that what the first ones cost, before Python knows the way, counts little.
COMMANDS = 40
#: Seconds. What takes ten times as long as ours may be given up.
LINES_PATIENCE = 12
INPUT_HOSTS = 10
INPUT_MIB = 1024


def lines_of(command: str, lines: int, characters: int) -> Settings:
    """The settings of a measure that reads lines."""
    return {"command": command, "lines": lines, "characters": characters}


def characters_of_sequence(last: int) -> int:
    """How many digits ``seq last`` prints."""
    # Each number has one digit for each power of ten up to it.
    return sum(last + 1 - 10**power for power in range(len(str(last))))


def long_lines(command: str, lines: int) -> Settings:
    """The settings of a measure that reads lines of 1,000 bytes, endings included."""
    return lines_of(command, lines, lines * LINE_CHARACTERS)


COMMAND_MEASURES = (
    Measure(
        "rtt",
        "connect_and_run",
        {"hosts": HOSTS_FAR},
        (
            Row(
                f"{HOSTS_FAR} hosts, 50 ms round trip: connect + 1 command, s",
                lambda figures: figures["wall"],
                (
                    Target(NATIVE, 1.1, peer=ASYNCSSH),
                    Target(LIBSSH, 1.1, peer=ASYNCSSH),
                ),
            ),
        ),
        (*OURS, ASYNCSSH),
        guests=(PARALLEL_SSH, PARALLEL_SSH_LIBSSH),
        delay=0.025,
        by_default=False,  # hosts-100-50ms is the same
    ),
    Measure(
        "connect",
        "connect_and_run",
        {"hosts": HOSTS_NEAR},
        (
            Row(
                f"{HOSTS_NEAR} hosts, loopback: connect + 1 command, client CPU ms/host",
                lambda figures: figures["cpu"] * 1000 / HOSTS_NEAR,
                (
                    Target(NATIVE, 0.6, peer=PARALLEL_SSH),
                    Target(LIBSSH, 0.7, peer=ASYNCSSH),
                ),
            ),
            Row(
                f"{HOSTS_NEAR} hosts, loopback: connect + 1 command, wall ms/host",
                lambda figures: figures["wall"] * 1000 / HOSTS_NEAR,
            ),
        ),
        (*OURS, PARALLEL_SSH, ASYNCSSH),
        by_default=False,  # hosts-100 is much the same
    ),
    Measure(
        "commands",
        "further_commands",
        {"hosts": OPEN_HOSTS, "commands": COMMANDS},
        (
            Row(
                "a further command on an open connection, client CPU ms",
                lambda figures: figures["cpu"] * 1000 / (OPEN_HOSTS * COMMANDS),
                (
                    Target(NATIVE, 0.4, peer=ASYNCSSH),
                    Target(LIBSSH, 0.4, peer=ASYNCSSH),
                    Target(NATIVE, 1.25, peer=BARE_LIBSSH2),
                    Target(LIBSSH, 1.25, peer=BARE_LIBSSH),
                ),
            ),
            Row(
                "a further command on an open connection, wall ms",
                lambda figures: figures["wall"] * 1000 / (OPEN_HOSTS * COMMANDS),
                is_wall=True,
            ),
        ),
        (*OURS, *BARE, PARALLEL_SSH, ASYNCSSH, PARAMIKO, FABRIC),
        guests=(PARALLEL_SSH_LIBSSH, CLUSH),
    ),
    Measure(
        "lines",
        "read_lines",
        lines_of(f"seq {MANY_LINES}", MANY_LINES, characters_of_sequence(MANY_LINES)),
        (
            Row(
                "3 million short lines, million lines/s",
                lambda figures: MANY_LINES / figures["wall"] / 1e6,
                (Target(NATIVE, 2, at_least=True, peer=PARALLEL_SSH),),
            ),
            Row("3 million short lines, client CPU s", lambda figures: figures["cpu"]),
        ),
        (*OURS, *BARE, PARALLEL_SSH),
        guests=(PARALLEL_SSH_LIBSSH, ASYNCSSH, PARAMIKO, FABRIC, CLUSH, PDSH),
        patience=LINES_PATIENCE,
    ),
    Measure(
        "bulk",
        "read_lines",
        long_lines("cat {folder}/long-lines", LONG_LINES),
        (
            Row(
                "400 MB of 1,000-byte lines, MB/s",
                lambda figures: LONG_LINES * (LINE_CHARACTERS + 1) / figures["wall"] / 1e6,
                (
                    Target(NATIVE, 2, at_least=True, peer=ASYNCSSH),
                    Target(LIBSSH, 3, at_least=True, peer=ASYNCSSH),
                ),
            ),
            Row("400 MB of 1,000-byte lines, client CPU s", lambda figures: figures["cpu"]),
            Row(
                "400 MB of 1,000-byte lines, most resident MiB",
                lambda figures: figures["most"] / KIB_PER_MIB,
                (Target(NATIVE, 64), Target(LIBSSH, 64)),
            ),
        ),
        (*OURS, *BARE, ASYNCSSH),
        guests=(PARALLEL_SSH, PARALLEL_SSH_LIBSSH, PARAMIKO, FABRIC, CLUSH, PDSH),
        long_lines=LONG_LINES,
        patience=LINES_PATIENCE,
    ),
    Measure(
        "connections",
        "open_connections",
        {"hosts": CONNECTIONS},
        (
            Row(
                f"{CONNECTIONS:,} open connections, resident KiB each",
                lambda figures: (figures["after"] - figures["before"]) / CONNECTIONS,
                (Target(NATIVE, 100), Target(LIBSSH, 40)),
            ),
        ),
        OURS,
        rounds=1,
        by_default=False,  # hosts-1000 is much the same
    ),
    Measure(
        "stream10g",
        "read_lines",
        long_lines(f"yes {'x' * LINE_CHARACTERS} | head -n {HUGE_LINES}", HUGE_LINES),
        (
            Row("10 GB through one stream, MiB before", lambda f: f["before"] / KIB_PER_MIB),
            Row("10 GB through one stream, MiB after", lambda f: f["after"] / KIB_PER_MIB),
            Row("10 GB through one stream, most MiB", lambda f: f["most"] / KIB_PER_MIB),
            Row(
                "10 GB through one stream, MB/s",
                lambda f: HUGE_LINES * (LINE_CHARACTERS + 1) / f["wall"] / 1e6,
            ),
        ),
        OURS,
        rounds=1,
        patience=300,
    ),
    Measure(
        "stdin",
        "pipe_in",
        {"hosts": INPUT_HOSTS, "blocks": INPUT_MIB * 4, "block": 256 * 1024},
        (
            Row(
                f"1 GiB of standard input for each of {INPUT_HOSTS} hosts, most resident MiB",
                lambda f: f["most"] / KIB_PER_MIB,
                (Target(NATIVE, 64), Target(LIBSSH, 64)),
            ),
            Row(
                f"1 GiB of standard input for each of {INPUT_HOSTS} hosts, MB/s, all together",
                lambda f: INPUT_HOSTS * INPUT_MIB * 1.048576 / f["wall"],
            ),
        ),
        OURS,
        by_default=False,
        rounds=1,
        patience=600,
    ),
)
