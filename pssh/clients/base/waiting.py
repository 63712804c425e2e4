"""Waiting for the commands of several hosts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gevent
from gevent.queue import Empty, SimpleQueue

from pssh.clients.base.streams import log_output
from pssh.exceptions import Timeout
from pssh.output import HostOutput


def join(outputs: Sequence[HostOutput], consume_output: bool, timeout: float | None) -> None:
    """Wait until all commands have finished.

    :param outputs: their outputs.
    :param consume_output: log what they print, and forget it.
    :param timeout: seconds for all of them together.
    :raises Timeout: when it takes longer.
    :raises Exception: what the first ``on_line`` raised, once all have finished.
    """
    end = _after(timeout)
    loggers = [log_output(out) for out in outputs] if consume_output else []
    commands = [out.command for out in outputs if out.command is not None]
    for command in commands:
        command.wait(_remaining(end))
    if loggers:
        gevent.joinall(loggers, timeout=_remaining(end))
    if end is not None and not all(command.finished for command in commands):
        gevent.killall(loggers)
        raise too_long(outputs, timeout, "join")
    for command in commands:
        if command.follower is not None:
            command.follower.raise_error()


def raise_error_of_on_line(output: HostOutput) -> None:
    """Raise what ``on_line`` raised: an error of this program is no outcome of a host."""
    command = output.command
    if command is not None and command.follower is not None:
        command.follower.raise_error()


def as_completed(outputs: Sequence[HostOutput], timeout: float | None) -> Iterator[HostOutput]:
    """Iterate over outputs, each as its command finishes.

    :param outputs: the outputs.
    :param timeout: seconds for all of them together.
    :raises Timeout: when it takes longer.
    """
    end = _after(timeout)
    done: SimpleQueue[HostOutput] = SimpleQueue()
    for out in outputs:
        if out.finished or out.command is None:
            done.put(out)
        else:
            out.command.on_done(_putter(done, out))
    for _ in outputs:
        try:
            yield done.get(timeout=_remaining(end))
        except Empty:
            raise too_long(outputs, timeout, "wait for the commands") from None


def _putter(queue: SimpleQueue[HostOutput], out: HostOutput) -> Callable[[Any], None]:
    return lambda _: queue.put(out)


def too_long(
    outputs: Sequence[Any], timeout: float | None, step: str, what: str = "commands"
) -> Timeout:
    """Make the error for a wait that took too long.

    :param outputs: what was waited for: outputs or shells.
    :param timeout: for how many seconds.
    :param step: what was being done.
    :param what: what finishes, in the plural.
    """
    finished = [out for out in outputs if out.finished]
    unfinished = [out for out in outputs if not out.finished]
    return Timeout(
        f"Timeout of %s second(s) reached: %s {what} have finished, and %s have not",
        timeout,
        _Counted(finished),
        _Counted(unfinished),
        finished=finished,
        unfinished=unfinished,
        step=step,
    )


class _Counted(list[Any]):
    """Outputs among the arguments of an error, whose text says only how many they are."""

    def __str__(self) -> str:
        return str(len(self))


def _after(seconds: float | None) -> float | None:
    """Return the point of the monotonic clock that is so many seconds from now."""
    return None if seconds is None else time.monotonic() + seconds


def _remaining(end: float | None) -> float | None:
    """Return the seconds until then, not less than 0; ``None`` for no limit."""
    return None if end is None else max(0.0, end - time.monotonic())
