"""What the tests of commands do with outputs again and again."""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent

from pssh.clients.base.stdin import Stdin
from pssh.clients.reader import ConcurrentRWBuffer
from pssh.output import HostOutput, Line, LineReader

#: A command that runs until its standard input, or the connection, ends.
WAITS = "cat"

#: A command that reads no input and runs until the server's process for the connection ends.
READS_NOTHING = "exec tail --pid=$PPID -f /dev/null"

#: A command that asks its standard input for leave to go on.
ASKS = "read answer"


def stdout(output: HostOutput) -> LineReader:
    """The lines of standard output of a command that was started."""
    assert output.stdout is not None
    return output.stdout


def stderr(output: HostOutput) -> LineReader:
    """The lines of standard error of a command that was started."""
    assert output.stderr is not None
    return output.stderr


def stdin(output: HostOutput) -> Stdin:
    """The standard input of a command that was started."""
    assert output.stdin is not None
    return output.stdin


def lines(output: HostOutput) -> list[Line]:
    """All that is left of standard output."""
    return list(stdout(output))


def stdout_buffer(output: HostOutput) -> ConcurrentRWBuffer:
    """Where standard output waits until it is read."""
    assert output.buffers is not None
    return output.buffers.stdout.rw_buffer


def answer(output: HostOutput, text: str = "go on") -> None:
    """Give a command that :data:`ASKS` its leave."""
    stdin(output).write(f"{text}\n")


def eventually(condition: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
    """Let the other greenlets run until something that sends no event has come true.

    :param what: completes the sentence "Waited 20 seconds in vain for ...".
    :param timeout: in seconds.
    """
    end = time.monotonic() + timeout
    pause = 0.001
    while not condition():
        assert time.monotonic() < end, f"Waited {timeout:g} seconds in vain for {what}."
        gevent.sleep(pause)
        pause = min(pause * 1.5, 0.05)
