"""Ending commands before their end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import gevent

from pssh.clients.base.command import Command
from pssh.clients.base.limit import end
from pssh.exceptions import StoppedError
from pssh.output import HostOutput

#: Seconds that a command has to end after each attempt to end it, while somebody waits for that.
GRACE = 2.0


def end_command(command: Command, error: Exception) -> None:
    """End a command, and return when it has ended or is given up.

    :param command: the command.
    :param error: why, for whoever reads its output.
    """
    if not command.done.is_set():
        end(command, GRACE, lambda _: error)
        command.done.wait()


def end_commands(outputs: Sequence[HostOutput]) -> None:
    """End those of several commands that run, all at the same time, after Ctrl-C.

    :param outputs: their outputs.
    :raises KeyboardInterrupt: when there is another one meanwhile: nothing is waited for then.
    """
    running = [(out, out.command) for out in outputs if out.command is not None]
    ending = [
        gevent.spawn(end_command, command, interrupted(out.host, command.connection.port))
        for out, command in running
        if not command.done.is_set()
    ]
    try:
        gevent.joinall(ending)
    except KeyboardInterrupt:
        gevent.killall(ending, block=False)
        _close_clients(out for out, command in running if not command.done.is_set())
        raise


def _close_clients(outputs: Iterable[HostOutput]) -> None:
    for out in outputs:
        if out.client is not None:
            out.client.close()


def interrupted(host: str, port: int | None) -> StoppedError:
    """Make the error of work on a host that Ctrl-C has ended.

    :param host: the host.
    :param port: its port.
    """
    message = "Work on host %s:%s was ended before its end: this program was interrupted"
    return StoppedError(message, host, port, host=host, port=port)
