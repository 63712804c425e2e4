"""Ending commands before their end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable
from typing import Any

import gevent

from pssh.clients.base import workers
from pssh.clients.base.command import Command
from pssh.clients.base.connection import Connection
from pssh.clients.base.limit import end
from pssh.exceptions import PSSHError, SSHError, StoppedError

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


def end_commands(commands: Iterable[Command]) -> None:
    """End those of several commands that run, all at the same time, after Ctrl-C.

    :param commands: the commands.
    :raises KeyboardInterrupt: when there is another one meanwhile: connections are closed, and
        nothing is waited for.
    """
    running = [command for command in commands if not command.done.is_set()]
    ending = [gevent.spawn(end_command, command, _interrupted(command)) for command in running]
    _wait(ending, lambda: [each.connection for each in running if not each.done.is_set()])


def end_all(connections: Collection[Connection]) -> None:
    """End all commands and shells of connections, after Ctrl-C.

    :param connections: the connections.
    :raises KeyboardInterrupt: as :func:`end_commands`.
    """
    end_commands([command for connection in connections for command in connection.commands])
    # Who was interrupted may have left some for others to end. That needs an answer to the start
    # and what ending a command needs, each of which is given up after a while.
    ending = [greenlet for connection in connections for greenlet in connection.ending]
    _wait(ending, lambda: connections, 5 * GRACE)


def _wait(
    ending: list[gevent.Greenlet],
    connections: Callable[[], Iterable[Connection]],
    seconds: float | None = None,
) -> None:
    """Wait for what is being ended; a second Ctrl-C closes the connections instead."""
    try:
        gevent.joinall(ending, timeout=seconds)
    except KeyboardInterrupt:
        gevent.killall(ending, block=False)
        for connection in connections():
            connection.close()
        raise


def abandon(command: Command, request: tuple[Any, ...] | None) -> None:
    """Give up a command before it is known to have been started, without waiting for the server.

    :param command: the command.
    :param request: the method and the arguments that start it, when that has been tried: it may
        run by now, unseen.
    """
    connection = command.connection
    if connection.alive:
        connection.ending.add(gevent.spawn(_abandon, command, request))
    else:
        connection.release(command.channel)


def _abandon(command: Command, request: tuple[Any, ...] | None) -> None:
    connection, channel = command.connection, command.channel
    if request is not None and _has_started(connection, request):
        # Like any other from now on.
        workers.start(command.run)
        end_command(command, _interrupted(command))
        return
    # Where it has been started after all, the server may not answer.
    with contextlib.suppress(PSSHError), gevent.Timeout(GRACE, False):
        connection.call(channel.close)
    connection.release(channel)


def _has_started(connection: Connection, request: tuple[Any, ...]) -> bool:
    """Wait for a late answer to the request that starts something, for a while."""
    try:
        with gevent.Timeout(GRACE, False):
            connection.call(*request)
            return True
    except SSHError:
        # It may have come, so that this was another request, which is one too many.
        return True
    except PSSHError:
        pass
    return False


def _interrupted(command: Command) -> StoppedError:
    return interrupted(command.connection.host, command.connection.port)


def interrupted(host: str, port: int | None) -> StoppedError:
    """Make the error of work on a host that Ctrl-C has ended.

    :param host: the host.
    :param port: its port.
    """
    message = "Work on host %s:%s was ended before its end: this program was interrupted"
    return StoppedError(message, host, port, host=host, port=port)
