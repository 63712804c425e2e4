"""Standard input for a command from a source, in the background."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

import gevent
from gevent.event import Event

from pssh.clients.base.command import Command
from pssh.exceptions import PSSHError


def feed(command: Command, source: Iterable[bytes], after: Event | None = None) -> None:
    """Send all of a source to a command's standard input, in the background, and close it.

    A command that ends before it has read everything is no error, as in a shell's pipe.

    :param command: the command.
    :param source: what to send.
    :param after: something to wait for first.
    """
    reference = weakref.ref(command)

    def run() -> None:
        if after is not None:
            after.wait()
        try:
            for data in source:
                running = reference()
                if running is None or running.done.is_set():
                    return
                running.write(data)
                del running
            running = reference()
            if running is not None:
                running.end_input()
        except PSSHError:
            # The command, or the connection, has ended: that is told where its output is read.
            return
        except Exception as ex:  # noqa: BLE001 (the source is the user's: it may raise anything)
            running = reference()
            if running is not None:
                running.abort(ex)

    gevent.spawn(run)
