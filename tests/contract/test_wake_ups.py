"""One session, many waiters: nobody sleeps through what has arrived for him."""

from __future__ import annotations

import time

import gevent
import pytest

from pssh.clients.base.single import BaseSSHClient
from pssh.output import HostOutput
from tests.contract.conftest import Connect
from tests.contract.outputs import lines, stdin, stdout

GREENLETS = 10
STEPS = 40

#: Seconds. A loaded machine answers within it, a lost wake-up does not.
STEP_LIMIT = 10.0


class StalledError(Exception):
    """A step took longer than any server does."""


def ask_and_hear(output: HostOutput, name: int, steps: int = STEPS) -> float:
    """Send lines to ``cat`` and wait for each; the slowest step's seconds."""
    slowest = 0.0
    for step in range(steps):
        began = time.monotonic()
        with gevent.Timeout(STEP_LIMIT, StalledError(f"step {step} of command {name}")):
            stdin(output).write(f"{name} {step}\n")
            assert next(stdout(output)) == f"{name} {step}"
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def run_commands(client: BaseSSHClient, steps: int = STEPS) -> None:
    """Start one command after the other."""
    for step in range(steps):
        with gevent.Timeout(STEP_LIMIT, StalledError(f"command {step}")):
            assert lines(client.run_command(f"echo {step}")) == [str(step)]


def count_lines(output: HostOutput, pause_each: int) -> int:
    """Read a stream, resting now and then as a busy consumer does."""
    count = 0
    for line in stdout(output):
        count += 1
        assert line == str(count)
        if count % pause_each == 0:
            gevent.sleep(0.001)
    return count


@pytest.mark.parametrize("keepalive", [0, 2])
def test_requests_and_replies(connect: Connect, keepalive: int) -> None:
    client = connect(keepalive_seconds=keepalive)
    outputs = [client.run_command("cat") for _ in range(GREENLETS)]
    talking = [gevent.spawn(ask_and_hear, output, name) for name, output in enumerate(outputs)]
    gevent.joinall(talking, raise_error=True)
    for output in outputs:
        stdin(output).close()
        assert lines(output) == []


def test_new_commands_beside_running_ones(connect: Connect) -> None:
    client = connect(keepalive_seconds=0)
    outputs = [client.run_command("cat") for _ in range(3)]
    work = [gevent.spawn(ask_and_hear, output, name) for name, output in enumerate(outputs)]
    work += [gevent.spawn(run_commands, client, 15) for _ in range(5)]
    gevent.joinall(work, raise_error=True)


@pytest.mark.parametrize("overflow", ["file", "block"])
def test_busy_channels_and_keep_alive(connect: Connect, overflow: str) -> None:
    client = connect(keepalive_seconds=2, buffer_overflow=overflow, buffer_size=256 * 1024)
    outputs = [client.run_command("cat") for _ in range(GREENLETS)]
    streams = [client.run_command("seq 1 1500000") for _ in range(2)]
    work = [gevent.spawn(ask_and_hear, output, name) for name, output in enumerate(outputs)]
    work.append(gevent.spawn(run_commands, client, 20))
    reading = [gevent.spawn(count_lines, stream, 20_000) for stream in streams]
    gevent.joinall(work + reading, raise_error=True)
    assert [each.value for each in reading] == [1_500_000] * 2
    assert [stream.exit_code for stream in streams] == [0, 0]


def test_input_and_output_at_the_same_time(connect: Connect) -> None:
    client = connect(keepalive_seconds=0)
    data = b"".join(b"%07d\n" % number for number in range(400_000))
    pipes = [client.run_command("cat", stdin=data, encoding=None) for _ in range(3)]
    talkers = [client.run_command("cat") for _ in range(3)]
    work = [gevent.spawn(ask_and_hear, output, name) for name, output in enumerate(talkers)]
    reading = [gevent.spawn(lines, pipe) for pipe in pipes]
    gevent.joinall(work + reading, raise_error=True)
    assert all(each.value == data.splitlines() for each in reading)


def test_a_greenlet_killed_while_it_waits(connect: Connect) -> None:
    client = connect(keepalive_seconds=0)
    outputs = [client.run_command("cat") for _ in range(5)]
    stalled = client.run_command("exec tail --pid=$PPID -f /dev/null")
    for _ in range(10):
        writer = gevent.spawn(stdin(stalled).write, b"x" * 4_000_000)
        opener = gevent.spawn(client.run_command, "true")
        gevent.sleep(0)
        writer.kill()
        opener.kill()
        work = [gevent.spawn(ask_and_hear, output, name, 2) for name, output in enumerate(outputs)]
        gevent.joinall(work, raise_error=True)


def test_a_slow_reader_holds_nobody_up(connect: Connect) -> None:
    client = connect(keepalive_seconds=0, buffer_overflow="block", buffer_size=65536)
    floods = [client.run_command("yes") for _ in range(2)]
    talker = client.run_command("cat")
    for flood in floods:
        assert next(stdout(flood)) == "y"
    ask_and_hear(talker, 0)
    run_commands(client, 10)
