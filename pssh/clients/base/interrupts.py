"""Ctrl-C that hits a greenlet, or a callback, for which it is not meant."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import gevent
from gevent.monkey import get_original

# The real one, also when the program has made the standard library cooperative.
_thread_local = get_original("_thread", "_local")


def pass_on(interrupt: KeyboardInterrupt) -> None:
    """Have gevent hand Ctrl-C, which hit a greenlet of ours by chance, on to the main one.

    That has it before anybody whom this greenlet tells of something from now on.

    :param interrupt: the exception.
    """

    def run() -> None:
        raise interrupt

    gevent.spawn(run)


#: Says of a thread whether its event loop has had connections. A thread's number would not do: it
#: goes to another thread after its end.
_here: Any = _thread_local()


def mind_lost() -> None:
    """Have Ctrl-C reach this thread's program also where Python can only report it, and goes on.

    That is where nothing can be raised to anybody: in what C calls, such as libssh, in a
    destructor, and in what is called when an object goes that a weak reference led to. Code there
    cannot catch it either, when it comes just as it is entered. Python hands it to
    ``sys.unraisablehook``.
    """
    _here.has_connections = True
    _set_hook()


@cache
def _set_hook() -> None:
    report = sys.unraisablehook

    def report_or_pass_on(unraisable: Any) -> None:
        error = unraisable.exc_value
        is_lost = isinstance(error, KeyboardInterrupt) and not sys.is_finalizing()
        if is_lost and getattr(_here, "has_connections", False):
            pass_on(error)
        else:
            report(unraisable)

    sys.unraisablehook = report_or_pass_on
