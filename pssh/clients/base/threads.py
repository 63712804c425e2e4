"""What can only wait: it does so in threads of its own kind, never on the loop.

Each kind has its own threads, so that a slow name server does not keep anybody from
reading a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

import gevent
from gevent.threadpool import ThreadPool

_Result = TypeVar("_Result")

#: At most this many at a time. Names: as many as the hosts that are worked on at the same
#: time by default, and more, so that slow ones do not hold up the rest. Keys: decrypting is
#: a matter of processors. Kerberos: it asks its servers over the network, like names. Commands:
#: the user's, which may wait for anything. Threads are started when they are needed.
_SIZES = {
    "names": 128,
    "keys": 4,
    "files": 8,
    "gssapi": 128,
    "processes": 8,
    "commands": 32,
}


def pool(kind: str) -> ThreadPool:
    """Return the threads of this hub for a kind of work.

    :param kind: ``"names"``, ``"keys"``, ``"files"``, ``"gssapi"``, ``"processes"`` or
        ``"commands"``.
    """
    hub = gevent.get_hub()
    # A forked child has none of its parent's threads.
    name = f"_pssh_{kind}_{os.getpid()}"
    threads = hub.__dict__.get(name)
    if threads is None:
        threads = hub.__dict__[name] = ThreadPool(_SIZES[kind], hub=hub)
    return cast("ThreadPool", threads)


def in_thread(function: Callable[..., _Result], *args: Any, kind: str = "files") -> _Result:
    """Call a function in a thread and wait for it without blocking the loop.

    :param function: what to call.
    :param args: its arguments.
    :param kind: which threads (see :func:`pool`).
    """
    result, error = pool(kind).apply(outcome, (function, *args))
    if error is not None:
        raise error
    return cast(_Result, result)


def outcome(function: Callable[..., Any], *args: Any) -> tuple[Any, Exception | None]:
    """Return a function's result and error; a thread would print what it raises."""
    try:
        return function(*args), None
    except Exception as ex:  # noqa: BLE001 (it is raised where the function was asked for)
        return None, ex
