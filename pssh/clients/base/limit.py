"""A limit on how long a command may run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import gevent

from pssh.clients.base.command import Command
from pssh.exceptions import PSSHError, Timeout

#: Seconds between two attempts to end a command, each harder than the one before.
KILL_AFTER = 5.0


def limit(command: Command, seconds: float, kill_after: float | None) -> None:
    """End a command that runs too long: with TERM, then KILL, then by closing its channel.

    :param command: the command.
    :param seconds: how long it may run.
    :param kill_after: seconds from one to the next; ``None`` for :data:`KILL_AFTER`.
    """
    gevent.spawn(_limit, command, seconds, kill_after or KILL_AFTER)


def _limit(command: Command, seconds: float, kill_after: float) -> None:
    if not command.done.wait(seconds):
        end(command, kill_after, lambda what: _ran_too_long(command, seconds, what))


def end(command: Command, kill_after: float, error_of: Callable[[str], Exception]) -> None:
    """End a command: with TERM (a shell: HUP), then KILL, then by closing its channel.

    Servers need not support signals, and without a terminal a command may survive the end of
    its channel.

    :param command: the command.
    :param kill_after: seconds from one to the next.
    :param error_of: makes the error for whoever reads its output; from a sentence on what was
        done.
    """
    for name in (command.first_signal, "KILL"):
        command.cut_short(error_of(f"It was sent signal {name}"))
        # A server that takes nothing must not keep us from what comes next.
        with contextlib.suppress(PSSHError), gevent.Timeout(kill_after, False):
            command.send_signal(name)
        if command.done.wait(kill_after):
            return
    left = (
        f"Signals {command.first_signal} and KILL did not end all of it, and its channel was "
        "closed: it, or what it has started, may still run"
    )
    command.cut_short(error_of(left))
    with gevent.Timeout(kill_after, False):
        command.close()
    if not command.done.wait(kill_after):
        command.give_up()


def _ran_too_long(command: Command, seconds: float, what_was_done: str) -> Timeout:
    host, port = command.connection.host, command.connection.port
    return Timeout(
        "The command on host %s:%s ran longer than %s seconds. %s",
        host,
        port,
        seconds,
        what_was_done,
        host=host,
        port=port,
        step="run the command",
    )
