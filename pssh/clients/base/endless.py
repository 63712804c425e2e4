"""Waits that nothing can end."""

from __future__ import annotations

from collections.abc import Iterable

from gevent.exceptions import LoopExit

from pssh.clients.base.command import Command
from pssh.exceptions import InvalidAPIUseError


def explain(commands: Iterable[Command], error: LoopExit) -> BaseException:
    """Say why a wait for commands cannot end, where that is the program's doing.

    :param commands: those that were waited for.
    :param error: what gevent raises when there is nothing that its loop waits for.
    :returns: what to raise in its place.
    """
    for command in commands:
        host, port = command.connection.host, command.connection.port
        if command.done.is_set():
            continue
        if not command.connection.is_here:
            reason = "it was started in another thread, and only there it comes to its end"
        elif command.held_back:
            reason = 'it is held back until its output is read (buffer_overflow is "block")'
        else:
            continue
        return InvalidAPIUseError(
            "Nobody can wait here for the command on host %s:%s: %s",
            host,
            port,
            reason,
            host=host,
            port=port,
        )
    unexplained: BaseException = error
    return unexplained
