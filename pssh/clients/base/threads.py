"""What can only wait: it does so in threads of its own kind, never on the loop.

Each kind has its own threads, so that a slow name server does not keep anybody from
reading a file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import gevent
from gevent.threadpool import ThreadPool

_Result = TypeVar("_Result")

#: At most this many at a time. Names: as many as the hosts that are worked on at the same
#: time by default, and more, so that slow ones do not hold up the rest. Keys: decrypting is
#: a matter of processors. Threads are started when they are needed.
_SIZES = {"names": 128, "keys": 4}


def pool(kind: str) -> ThreadPool:
    """Return the threads of this hub for a kind of work: ``"names"`` or ``"keys"``."""
    hub = gevent.get_hub()
    name = f"_pssh_{kind}"
    threads = hub.__dict__.get(name)
    if threads is None:
        threads = hub.__dict__[name] = ThreadPool(_SIZES[kind], hub=hub)
    return cast(ThreadPool, threads)


def in_thread(function: Callable[..., _Result], *args: Any, kind: str | None = None) -> _Result:
    """Call a function in a thread and wait for it without blocking the loop.

    :param function: what to call.
    :param args: its arguments.
    :param kind: which threads; by default the hub's own, which are for the disk here.
    """
    threads = gevent.get_hub().threadpool if kind is None else pool(kind)
    result, error = threads.apply(outcome, (function, *args))
    if error is not None:
        raise error
    return cast(_Result, result)


def outcome(function: Callable[..., Any], *args: Any) -> tuple[Any, Exception | None]:
    """Return a function's result and error; a thread would print what it raises."""
    try:
        return function(*args), None
    except Exception as ex:  # noqa: BLE001 (it is raised where the function was asked for)
        return None, ex
