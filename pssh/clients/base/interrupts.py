"""Ctrl-C that hits a greenlet, or a callback, for which it is not meant."""

from __future__ import annotations

import gevent


def pass_on(interrupt: KeyboardInterrupt) -> None:
    """Have gevent hand Ctrl-C, which hit a greenlet of ours by chance, on to the main one.

    That has it before anybody whom this greenlet tells of something from now on.

    :param interrupt: the exception.
    """

    def run() -> None:
        raise interrupt

    gevent.spawn(run)
